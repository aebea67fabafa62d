"""The seeds of audit samples with the settings that their plans rest on: published and signed in the journal, and read back from there.

A seed names the sprint and the version whose decisions it samples. Nothing secret is in it: what matters is that it stood before, and that the
settings stood with it: whoever knows the verdicts can change `reference/audits.yaml`, but not what was signed.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import category

from mc_pipelines.code import package_digest
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical
from mc_pipelines.evidence.position import journal_at_hand
from mc_pipelines.journaling import journal_of, requester
from mc_pipelines.predictive.declared import Settings, read_settings
from mc_pipelines.predictive.sampling import sample_size
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


class Version(NamedTuple):
    """What has one seed at most."""

    sprint: date
    """Its first day."""
    model: str
    model_version: str


@dataclass(frozen=True)
class Registered:
    """What stands in the first entry of a sprint and version: all that its audits go by."""

    seed: str
    settings: Settings


def seed_of(sprint: str, model: str, model_version: str) -> str:
    """The seed of a sprint's sample of one version: known to everybody, chosen by nobody."""
    return f"{sprint}/{model}/{model_version}"


def publish(home: "Home", sprint: str, model_version: str) -> "Entry":
    """Sign the seed of a sprint and version, with the whole settings that its audits will rest on. Asked again, it returns what stands.

    MissionError, and nothing signed, where no sample could show what the settings ask for, or no decision could be of that version.
    """
    if not 1 <= len(model_version) <= 200 or any(category(each) == "Cc" for each in model_version):
        raise MissionError(
            f"{model_version[:40]!r} is no version of a model. Write 1 to 200 characters without control characters, as decisions say it."
        )
    window, settings, journal = sprint_named(home, sprint), read_settings(home), journal_of(home)
    sample_size(settings.expected, settings.tolerable, settings.confidence)
    body = {
        "sprint": window.key,
        "name": window.name,
        "model": settings.model,
        "model_version": model_version,
        "seed": seed_of(window.name, settings.model, model_version),
        "settings": settings.model_dump(mode="json"),
        "requested_by": requester(),
    }
    return journal.append(SEED, lambda _: body, lambda entries: _published(entries, window.key, settings.model, model_version))


def _published(entries: "Sequence[Entry]", sprint: str, model: str, model_version: str) -> "Entry | None":
    """The first entry that published it; a later one would change nothing."""
    return next((each for each in seeds_of(entries) if _subject(each) == (sprint, model, model_version)), None)


def _subject(entry: "Entry") -> tuple[str, str, str]:
    return entry.body["sprint"], entry.body["model"], entry.body["model_version"]


def seeds_of(entries: "Sequence[Entry]") -> "list[Entry]":
    """The entries that publish a seed. One that names its settings by a digest alone registered nothing that could be read, and is none."""
    return [entry for entry in entries if entry.kind == SEED and isinstance(entry.body["settings"], dict)]


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """The seeds in the journal, of which there is always one more when anything changes, and the code that reads them."""
    journal = journal_at_hand(shop.home)
    return f"{[entry.number for entry in seeds_of(journal.entries())] if journal else []} {package_digest('predictive')}"


def seeds(work: "Work") -> "duckdb.DuckDBPyRelation":
    journal = journal_at_hand(work.shop.home)
    first: dict[tuple[str, str, str], Entry] = {}
    for entry in seeds_of(journal.entries()) if journal else ():
        first.setdefault(_subject(entry), entry)
    rows = (
        (
            date.fromisoformat(sprint),
            model,
            version,
            entry.body["seed"],
            canonical(entry.body["settings"]).decode(),
            entry.number,
            _instant(entry),
        )
        for (sprint, model, version), entry in first.items()
    )
    texts = dict.fromkeys(("model", "model_version", "seed", "settings"), "VARCHAR")
    return relation_of(work, {"sprint": "DATE", **texts, "entry": "BIGINT", "published_at": "TIMESTAMP"}, rows)


def registered(con: "duckdb.DuckDBPyConnection") -> dict[Version, Registered]:
    """Every published seed with its settings in the order of sprints, from the table that a connection sees."""
    rows = con.sql("SELECT sprint, model, model_version, seed, settings FROM predictive.seeds ORDER BY ALL").fetchall()
    return {Version(*version): Registered(seed, Settings.model_validate_json(settings)) for *version, seed, settings in rows}


def differing(stands: Settings, declared: Settings) -> list[str]:
    """Names of the settings that are declared otherwise than they stand."""
    return [name for name in Settings.model_fields if getattr(stands, name) != getattr(declared, name)]


def _instant(entry: "Entry") -> datetime:
    return entry.signed_at.astimezone(UTC).replace(tzinfo=None)
