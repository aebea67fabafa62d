"""The previews of a month as files: a folder per tenant with JSON, CSV and PDF, and one document about all of them.

The PDFs are set by as many threads as there are processors. A file depends on the month's rows and on the previous batch alone.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.invoicing.documents import Press, csv_bytes, json_bytes
from mc_pipelines.invoicing.preview import Preview, Previous, by_charge, change, document
from mc_pipelines.invoicing.previews import Blocked
from mc_pipelines.rating.display import money_of
from mc_pipelines.rating.money import EXACT, ZERO, total

FOLDER = "invoices"
BATCH, PREVIOUS = f"{FOLDER}/batch.json", f"{FOLDER}/previous.json"
SUMS = ("net", "total", "corrected", "credits_used", "payable")
Row = dict[str, Any]
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")


def folder_of(tenant: str) -> str:
    """The name of a tenant's folder: its id where that means the same on every system, else an underscore and a part of its sha256."""
    if _PLAIN.fullmatch(tenant) and not _DEVICE.fullmatch(tenant):
        return tenant
    return f"_{sha256(tenant.encode())[:32]}"


def pdfs(documents: Sequence[Mapping[str, Any]]) -> Iterable[bytes]:
    """The pages of every document, in order."""
    own = threading.local()

    def one(each: Mapping[str, Any]) -> bytes:
        if not hasattr(own, "press"):
            own.press = Press()  # one serves one thread
        press: Press = own.press
        return press.pdf(each)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="press") as pool:
        yield from pool.map(one, documents)


def batch_digest(documents: Sequence[Mapping[str, Any]], blocked: Sequence[Blocked]) -> str:
    """sha256 (hex) of what was rated: every invoice's digest and every blocked tenant's problems. What they are compared with is no part of it."""
    rated = {each["rated"]["tenant_id"]: each["digest"] for each in documents}
    return sha256(canonical({"rated": rated, "blocked": {each.tenant_id: list(each.problems) for each in blocked}}))


def preview_files(
    previews: Sequence[Preview],
    blocked: Sequence[Blocked],
    about: Mapping[str, Any],
    previous: Callable[[str], Mapping[str, Any] | None],
) -> dict[str, bytes]:
    """All files by path; none for a month without a price book. `about` is said of the batch too: its period, what moved since
    the month before, and the gates that did not pass.

    `previous` gives, for the digest of this batch, the one before it.
    """
    if not previews and not blocked:
        return {}
    documents = [document(each) for each in previews]
    digest = batch_digest(documents, blocked)
    earlier = previous(digest)
    if earlier is not None:
        for preview, each in zip(previews, documents, strict=True):
            if (before := _previous(earlier, preview)) is not None:
                each["change"] = change(preview.invoice, before)
    files = {} if earlier is None else {PREVIOUS: canonical(earlier)}
    for each, pages in zip(documents, pdfs(documents), strict=True):
        folder = f"{FOLDER}/{folder_of(each['rated']['tenant_id'])}"
        files |= {f"{folder}/preview.json": json_bytes(each), f"{folder}/preview.csv": csv_bytes(each), f"{folder}/preview.pdf": pages}
    return files | {BATCH: canonical({**about, **batch(previews, documents, blocked, earlier), "digest": digest})}


def _previous(earlier: Mapping[str, Any], preview: Preview) -> Previous | None:
    """What the batch before says of a tenant; None where it has nothing in the same currency."""
    found = earlier["invoices"].get(preview.tenant_id)
    if found is None or found["currency"] != preview.invoice["currency"]:
        return None
    charges = {charge: Decimal(net) for charge, net in found["charges"].items()}
    return Previous(earlier["edition"], found["digest"], Decimal(found["total"]), charges)


def as_previous(edition: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a later batch needs to know of a batch document."""
    invoices = {each["tenant_id"]: {name: each[name] for name in ("currency", "digest", "total", "charges")} for each in found["invoices"]}
    return {"edition": edition, "digest": found["digest"], "invoices": invoices}


def batch(
    previews: Sequence[Preview],
    documents: Sequence[Mapping[str, Any]],
    blocked: Sequence[Blocked],
    earlier: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is said of all invoices: one row each, sums per currency, plan and meter, and who has none and why. Amounts are text."""
    totals, plans, meters = Sums("currency"), Sums("currency", "plan"), Sums("currency", "meter", "kind")
    for preview in previews:
        invoice = preview.invoice
        totals.add((invoice["currency"],), {name: invoice[name] for name in SUMS} | {"tax": tax_of(invoice)})
        plans.add((invoice["currency"], preview.plans[-1]), {name: invoice[name] for name in SUMS})
        for (meter, kind), net in by_meter(invoice).items():
            meters.add((invoice["currency"], meter, kind), {"net": net})
    return {
        "previous": None if earlier is None else {"edition": earlier["edition"], "digest": earlier["digest"]},
        "gone": [] if earlier is None else sorted(set(earlier["invoices"]) - {each.tenant_id for each in previews}),
        "totals": totals.rows(),
        "plans": plans.rows(),
        "meters": meters.rows(),
        "invoices": [_row(preview, each) for preview, each in zip(previews, documents, strict=True)],
        "blocked": [
            {"tenant_id": each.tenant_id, "name": each.name, "plan": each.plan, "currency": each.currency, "problems": list(each.problems)}
            for each in blocked
        ],
    }


def _row(preview: Preview, each: Mapping[str, Any]) -> Row:
    invoice, since = preview.invoice, each["change"]
    return {
        "tenant_id": preview.tenant_id,
        "name": preview.name,
        "plan": preview.plans[-1],
        "currency": invoice["currency"],
        "lines": len(invoice["lines"]),
        **{name: invoice[name] for name in SUMS},
        "tax": tax_of(invoice),
        "charges": {charge: money_of(net, invoice["currency"]) for charge, net in by_charge(invoice).items()},
        "digest": each["digest"],
        "folder": folder_of(preview.tenant_id),
        "before": since and since["before"],
        "difference": since and since["difference"],
    }


def tax_of(invoice: Mapping[str, Any]) -> str:
    """Tax of all rates, from an invoice's JSON."""
    return money_of(total(Decimal(each["amount"]) for each in invoice["taxes"]), invoice["currency"])


def by_meter(invoice: Mapping[str, Any]) -> dict[tuple[str, str], Decimal]:
    """Net by meter, and by kind where a line has none."""
    found: dict[tuple[str, str], Decimal] = {}
    for line in invoice["lines"]:
        where = (line["meter"], "usage") if line["meter"] is not None else ("", line["kind"])
        found[where] = EXACT.add(found.get(where, ZERO), Decimal(line["net"]))
    return found


def tenant_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Of a payload, the files of the previews by `<tenant's folder>/<file>`."""
    return {path.removeprefix(f"{FOLDER}/"): data for path, data in files.items() if path.startswith(f"{FOLDER}/") and path.count("/") == 2}


class Sums:
    """Amounts added up by some keys, of which the first is the currency."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.found: dict[tuple[str, ...], dict[str, Decimal]] = {}
        self.counts: dict[tuple[str, ...], int] = {}

    def add(self, keys: tuple[str, ...], amounts: Mapping[str, str | Decimal]) -> None:
        own = self.found.setdefault(keys, {})
        self.counts[keys] = self.counts.get(keys, 0) + 1
        for name, amount in amounts.items():
            own[name] = EXACT.add(own.get(name, ZERO), Decimal(amount))

    def rows(self) -> list[Row]:
        """In the order of the keys, with how many invoices each has."""
        return [
            dict(zip(self.names, keys, strict=True))
            | {"invoices": self.counts[keys]}
            | {name: money_of(amount, keys[0]) for name, amount in amounts.items()}
            for keys, amounts in sorted(self.found.items())
        ]
