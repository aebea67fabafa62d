"""Generated requests to connect: the events of each, the state that they end in, and transitions that cannot be."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mc_pipelines.generated import Chance, Row, instant, text_of
from mc_pipelines.marketplace.simulated_truth import Request, Troubles

PEOPLE = ("Dana Whitfield-Osei", "Ravi Nakashima", "Ilse van Dorn", "Tomás Querubín", "Wen Achterberg")
PATH = ("requested", "triaged", "approved", "connected")
IMPOSSIBLE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("requested",), "connected", "transition"),
    (("requested", "withdrawn"), "approved", "transition"),
    (("requested", "triaged", "rejected"), "connected", "transition"),
    (PATH, "triaged", "duplicate"),
    ((), "approved", "transition"),
    (("requested", "triaged"), "approved", "contradiction"),
)
"""(what happened, what cannot follow it, why); each is planted once. What contradicts speaks for another tenant."""
Made = tuple[list[Row], dict[str, Request], dict[tuple[str, str], str]]


def requests(
    seed: int, sources: Sequence[str], tenants: Sequence[str], first: datetime, end: datetime, count: int, troubles: Troubles
) -> Made:
    """Events in order of their instants, the requests, and the impossible transitions."""
    rows: list[Row] = []
    known: dict[str, Request] = {}
    refused: dict[tuple[str, str], str] = {}
    for number in range(count):
        chance = Chance(seed, "request", number)
        ident, source, tenant = f"rq-{text_of(seed, 'request id', number)[:12]}", chance.one_of(sources), chance.one_of(tenants)
        impossible = IMPOSSIBLE[number] if number < len(IMPOSSIBLE) else None
        states, hours = (impossible[0], 30) if impossible else _course(chance, troubles)
        ago = _begun_ago(chance, states, hours, end - first, troubles)
        times = [end - ago + timedelta(hours=hours) * step / max(1, len(states) - 1) for step in range(len(states))]
        made = list(zip(states, times, strict=True))
        known[ident] = _known(made)
        if impossible:
            made.append((impossible[1], (times[-1] if times else end - ago) + timedelta(minutes=30)))
            refused[ident, impossible[1]] = impossible[2]
        for state, at in made:
            rows.append(
                {
                    "request_id": ident,
                    "source_id": source,
                    "tenant_id": next(each for each in tenants if each != tenant)
                    if refused.get((ident, state)) == "contradiction"
                    else tenant,
                    "state": state,
                    "occurred_at": instant(at),
                    "by": chance_of(seed, ident, state),
                }
            )
    return sorted(rows, key=lambda row: (row["occurred_at"], row["request_id"])), known, refused


def chance_of(seed: int, ident: str, state: str) -> str:
    """Who brought a request into a state."""
    return str(Chance(seed, "person", f"{ident}/{state}").one_of(PEOPLE))


def _course(chance: Chance, troubles: Troubles) -> tuple[tuple[str, ...], int]:
    """The states that a request goes through, and the hours from the first to the last."""
    open_share = 42 if troubles.backlog else 12
    lot = chance.below(100)
    if lot < open_share:
        return PATH[: chance.between(1, 3)], chance.between(1, 20)
    if lot < open_share + 6:
        return ("requested", "triaged", "withdrawn"), chance.between(4, 40)
    if lot < open_share + 12:
        return ("requested", "triaged", "rejected"), chance.between(6, 50)
    low, high = (75, 150) if troubles.slow else (20, 64) if troubles.backlog else (6, 60)
    return PATH, chance.between(low, high)


def _begun_ago(chance: Chance, states: Sequence[str], hours: int, span: timedelta, troubles: Troubles) -> timedelta:
    """How long before the end a request was made: long enough for its course; one that stays open has waited for nine days at most unless there is a backlog."""
    waits = not states or states[-1] not in {"connected", "withdrawn", "rejected"}
    shortest, longest = timedelta(hours=hours + 1), span - timedelta(hours=1)
    if waits and not troubles.backlog:
        longest = timedelta(days=9)
    elif waits:
        shortest = timedelta(days=5)
    return shortest + (longest - shortest) * chance.below(100_000) / 100_000


def _known(made: Sequence[tuple[str, datetime]]) -> Request:
    if not made:
        return Request(None, None)
    begun, (state, at) = made[0][1], made[-1]
    return Request(state, begun, at - begun if state == "connected" else None)
