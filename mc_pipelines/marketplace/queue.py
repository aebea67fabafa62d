"""Connect requests as a state machine: events in, one request each out, and every event that cannot have happened, with its reason.

Nothing is guessed: a refused event changes no state. Whoever asks about an instant gives only the events before it.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

AFTER: Mapping[str | None, tuple[str, ...]] = {
    None: ("requested",),
    "requested": ("triaged", "rejected", "withdrawn"),
    "triaged": ("approved", "rejected", "withdrawn"),
    "approved": ("connected", "withdrawn", "rejected"),
    "connected": (),
    "rejected": (),
    "withdrawn": (),
}
"""By state (None: not yet there) the states that may follow."""
STATES = tuple(state for state in AFTER if state is not None)


@dataclass(frozen=True)
class Event:
    """A landed row. `occurred_at` is naive UTC; `landed` orders the rows of one instant, as (landing day, file, row) or the like does."""

    request_id: str
    source_id: str
    tenant_id: str
    state: str
    occurred_at: datetime
    landed: tuple[str | int, ...]


@dataclass(frozen=True)
class Refused:
    """An event that changed nothing. `reason` is `state`, `source`, `contradiction`, `duplicate` or `transition`, `detail` says it in words."""

    event: Event
    reason: str
    detail: str


@dataclass(frozen=True)
class Request:
    """What is known of a request. Instants are naive UTC, None where it has not come so far.

    `answered_at`: the first state after `requested`, whichever. `closed_at`: when it became connected, rejected or withdrawn.
    """

    request_id: str
    source_id: str
    tenant_id: str
    state: str
    requested_at: datetime
    answered_at: datetime | None = None
    triaged_at: datetime | None = None
    approved_at: datetime | None = None
    connected_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def open(self) -> bool:
        return self.closed_at is None

    @property
    def closed_state(self) -> str | None:
        return None if self.open else self.state


def fold(events: Iterable[Event], sources: Container[str]) -> tuple[tuple[Request, ...], tuple[Refused, ...]]:
    """Requests in order of their ids, and refused events in the order in which they were taken: (request, occurred at, landed).

    `sources` are the declared ones: nobody promised anything about another.
    """
    found: dict[str, Request] = {}
    seen: dict[str, set[str]] = {}
    refused = []
    for event in sorted(events, key=lambda each: (each.request_id, each.occurred_at, each.landed)):
        request, states = found.get(event.request_id), seen.setdefault(event.request_id, set())
        if fault := _fault(request, states, event, sources):
            refused.append(Refused(event, *fault))
            continue
        states.add(event.state)
        found[event.request_id] = _after(request, event)
    return tuple(found.values()), tuple(refused)


def _fault(request: Request | None, states: set[str], event: Event, sources: Container[str]) -> tuple[str, str] | None:
    """(reason, detail) where the event cannot follow."""
    if event.state not in STATES:
        return "state", f"{event.state[:40]!r} is no state; there are {', '.join(STATES)}"
    if event.source_id not in sources:
        return "source", f"{event.source_id[:80]!r} is no source that is declared"
    if request and (event.source_id, event.tenant_id) != (request.source_id, request.tenant_id):
        asked, said = f"{request.tenant_id} for {request.source_id}", f"{event.tenant_id} for {event.source_id}"
        return "contradiction", f"request {event.request_id} was made by {asked}, this says by {said}"
    if event.state in states:
        return "duplicate", f"request {event.request_id} is or was {event.state} already"
    state = request.state if request else None
    if event.state not in AFTER[state]:
        return "transition", f"{event.state} cannot follow {state or 'nothing'}; allowed is {' or '.join(AFTER[state]) or 'nothing'}"
    return None


def _after(request: Request | None, event: Event) -> Request:
    at = event.occurred_at
    if request is None:
        return Request(event.request_id, event.source_id, event.tenant_id, event.state, at)
    return replace(
        request,
        state=event.state,
        answered_at=request.answered_at or at,
        triaged_at=at if event.state == "triaged" else request.triaged_at,
        approved_at=at if event.state == "approved" else request.approved_at,
        connected_at=at if event.state == "connected" else None,
        closed_at=None if AFTER[event.state] else at,
    )


def observation(request: Request, as_of: datetime) -> tuple[int, bool] | None:
    """(microseconds waited, connected or not) as survival.py takes it; None for a rejected request, which is counted beside.

    An open request waits until `as_of` (naive UTC), a withdrawn one until it was withdrawn. ValueError for what happened after `as_of`.
    """
    if max(request.requested_at, request.closed_at or request.requested_at) > as_of:
        raise ValueError(f"request {request.request_id} has events after {as_of.isoformat()}; fold only those before it")
    if request.state == "rejected":
        return None
    waited = (request.closed_at or as_of) - request.requested_at
    return waited // timedelta(microseconds=1), request.state == "connected"
