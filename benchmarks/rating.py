"""CPU seconds to rate tenants of 10 charges each: python -m benchmarks.rating [TENANTS]. From terms to a taxed invoice, without SQL and documents."""

import sys
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from mc_pipelines.rating.book import read_book
from mc_pipelines.rating.invoice import rate_invoice
from mc_pipelines.rating.segments import anchored, midnights, terms
from mc_pipelines.rating.subscriptions import Held

TIERS = '[{up_to: "100", price: "0.01", flat: "5"}, {up_to: "1000", price: "0.005"}, {price: "0.001"}]'
CHARGES = (
    *(f"{{id: g{n}, model: graduated, meter: m, tiers: {TIERS}}}" for n in range(4)),
    f'{{id: v, model: volume, meter: m, minimum: "10", tiers: {TIERS}}}',
    *(
        f'{{id: u{n}, model: per_unit, meter: m, price: "0.000123456789", allowance: "5", unit_conversion: {{divide_by: "1000", rounding: ceil}}}}'
        for n in range(3)
    ),
    '{id: k, model: package, meter: m, size: "100", price: "4", discount_percent: "10"}',
    '{id: f, model: flat, price: "49"}',
)
HEAD = 'price_book: b\nversion: "1"\neffective: 2026-01-01T00:00:00Z\ncurrency: USD\ntaxes: {vat: "19"}\nplans:\n  p:\n    tax: vat\n    discount: "10"\n'


def main(tenants: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "book.yaml"
        path.write_text(HEAD + "    charges:\n" + "".join(f"      - {charge}\n" for charge in CHARGES), encoding="utf-8")
        books = {path: read_book(path)}
    days, first = anchored(1, 2026, 4), process_time()
    metered = [charge.split(",")[0].removeprefix("{id: ") for charge in CHARGES[:-1]]
    lines = 0
    for number in range(tenants):
        period = terms(midnights(("UTC", "Europe/Berlin", "Asia/Tokyo")[number % 3], *days), [Held(None, None, "p", "b")], books)
        quantity = Decimal(number * 7919 % 1_000_000) / 100
        lines += len(rate_invoice(period, {charge: [quantity] for charge in metered}).lines)
    seconds = process_time() - first
    print(
        f"{tenants} tenants, {len(CHARGES)} charges each, {lines} lines: {seconds:.1f} CPU s, {seconds / tenants * 1000:.2f} CPU s per 1000 tenants"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
