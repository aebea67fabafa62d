"""Ask for a waiver of what failed, and take a signed one into the journal."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mc_pipelines.closing.states import Close, fold
from mc_pipelines.closing.waivers import WAIVER, Statement
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import parse
from mc_pipelines.evidence.signoff import SignOff, read_sign_off, request

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.people import Person


def waiver_request(
    close: Close, gate: str, tenants: Sequence[str] | None, rationale: str, owner: str, expires: str, requested_by: str
) -> bytes:
    """The request to waive what a gate found in the newest edition, for everybody that it holds or for some of them.

    `close` is folded without a moment, so that it says whom the gate holds. MissionError where there is nothing to waive.
    """
    asked = {
        "period": close.period,
        "gate": gate,
        "failure": _failure(close, gate),
        "tenants": None if tenants is None else sorted(set(tenants)),
        "rationale": rationale,
        "owner": owner,
        "expires": expires,
    }
    _holds_them(close, _statement(asked, f"mission waive {close.period} {gate}"))
    return request(WAIVER, requested_by, asked)


def waive(journal: "Journal", people: "Sequence[Person]", envelope: bytes, where: str, at: datetime | None = None) -> "Entry":
    """Take a person's signed waiver into the journal at `at` (default: now). What is waived already, as long and as far, is returned.

    MissionError, beginning with `where`, for an envelope that does not verify; and for a waiver of what did not fail in the newest edition,
    of tenants that the gate does not hold, by whoever asked for the edition, or one that has expired.
    """
    found = read_sign_off(envelope, people, where)
    if found.kind != WAIVER:
        raise MissionError(f"{where}: a signed {found.kind}, no waiver. Make one with `mission waive MONTH GATE`.")
    said, moment = _statement(found.statement, where), at or datetime.now(UTC)
    if moment.astimezone(UTC).date() > date.fromisoformat(said.expires):
        raise MissionError(f"{where}: the waiver of {said.gate} expired after {said.expires}. Give a later day with --expires.")
    body = said.model_dump() | {"person": found.person.person, "requested_by": found.requested_by, "sign_off": parse(envelope)}

    def validate(entries: "list[Entry]") -> "Entry | None":
        standing = _waived_already(fold(entries, said.period, moment), said)
        if standing is not None:
            return next(entry for entry in entries if entry.number == standing)
        _may_be_waived(fold(entries, said.period), said, found)
        return None

    return journal.append(WAIVER, body, validate, moment)


def _statement(said: object, where: str) -> Statement:
    try:
        return Statement.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "statement"
        raise MissionError(
            f"{where}: {name}: {first['msg']} (got {first['input']!r}). A waiver needs a rationale, an owner, and its last day as YYYY-MM-DD."
        ) from error


def _failure(close: Close, gate: str) -> str:
    """The digest of what a gate found in the newest edition."""
    newest = close.newest
    if gate not in newest.failures:
        failed = ", ".join(sorted(newest.failures)) or "none"
        raise MissionError(
            f"{gate} did not fail in edition {newest.number} of {close.period}, so there is nothing to waive. Not passed: {failed}."
        )
    failure = newest.failures[gate]
    if failure is None:
        raise MissionError(
            f"{gate} has no evidence in edition {newest.number} of {close.period}: nobody knows what would be waived. "
            f"Bring the data it judges, and close again."
        )
    return failure


def _waived_already(close: Close, said: Statement) -> int | None:
    """The number of the entry by which the same is waived."""
    return next((each.entry for each in close.standing_waivers if each.covers(said)), None)


def _may_be_waived(close: Close, said: Statement, found: SignOff) -> None:
    newest, person = close.newest, found.person
    if _failure(close, said.gate) != said.failure:
        raise MissionError(
            f"{person.person} waived a failure of {said.gate} with digest {said.failure[:12]}; in edition {newest.number} of {close.period} "
            f"it failed with other figures (digest {str(newest.failures[said.gate])[:12]}). Look at those, and waive them."
        )
    if newest.requested_by in (person.person, *person.logins):
        raise MissionError(
            f"{person.person} prepared edition {newest.number} of {close.period} and cannot waive what failed in it. Let somebody else."
        )
    _holds_them(close, said)


def _holds_them(close: Close, said: Statement) -> None:
    """MissionError for a tenant that the gate does not hold."""
    holds = close.newest.holds
    for tenant in said.tenants or ():
        if tenant not in holds.tenants or (said.gate not in holds.everybody and said.gate not in holds.held.get(tenant, ())):
            raise MissionError(
                f"{said.gate} does not hold {tenant} in edition {close.newest.number} of {close.period}. `mission status {close.period}` says whom."
            )
