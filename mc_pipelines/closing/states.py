"""A month's close as the journal tells it: editions, waivers, approvals, locks, and from them the state of every tenant.

Only folding belongs here, and what a transition needs. Nothing is read from the lake, and no clock is asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mc_pipelines.closing.holds import Holds
from mc_pipelines.closing.waivers import WAIVER, Waiver, left_of, waived
from mc_pipelines.errors import MissionError

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

ATTEMPT, APPROVAL, LOCK, PUBLICATION = (f"metering.close.{name}" for name in ("attempt", "approval", "lock", "publication"))
NOTE = "metering.finance_note"
ISSUED = "metering.close.issued"
REHEARSAL = "metering.close.rehearsal"
"""Tonight's close. No fold reads it, so it can be neither approved nor locked."""
NEEDED = 2
"""Different people who must approve the same edition."""
State = Literal["candidate", "reconciled", "approved", "locked", "published"]
STATES: tuple[State, ...] = ("candidate", "reconciled", "approved", "locked", "published")
"""In the order in which a tenant goes through them. A candidate is held by a gate, a reconciled tenant waits for approvals."""


@dataclass(frozen=True)
class Edition:
    """One signed attempt: what was frozen, whom it holds and why, and who asked for it."""

    number: int
    digest: str
    bundle: str
    envelope: str
    verdict: str
    holds: Holds
    requested_by: str
    entry: int
    basis: int = 0
    """Number of the newest lock of another month that its corrections take into account; 0 where there is none."""
    failures: Mapping[str, str | None] = field(default_factory=dict)
    """By gate that did not pass the digest of its failure, None where there was no evidence."""


@dataclass(frozen=True)
class Approval:
    """One person's approval of tenants of an edition. It counts while its digest is that of the newest edition."""

    person: str
    edition: int
    digest: str
    tenants: frozenset[str]
    entry: "Entry"


@dataclass(frozen=True)
class Lock:
    """Tenants whose close object is fixed: that of an edition, which stands in its bundle."""

    edition: int
    digest: str
    bundle: str
    tenants: frozenset[str]
    entry: "Entry"


@dataclass(frozen=True)
class Note:
    """A finance note on tenants as they are locked: pairs of an edition's digest and a tenant."""

    person: str
    covers: frozenset[tuple[str, str]]
    entry: "Entry"


@dataclass(frozen=True)
class Publication:
    """A bundle in which the invoices of tenants were handed over."""

    bundle: str
    entry: "Entry"


@dataclass
class Close:
    """Everything that the journal says of one month: editions, waivers, approvals, and the lock of each tenant that has one.

    `at` is the moment that waivers are judged at; without one they release nobody, and holds are as the gates left them.
    """

    period: str
    at: datetime | None = None
    editions: list[Edition] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    locks: dict[str, Lock] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    publications: dict[str, Publication] = field(default_factory=dict)
    issued: list["Entry"] = field(default_factory=list)
    present: frozenset[str] | None = None
    """Tenants of the first edition that was locked; None before."""

    @property
    def newest(self) -> Edition:
        """The edition that counts. MissionError where the month was never attempted."""
        if not self.editions:
            raise MissionError(f"{self.period} has no edition. Attempt its close first: mission close {self.period}")
        return self.editions[-1]

    @property
    def open_tenants(self) -> tuple[str, ...]:
        """Tenants of the newest edition that nobody has locked, and that can be."""
        return tuple(tenant for tenant in self.newest.holds.tenants if tenant not in self.locks and not self.closed_without(tenant))

    def closed_without(self, tenant: str) -> bool:
        """Whether the first locked edition did not have this tenant: its month is closed with nothing, what came later is a correction."""
        return self.present is not None and tenant not in self.present

    @property
    def standing_waivers(self) -> tuple[Waiver, ...]:
        """The waivers that hold at `at`, of what failed in the newest edition."""
        if self.at is None or not self.editions:
            return ()
        return tuple(each for each in self.waivers if each.state(self.newest.failures, self.at) == "stands")

    @property
    def waived(self) -> frozenset[str]:
        """The gates of the newest edition that did not pass, and hold nobody because they are waived."""
        return waived(self.standing_waivers, self.newest.holds) if self.editions else frozenset()

    def waivers_shown(self) -> list[dict[str, Any]]:
        """Every waiver of what failed in the newest edition, with `state`: stands, or expired."""
        if self.at is None or not self.editions:
            return []
        found = [each.document() | {"state": each.state(self.newest.failures, self.at)} for each in self.waivers]
        return [each for each in found if each["state"] != "of another failure"]

    @property
    def standing(self) -> tuple[Approval, ...]:
        """The approvals of the newest edition. Those given before it are void, even where its digest is one that was approved once."""
        newest = self.newest
        return tuple(each for each in self.approvals if each.digest == newest.digest and each.entry.number > newest.entry)

    def approvers(self, tenant: str) -> tuple[Approval, ...]:
        """Who approved a tenant in the newest edition, each person once."""
        found: dict[str, Approval] = {}
        for each in self.standing:
            if tenant in each.tenants:
                found.setdefault(each.person, each)
        return tuple(found.values())

    def state(self, tenant: str) -> State:
        """Where a tenant's close stands."""
        if tenant in self.publications:
            return "published"
        if tenant in self.locks or self.closed_without(tenant):
            return "locked"
        if not self.newest.holds.frees(tenant):
            return "candidate"
        return "approved" if len(self.approvers(tenant)) >= NEEDED else "reconciled"

    def blockers(self, tenant: str) -> tuple[str, ...]:
        """The gates that hold a tenant in the newest edition."""
        return (
            ()
            if tenant in self.locks or self.closed_without(tenant)
            else (*self.newest.holds.everybody, *self.newest.holds.held.get(tenant, ()))
        )


def in_order(locks: Iterable[Lock]) -> list[Lock]:
    """Each lock once, however many tenants it has, in the order of the journal."""
    return sorted({lock.entry.number: lock for lock in locks}.values(), key=lambda lock: lock.entry.number)


def fold(entries: Iterable["Entry"], period: str, at: datetime | None = None) -> Close:
    """The close of a month ('2026-04') from the entries that count, in order; what is waived at `at` holds nobody in the newest edition."""
    close = Close(period, at)
    for entry in entries:
        if entry.body.get("period") != period:
            continue
        if entry.kind == ATTEMPT and "holds" in entry.body:
            close.editions.append(_edition(entry.body, entry.number))
        elif entry.kind == WAIVER:
            close.waivers.append(Waiver.read(entry))
        elif entry.kind == APPROVAL:
            body = entry.body
            close.approvals.append(Approval(body["person"], body["edition"], body["digest"], frozenset(body["tenants"]), entry))
        elif entry.kind == LOCK:
            lock = Lock(entry.body["edition"], entry.body["digest"], entry.body["bundle"], frozenset(entry.body["tenants"]), entry)
            close.locks |= dict.fromkeys(lock.tenants, lock)
            if close.present is None:
                close.present = frozenset(tenant for each in close.editions if each.number == lock.edition for tenant in each.holds.tenants)
        elif entry.kind == NOTE:
            covers = frozenset((each["digest"], tenant) for each in entry.body["editions"] for tenant in each["tenants"])
            close.notes.append(Note(entry.body["person"], covers, entry))
        elif entry.kind == PUBLICATION:
            close.publications |= dict.fromkeys(entry.body["tenants"], Publication(entry.body["bundle"], entry))
        elif entry.kind == ISSUED:
            close.issued.append(entry)
    if standing := close.standing_waivers:
        close.editions[-1] = replace(close.newest, holds=left_of(close.newest.holds, standing))
    return close


def _edition(body: Mapping[str, Any], entry: int) -> Edition:
    return Edition(
        number=body["edition"],
        digest=body["digest"],
        bundle=body["bundle"],
        envelope=body["envelope"],
        verdict=body["verdict"],
        holds=Holds.read(body["holds"]),
        requested_by=body["requested_by"],
        entry=entry,
        basis=body.get("basis", 0),
        failures=body.get("failures", {}),
    )


def chosen(close: Close, tenants: Sequence[str] | None, without: Mapping[str, str]) -> tuple[str, ...]:
    """The tenants that an act is about: those named, or all that nothing holds and nobody has locked; less those left out with a reason.

    MissionError for a tenant that the edition has not, that a gate holds, that is locked, or where nobody is left.
    """
    newest = close.newest
    if unknown := sorted(set(tenants or ()) - set(newest.holds.tenants)) or sorted(set(without) - set(newest.holds.tenants)):
        raise MissionError(
            f"{close.period} edition {newest.number} has no tenant {unknown[0]!r}. `mission status {close.period}` lists them."
        )
    if empty := sorted(tenant for tenant, reason in without.items() if not reason.strip()):
        raise MissionError(f"{empty[0]}: left out without a reason. Write TENANT=REASON.")
    asked = tuple(tenants) if tenants is not None else tuple(tenant for tenant in newest.holds.green if tenant in close.open_tenants)
    for tenant in asked:
        if close.closed_without(tenant):
            raise MissionError(
                f"{tenant} had nothing in {close.period} when it was locked. What came later is corrected on its next invoice."
            )
        if tenant in close.locks:
            lock = close.locks[tenant]
            raise MissionError(
                f"{tenant} is locked since edition {lock.edition} (entry {lock.entry.number}). Nothing changes a locked close."
            )
        if held := close.blockers(tenant):
            raise MissionError(f"{tenant} is held by {', '.join(held)}. Mend the cause and close again, or leave the tenant out.")
    found = tuple(sorted(set(asked) - set(without)))
    if not found:
        raise MissionError(
            f"{close.period} edition {newest.number}: no tenant is left. `mission status {close.period}` says what holds them."
        )
    return found
