"""What people do to a close: ask for an approval, approve, lock. Each reads the journal to its head, folds, and adds one entry, or says why not.

Asked again for what is done already, an act returns the entry that did it. Where somebody was first, the message names who, what and when.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.closing.states import APPROVAL, LOCK, NEEDED, Close, chosen, fold
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import instant, parse
from mc_pipelines.evidence.signoff import SignOff, read_sign_off, request

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.people import Person

STATEMENT = {"period", "edition", "digest", "tenants", "without", "note"}


def approval_request(close: Close, tenants: Sequence[str] | None, without: Mapping[str, str], requested_by: str, note: str = "") -> bytes:
    """The request to approve tenants of the newest edition: those named, or all that nothing holds, less those left out with a reason."""
    found = chosen(close, tenants, without)
    left = {tenant: ", ".join(close.blockers(tenant)) for tenant in close.open_tenants if close.blockers(tenant)} | dict(without)
    return request(
        APPROVAL,
        requested_by,
        {
            "period": close.period,
            "edition": close.newest.number,
            "digest": close.newest.digest,
            "tenants": list(found),
            "without": dict(sorted(left.items())),
            "note": note,
        },
    )


def approve(journal: "Journal", people: "Sequence[Person]", envelope: bytes, where: str, at: datetime | None = None) -> "Entry":
    """Take a person's signed approval into the journal at `at` (default: now); it is bound to the digest of the edition that they saw.

    MissionError, beginning with `where`, for an envelope that does not verify; and for an approval of another edition than the newest, of a
    tenant that is held or locked, or by whoever asked for the edition.
    """
    found = read_sign_off(envelope, people, where)
    said = found.statement
    if found.kind != APPROVAL or set(said) != STATEMENT:
        raise MissionError(f"{where}: a signed {found.kind}, no approval of a close. Make one with `mission approve MONTH`.")
    period, tenants, moment = str(said["period"]), frozenset(map(str, said["tenants"])), at or datetime.now(UTC)
    body = {
        "period": period,
        "edition": said["edition"],
        "digest": said["digest"],
        "tenants": sorted(tenants),
        "without": said["without"],
        "person": found.person.person,
        "requested_by": found.requested_by,
        "sign_off": parse(envelope),
    }

    def validate(entries: "list[Entry]") -> "Entry | None":
        close = fold(entries, period, moment)
        if (done := _approved_already(close, found, tenants)) is None:
            up_to_date(entries, close, tenants)
        return done

    return journal.append(APPROVAL, body, validate, moment)


def _approved_already(close: Close, found: SignOff, tenants: frozenset[str]) -> "Entry | None":
    """The entry by which this person has approved the same; None where it may be added now."""
    newest, person = close.newest, found.person
    if found.statement["digest"] != newest.digest:
        raise MissionError(
            f"{person.person} approved edition {found.statement['edition']} of {close.period}; the newest is {newest.number} "
            f"(digest {newest.digest[:12]}, by {newest.requested_by}). Look at that one, and approve it."
        )
    for each in close.standing:
        if each.person == person.person and tenants <= each.tenants:
            return each.entry
    if newest.requested_by in (person.person, *person.logins):
        raise MissionError(f"{person.person} prepared edition {newest.number} of {close.period} and cannot approve it. Let somebody else.")
    chosen(close, sorted(tenants), {})
    return None


def lock(journal: "Journal", period: str, tenants: Sequence[str] | None, requested_by: str, at: datetime | None = None) -> "Entry":
    """Fix the close of tenants that two people approved, at `at` (default: now): those named, or all that are. No act unlocks.

    MissionError for a tenant that is not approved yet, and where none is; one that names who was first, where a tenant is locked otherwise.
    """

    moment = at or datetime.now(UTC)

    def of(entries: "list[Entry]") -> tuple[Close, tuple[str, ...]]:
        close = fold(entries, period, moment)
        ready = tuple(tenant for tenant in close.open_tenants if close.state(tenant) == "approved")
        return close, ready if tenants is None else tuple(sorted(set(tenants)))

    def validate(entries: "list[Entry]") -> "Entry | None":
        close, asked = of(entries)
        if (done := _locked_already(close, asked)) is None:
            up_to_date(entries, close, asked)
        return done

    def body(entries: "list[Entry]") -> dict[str, Any]:
        close, asked = of(entries)
        newest = close.newest
        return {
            "period": period,
            "edition": newest.number,
            "digest": newest.digest,
            "bundle": newest.bundle,
            "envelope": newest.envelope,
            "tenants": list(asked),
            "approvals": sorted({each.entry.number for tenant in asked for each in close.approvers(tenant)}),
            "waivers": sorted(each.entry for each in close.standing_waivers if any(map(each.releases, asked))),
            "requested_by": requested_by,
        }

    return journal.append(LOCK, body, validate, moment)


def up_to_date(entries: "Iterable[Entry]", close: Close, tenants: Iterable[str]) -> None:
    """MissionError where another month of a tenant was locked since its corrections were computed: they could bill a late event twice, or never."""
    asked = frozenset(tenants)
    later = [entry for entry in entries if entry.kind == LOCK and entry.number > close.newest.basis]
    for entry in later:
        both = sorted(asked & set(entry.body["tenants"]))
        if both and entry.body["period"] != close.period:
            raise MissionError(
                f"{entry.body['period']} of {both[0]} was locked (entry {entry.number}) after edition {close.newest.number} of {close.period} was made. "
                f"Close again, so that its corrections are up to date: mission close {close.period}"
            )


def _locked_already(close: Close, asked: Sequence[str]) -> "Entry | None":
    newest = close.newest
    if not asked:
        standing = [each for each in close.locks.values() if each.digest == newest.digest]
        if standing and not close.open_tenants:
            return max((each.entry for each in standing), key=lambda entry: entry.number)
        raise MissionError(f"{close.period} edition {newest.number}: no tenant has the approval of {NEEDED} people. {_approvals(close)}")
    locks = {tenant: close.locks[tenant] for tenant in asked if tenant in close.locks}
    if len(locks) == len(asked) and len({each.entry.number for each in locks.values()}) == 1:
        return next(iter(locks.values())).entry
    for tenant, standing_lock in locks.items():
        entry = standing_lock.entry
        raise MissionError(
            f"{tenant} was locked in edition {standing_lock.edition} by {entry.body['requested_by']} at {instant(entry.signed_at)} (entry {entry.number}). "
            "Name the tenants that are left, or none for all that are approved."
        )
    chosen(close, asked, {})
    for tenant in asked:
        if close.state(tenant) != "approved":
            people = ", ".join(each.person for each in close.approvers(tenant)) or "nobody"
            raise MissionError(f"{tenant}: edition {newest.number} is approved by {people}; {NEEDED} different people are needed.")
    return None


def _approvals(close: Close) -> str:
    people = sorted({each.person for each in close.standing})
    return f"Approved so far by {', '.join(people)}." if people else "Nobody has approved it yet: mission approve MONTH --all-green"
