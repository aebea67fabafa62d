"""The page of a month's invoice previews: which rows, in which order. Wording and layout are in the template."""

from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipelines.site.format import Figures, exact

SHOWN = 2000  # previews on the page; the others stand in the JSON
KINDS = {"flat": "Flat fees", "minimum": "Minimums", "maximum": "Maximums", "overage": "Overage", "commitment": "Commitments"}


def context(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is given for a batch document (`data/invoices/batch.json` of a bundle)."""
    invoices = batch["invoices"]
    changed = [index for index, row in enumerate(invoices) if exact(row["difference"])]
    others = [index for index in range(len(invoices)) if not exact(invoices[index]["difference"])]
    return {
        "batch": batch,
        "fig": Figures(batch),
        "month": batch["period"],
        "changed": changed,
        "shown": [*changed, *others][:SHOWN],
        "currencies": [row["currency"] for row in batch["totals"]],
        "meters": by_meter(batch["meters"]),
        "kinds": KINDS,
    }


def by_meter(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, int]]:
    """For each meter, or kind of line without one, the index of its row per currency. Meters first."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for index, row in sorted(enumerate(rows), key=lambda each: (not each[1]["meter"], each[1]["meter"], each[1]["kind"])):
        found.setdefault((row["meter"], row["kind"]), {})[row["currency"]] = index
    return found
