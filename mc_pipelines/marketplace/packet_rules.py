"""What a packet must keep beyond its schema: ids that exist once, risks that are treated, a licence that is an SPDX expression.

Each rule looks at as much of a document as has the right shape, so that a fault elsewhere hides none.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from mc_pipelines.marketplace.located import Located, Problem, Where
from mc_pipelines.marketplace.schemas import fault

HIGH = 3
"""From this severity and likelihood on a risk must be treated."""
_OWN = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")


def rule_problems(document: Located, kind: str) -> list[Problem]:
    """The faults of a `dpia` or a `licence`."""
    return list(_dpia(document) if kind == "dpia" else _licence(document))


def _items(document: Located, name: str) -> Iterator[tuple[Where, dict[str, Any]]]:
    """(place, member) of the objects in a list of the document."""
    listed = document.value.get(name) if isinstance(document.value, dict) else None
    for number, item in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(item, dict):
            yield (name, number), item


def _twice(document: Located, name: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for where, item in _items(document, name):
        own = item.get("id")
        if isinstance(own, str) and own in seen:
            yield fault(document, (*where, "id"), f"{own[:80]!r} is the id of an earlier one", "Give each its own id.")
        seen.add(str(own))


def _dpia(document: Located) -> Iterator[Problem]:
    for name in ("data", "processes", "risks", "measures"):
        yield from _twice(document, name)
    risks = {item["id"] for _, item in _items(document, "risks") if isinstance(item.get("id"), str)}
    treated: set[str] = set()
    for where, measure in _items(document, "measures"):
        treats = measure.get("treats")
        for number, risk in enumerate(treats if isinstance(treats, list) else []):
            place = (*where, "treats", number)
            if isinstance(risk, str) and risk not in risks:
                remedy = f"Name a risk of this packet: {', '.join(sorted(risks)[:20]) or 'it has none'}."
                yield fault(document, place, f"{risk[:80]!r} is no risk", remedy)
            treated.add(str(risk))
    for where, risk in _items(document, "risks"):
        scores = [risk.get(name) for name in ("severity", "likelihood")]
        if all(isinstance(score, int) and score >= HIGH for score in scores) and risk.get("id") not in treated:
            message = f"severity {scores[0]} and likelihood {scores[1]}, and no measure treats it"
            yield fault(document, where, message, "Add a measure whose `treats` names it.")
    opinion, validated = (_day(document, name) for name in ("dpo_opinion", "validation"))
    if opinion and validated and validated < opinion:
        message = f"validated on {validated}, before the opinion of {opinion}"
        yield fault(document, ("validation", "date"), message, "The opinion comes first; correct one of the days.")


def _day(document: Located, name: str) -> str | None:
    part = document.value.get(name) if isinstance(document.value, dict) else None
    day = part.get("date") if isinstance(part, dict) else None
    return day if isinstance(day, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day) else None


def _licence(document: Located) -> Iterator[Problem]:
    yield from _twice(document, "clauses")
    expression = document.value.get("licence") if isinstance(document.value, dict) else None
    if isinstance(expression, str) and len(expression) <= 500 and (message := licence_fault(expression)):
        yield fault(document, ("licence",), message, "Write identifiers of spdx.org/licenses with AND, OR, WITH, or LicenseRef-<name>.")


@cache
def _spdx() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def licence_fault(expression: str) -> str | None:
    """Why a text is no SPDX licence expression (SPDX 3, annex B), None where it is one. A partner's own licence is LicenseRef-<name>."""
    from license_expression import ExpressionError

    try:
        found = _spdx().parse(expression, strict=True)
        unknown = [key for key in _spdx().unknown_license_keys(found) if not _OWN.fullmatch(key)] if found is not None else []
    except ExpressionError as error:
        return f"no licence expression: {' '.join(str(error).split())[:160]}"
    if found is None:
        return "no licence expression: nothing is named"
    if unknown:
        return f"unknown to SPDX: {', '.join(unknown)[:160]}"
    words = [re.findall(r"[^\s()]+", text) for text in (expression, str(found))]
    return None if words[0] == words[1] else f"spelt otherwise by SPDX: {str(found)[:160]}"
