"""Make room in the lake without touching what signed work pins: the bundles that the journal names, each of them, passed or failed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.record import named_predicate
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry


def pins(home: Home, chain: "Sequence[Entry]") -> dict[str, set[int]]:
    """The versions of each table that named bundles pin, also those of attempts that failed or no longer count.

    MissionError where a named bundle is gone or changed: then nobody knows what it pins, and nothing may be deleted.
    """
    found: dict[str, set[int]] = {}
    for entry in chain:
        if "bundle" in entry.body:
            for each in named_predicate(home, entry).get("inputs", ()):
                found.setdefault(each["name"], set()).add(each["version"])
    return found


def vacuum(home: Home, pinned: Mapping[str, set[int]], hours: int, dry_run: bool) -> dict[str, list[str]]:
    """Delete, or with `dry_run` list, the files of every table that are older than `hours` and needed by neither newest nor pinned version."""
    from deltalake.exceptions import DeltaError

    lake = Lake(str(home.lake))
    swept = {}
    for table in lake.tables():
        try:
            swept[table] = lake.vacuum(table, pinned.get(table, ()), hours, dry_run)
        except DeltaError as error:
            raise MissionError(
                f"{lake.table_uri(table)}: {error}. Pinned are versions {sorted(pinned.get(table, ()))}; was the lake made anew?"
            ) from error
    return {table: files for table, files in swept.items() if files}
