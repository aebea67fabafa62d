"""A month's close as the journal tells it: editions, approvals, locks, and from them the state of every tenant.

Only folding belongs here, and what a transition needs. Nothing is read from the lake, and no clock is asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mc_pipelines.closing.holds import Holds
from mc_pipelines.errors import MissionError

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

ATTEMPT, APPROVAL, LOCK = (f"metering.close.{name}" for name in ("attempt", "approval", "lock"))
NEEDED = 2
"""Different people who must approve the same edition."""
State = Literal["candidate", "reconciled", "approved", "locked"]
STATES: tuple[State, ...] = ("candidate", "reconciled", "approved", "locked")
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
    basis: int
    """Number of the newest lock of another month that its corrections take into account; 0 where there is none."""


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


@dataclass
class Close:
    """Everything that the journal says of one month: editions, approvals, and the lock of each tenant that has one."""

    period: str
    editions: list[Edition] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    locks: dict[str, Lock] = field(default_factory=dict)

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
        if not self.locks:
            return False
        first = min(self.locks.values(), key=lambda lock: lock.entry.number).edition
        return not any(tenant in each.holds.tenants for each in self.editions if each.number == first)

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
        if tenant in self.locks or self.closed_without(tenant):
            return "locked"
        if tenant not in self.newest.holds.green:
            return "candidate"
        return "approved" if len(self.approvers(tenant)) >= NEEDED else "reconciled"

    def blockers(self, tenant: str) -> tuple[str, ...]:
        """The gates that hold a tenant in the newest edition."""
        return (
            ()
            if tenant in self.locks or self.closed_without(tenant)
            else (*self.newest.holds.everybody, *self.newest.holds.held.get(tenant, ()))
        )


def fold(entries: Iterable["Entry"], period: str) -> Close:
    """The close of a month ('2026-04') from the entries that count, in order."""
    close = Close(period)
    for entry in entries:
        if entry.body.get("period") != period:
            continue
        if entry.kind == ATTEMPT and "holds" in entry.body:
            close.editions.append(_edition(entry.body, entry.number))
        elif entry.kind == APPROVAL:
            body = entry.body
            close.approvals.append(Approval(body["person"], body["edition"], body["digest"], frozenset(body["tenants"]), entry))
        elif entry.kind == LOCK:
            lock = Lock(entry.body["edition"], entry.body["digest"], entry.body["bundle"], frozenset(entry.body["tenants"]), entry)
            close.locks |= dict.fromkeys(lock.tenants, lock)
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
