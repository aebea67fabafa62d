"""From counted usage to every tenant's invoice, lines, totals and documents: python -m benchmarks.previews --tenants 500,10000.

A plan of ten charges over three meters; usage is generated with its truth. Each size is a process of its own; the counting before it is not shown.
"""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.close_project import MONTH, profile_row, windows
from benchmarks.measure import inside, machine, python, run, show, versions, write_json

SEED, EVENTS_EACH = 11, 20
STEPS = (
    "metering.charge_usage",
    "metering.rated",
    "metering.invoice_lines",
    "metering.invoices",
    "metering.invoice_sums",
    "metering.variance_priced",
)
TIERS = '[{up_to: "5", price: "0.01", flat: "5"}, {up_to: "10", price: "0.005"}, {price: "0.001"}]'
CHARGES = (
    '{id: platform, model: flat, price: "49", prorate: true}',
    '{id: support, model: flat, price: "20"}',
    *(f"{{id: graduated{n}, model: graduated, meter: api_requests, tiers: {TIERS}}}" for n in range(3)),
    f'{{id: volume, model: volume, meter: unique_paths, minimum: "10", tiers: {TIERS}}}',
    '{id: package, model: package, meter: api_requests, size: "7", price: "4", discount_percent: "10"}',
    *(
        f'{{id: egress{n}, model: per_unit, meter: egress_bytes, price: "0.000123456789", allowance: "5", unit_conversion: {{divide_by: "1000", rounding: ceil}}}}'
        for n in range(3)
    ),
)
BOOK = 'price_book: {name}\nversion: "1"\neffective: 2026-01-01T00:00:00Z\ncurrency: {currency}\ntaxes: {{vat: "19"}}\nplans:\n{plans}'
PLAN = '  {name}:\n    tax: vat\n    discount: "10"\n    charges:\n'


def price(reference: Path) -> None:
    """One book per currency that the tenants have, with every plan that they have."""
    from mc_pipelines.home import Home
    from mc_pipelines.reference import read

    tenants = read(Home(reference.parent), "tenants")
    charges = "".join(f"      - {charge}\n" for charge in CHARGES)
    plans = "".join(PLAN.format(name=name) + charges for name in sorted({tenant.plan for tenant in tenants}))
    folder = reference / "price_books"
    folder.mkdir(exist_ok=True)
    for currency in sorted({tenant.currency for tenant in tenants}):
        text = BOOK.format(name=currency.lower(), currency=currency, plans=plans)
        (folder / f"{currency.lower()}.yaml").write_text(text, encoding="utf-8")


def measured(tenants: int, folder: Path) -> dict[str, Any]:
    """Build a month of so many tenants and measure what makes invoices of it."""
    from datetime import date

    from mc_pipelines.close import compute, pinned
    from mc_pipelines.evidence.bundle import build
    from mc_pipelines.evidence.signing import known_keys, signer
    from mc_pipelines.evidence.verify import verify
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Workshop, materialise
    from mc_pipelines.simulate import simulate
    from mc_pipelines.windows import in_use

    simulate(folder, tenants * EVENTS_EACH, tenants, date.fromisoformat(MONTH), 30, SEED, "parquet", faults=False)
    home = Home(folder)
    price(home.reference)
    shop = Workshop.open(home)
    profile = []
    for model in in_use(shop.home, shop.catalog):
        cost, outcome = inside(partial(materialise, shop, model, windows(home)[model.header.every]))
        if model.key in STEPS:
            profile.append(profile_row(outcome, cost))
    pins = pinned(shop)
    cost, closing = inside(lambda: compute(shop, MONTH, pins, (), lambda _: None))
    documents = {name: data for name, data in closing.files.items() if name.startswith("invoices/")}
    profile.append({"model": "documents, with the rows of all tables", "cpu": cost.cpu, "wall": cost.wall, "peak_mb": cost.peak_mb})
    cost, bundle = inside(lambda: build(home.evidence, "bundle", closing.files, {}, signer(home.keys)))
    profile.append({"model": "bundle, signed", "cpu": cost.cpu, "wall": cost.wall, "peak_mb": cost.peak_mb})
    cost, verdict = inside(lambda: verify(bundle.path, known_keys(home.keys)))
    if not verdict.ok:
        raise RuntimeError("\n".join(verdict.reasons))
    profile.append({"model": "bundle, verified", "cpu": cost.cpu, "wall": cost.wall, "peak_mb": cost.peak_mb})
    sizes = {kind: sum(len(data) for name, data in documents.items() if name.endswith(kind)) for kind in ("json", "csv", "pdf")}
    invoices = json.loads(documents["invoices/batch.json"])["invoices"]
    if len(invoices) != tenants:
        raise RuntimeError(f"{len(invoices)} invoices for {tenants} tenants")
    return {"tenants": tenants, "lines": sum(each["lines"] for each in invoices), "profile": profile, "bytes": sizes}


@click.command()
@click.option("--tenants", "counts", default="500,10000", show_default=True, help="Sizes, with commas.")
@click.option("--json", "document", type=click.Path(path_type=Path), help="Write the figures here.")
@click.option("--one", type=int, hidden=True)
def main(counts: str, document: Path | None, one: int | None) -> None:
    """Measure rating and documents at some numbers of tenants. Example: python -m benchmarks.previews --tenants 500"""
    if one is not None:
        with tempfile.TemporaryDirectory() as folder:
            write_json(document, measured(one, Path(folder) / "home"))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for count in map(int, counts.split(",")):
            out = Path(folder) / "figures.json"
            run(python("benchmarks.previews", "--one", count, "--json", out), Path(folder) / "log")
            found.append(json.loads(out.read_bytes()))
            print(f"{count} tenants done", file=sys.stderr)
    for each in found:
        rows = [
            (row["model"], row["cpu"], row["cpu"] / each["tenants"] * 1000, row["wall"], round(row["peak_mb"])) for row in each["profile"]
        ]
        sizes = ", ".join(f"{kind} {size / 1e6:,.1f} MB" for kind, size in each["bytes"].items())
        show(
            f"{each['tenants']:,} tenants, {each['lines']:,} lines; {sizes}",
            ("step", "CPU s", "per 1,000 tenants", "wall s", "peak MB"),
            rows,
        )
    write_json(document, {"machine": machine(), "versions": versions("duckdb", "typst", "deltalake"), "sizes": found})


if __name__ == "__main__":
    main()
