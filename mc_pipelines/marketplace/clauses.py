"""What a licence's clauses do to items, and what a change of them would do: shown beforehand, so that nobody is surprised."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mc_pipelines.disk import read_bounded
from mc_pipelines.errors import MissionError
from mc_pipelines.marketplace.located import located

STRICTNESS = {"allow": 0, "demote": 1, "block": 2}
MOST_ITEM_BYTES, MOST_ITEM_VALUES = 16 << 20, 1_000_000


@dataclass(frozen=True)
class Item:
    item_id: str
    tags: frozenset[str]


@dataclass(frozen=True)
class Change:
    """An item that new clauses treat otherwise. A clause is None where none matches, and the item is allowed."""

    item_id: str
    before: str
    before_clause: str | None
    after: str
    after_clause: str | None

    @property
    def stricter(self) -> bool:
        return STRICTNESS[self.after] > STRICTNESS[self.before]


def decide(licence: Mapping[str, Any] | None, item: Item) -> tuple[str, str | None]:
    """(allow, demote or block, clause) for an item: the first clause that matches it decides. No licence allows everything."""
    for clause in licence["clauses"] if licence else ():
        if _matches(clause["items"], item):
            return clause["kind"], clause["id"]
    return "allow", None


def _matches(items: Mapping[str, Any], item: Item) -> bool:
    wanted = items.get("tags")
    return fnmatchcase(item.item_id, items.get("pattern", "*")) and (wanted is None or not item.tags.isdisjoint(wanted))


def clause_preview(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, items: Sequence[Item]) -> tuple[Change, ...]:
    """The items, in order of their ids, that `new` treats otherwise than `old`; both are checked licence packets, None for no licence."""
    changes = []
    for item in sorted(items, key=lambda each: each.item_id):
        (before, before_clause), (after, after_clause) = decide(old, item), decide(new, item)
        if before != after:
            changes.append(Change(item.item_id, before, before_clause, after, after_clause))
    return tuple(changes)


def read_items(path: Path) -> tuple[Item, ...]:
    """Items of a JSON file `[{"item_id": "…", "tags": ["…"]}]`, tags optional. MissionError with the first that is otherwise."""
    document = located(read_bounded(path, MOST_ITEM_BYTES), MOST_ITEM_VALUES)
    if document.problems:
        raise MissionError("\n".join(each.text(path) for each in document.problems))
    remedy = 'It should be a list of {"item_id": "…", "tags": ["…"]}.'
    if not isinstance(document.value, list):
        raise MissionError(f"{path}:1: no list of items. {remedy}")
    found: dict[str, Item] = {}
    for number, one in enumerate(document.value):
        tags = one.get("tags", []) if isinstance(one, dict) and set(one) <= {"item_id", "tags"} else None
        own = one.get("item_id") if isinstance(one, dict) else None
        if not isinstance(own, str) or not re.fullmatch(r"\S{1,200}", own) or not _texts(tags):
            raise MissionError(f"{path}:{document.line((number,))}: item {number + 1} is none. {remedy}")
        if own in found:
            raise MissionError(f"{path}:{document.line((number,))}: item {own!r} stands twice. Keep one.")
        found[own] = Item(own, frozenset(tags or ()))
    return tuple(found.values())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
