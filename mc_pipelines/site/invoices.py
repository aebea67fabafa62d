"""The pages of a month's invoice previews and of a draft beside them: which rows, in which order. Wording and layout are in the templates."""

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
        "plans": across(batch["plans"], "plan"),
        "meters": across(batch["meters"], "meter", "kind"),
        "kinds": KINDS,
        "late": range(min(len(batch["late"]), SHOWN)),
        "corrected": any(exact(row["corrected"]) for row in invoices),
    }


def what_if_context(compared: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is given for a comparison (`invoicing.what_if`). The largest change first, who cannot be rated before all."""
    rows = compared["tenants"]
    order = sorted(range(len(rows)), key=lambda index: _size(rows[index]))
    return {"what_if": compared, "fig": Figures(compared), "order": order[:SHOWN], "kinds": KINDS}


def _size(row: Mapping[str, Any]) -> tuple[int, Any]:
    difference = exact(row["difference"])
    return (0, 0) if difference is None else (1, -abs(difference))


def across(rows: Sequence[Mapping[str, Any]], *names: str) -> dict[Any, dict[str, int]]:
    """For each value of some columns the index of its row per currency, in their order; what is empty comes last."""
    found: dict[Any, dict[str, int]] = {}
    keys = [tuple(row[name] for name in names) for row in rows]
    for place in sorted(range(len(rows)), key=lambda place: ([(not part, part) for part in keys[place]], rows[place]["currency"])):
        key = keys[place] if len(names) > 1 else keys[place][0]
        found.setdefault(key, {})[rows[place]["currency"]] = place
    return found
