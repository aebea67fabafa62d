"""The seeds of audit samples: published and signed in the journal before the data, and read back from there.

A seed names the sprint and the version whose decisions it samples. Nothing secret is in it: what matters is that it stood before.
"""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from mc_pipelines.attempts import journal_of, requester
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.evidence.position import journal_at_hand
from mc_pipelines.predictive.declared import read_settings
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.windows import sprint_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop

SEED = "predictive.audit_seed"


def seed_of(sprint: str, model: str, model_version: str) -> str:
    """The seed of a sprint's sample of one version: known to everybody, chosen by nobody."""
    return f"{sprint}/{model}/{model_version}"


def publish(home: "Home", sprint: str, model_version: str) -> "Entry":
    """Sign the seed of a sprint and version, with the settings that the plan will rest on. Asked again, it returns what stands."""
    window, settings, journal = sprint_named(home, sprint), read_settings(home), journal_of(home)
    body = {
        "sprint": window.key,
        "name": window.name,
        "model": settings.model,
        "model_version": model_version,
        "seed": seed_of(window.name, settings.model, model_version),
        "settings": sha256(canonical(settings.model_dump(mode="json"))),
        "requested_by": requester(),
    }
    return journal.append(SEED, lambda _: body, lambda entries: _published(entries, window.key, settings.model, model_version))


def _published(entries: "Sequence[Entry]", sprint: str, model: str, model_version: str) -> "Entry | None":
    """The first entry that published it; a later one would change nothing."""
    wanted = (sprint, model, model_version)
    return next(
        (each for each in seeds_of(entries) if (each.body["sprint"], each.body["model"], each.body["model_version"]) == wanted), None
    )


def seeds_of(entries: "Sequence[Entry]") -> "list[Entry]":
    return [entry for entry in entries if entry.kind == SEED]


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """The newest seed in the journal, of which there is always one more when anything changes."""
    journal = journal_at_hand(shop.home)
    return str([entry.number for entry in seeds_of(journal.entries())] if journal else [])


def seeds(work: "Work") -> "duckdb.DuckDBPyRelation":
    journal = journal_at_hand(work.shop.home)
    first: dict[tuple[str, str], Entry] = {}
    for entry in seeds_of(journal.entries()) if journal else ():
        first.setdefault((entry.body["sprint"], entry.body["model_version"]), entry)
    rows = (
        (date.fromisoformat(sprint), version, entry.body["seed"], entry.number, _instant(entry))
        for (sprint, version), entry in first.items()
    )
    schema = {"sprint": "DATE", "model_version": "VARCHAR", "seed": "VARCHAR", "entry": "BIGINT", "published_at": "TIMESTAMP"}
    return relation_of(work, schema, rows)


def _instant(entry: "Entry") -> datetime:
    return entry.signed_at.astimezone(UTC).replace(tzinfo=None)
