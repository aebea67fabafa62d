"""Signed explanations of variance: what reference/explained.yaml says of a month counts once an approver has signed it.

A signature is bound to the digest of each explanation as it is written, so an edited one awaits a signature again. What an explanation
does to a variance stands in assets/metering/variance.sql.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, parse, sha256
from mc_pipelines.evidence.signoff import read_sign_off, request
from mc_pipelines.reference import Explained

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.people import Person

EXPLANATION = "metering.explanation"
SIGN_OFF = "metering.waiver"
"""The kind of statement that a person signs: an explanation is a waiver of one difference."""


@dataclass(frozen=True)
class Signature:
    """Who signed an explanation, and the number of the journal entry that says so."""

    person: str
    entry: int


def digest_of(explanation: Explained) -> str:
    """sha256 (hex) of what an explanation says."""
    return sha256(canonical(explanation.model_dump()))


def signatures(entries: "Iterable[Entry]") -> dict[str, Signature]:
    """Who first signed each explanation, by its digest, from the entries that count."""
    found: dict[str, Signature] = {}
    for entry in entries:
        if entry.kind == EXPLANATION:
            for digest in entry.body["explained"]:
                found.setdefault(digest, Signature(entry.body["person"], entry.number))
    return found


def explanation_request(declared: Sequence[Explained], signed: Mapping[str, Signature], period: str, requested_by: str) -> bytes:
    """The request to sign the explanations of a month ('2026-04') that nobody has signed; of all where none is left.

    MissionError where the month has none.
    """
    ours = [each for each in declared if each.period == period]
    if not ours:
        raise MissionError(f"{period}: reference/explained.yaml explains nothing of this month, so there is nothing to sign.")
    left = [each for each in ours if digest_of(each) not in signed] or ours
    return request(SIGN_OFF, requested_by, {"period": period, "explained": [each.model_dump(mode="json") for each in left]})


def explain(journal: "Journal", people: "Sequence[Person]", envelope: bytes, where: str, at: datetime | None = None) -> "Entry":
    """Take a person's signature of explanations into the journal at `at` (default: now). What is signed already is returned.

    MissionError, beginning with `where`, for an envelope that does not verify, or is about something else.
    """
    found = read_sign_off(envelope, people, where)
    said = found.statement
    if found.kind != SIGN_OFF or set(said) != {"period", "explained"}:
        raise MissionError(f"{where}: a signed {found.kind}, but of no explanations. Make one with `mission waive MONTH --explained`.")
    digests = sorted(map(digest_of, _explanations(said, where)))
    body = {
        "period": said["period"],
        "explained": digests,
        "person": found.person.person,
        "requested_by": found.requested_by,
        "sign_off": parse(envelope),
    }

    def validate(entries: "list[Entry]") -> "Entry | None":
        standing = signatures(entries)
        if not set(digests) <= set(standing):
            return None
        last = max(standing[digest].entry for digest in digests)
        return next(entry for entry in entries if entry.number == last)

    return journal.append(EXPLANATION, body, validate, at or datetime.now(UTC))


def _explanations(said: Mapping[str, Any], where: str) -> list[Explained]:
    try:
        found = [Explained.model_validate(each) for each in said["explained"]]
    except (ValidationError, TypeError) as error:
        raise MissionError(f"{where}: {error}; sign what `mission waive MONTH --explained` writes") from error
    if not found or any(each.period != said["period"] for each in found):
        raise MissionError(
            f"{where}: explanations of one month are signed, and at least one; sign what `mission waive MONTH --explained` writes"
        )
    return found
