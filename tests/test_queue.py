"""The queue of connect requests: every transition there is, and every event that changes nothing."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipelines.marketplace.queue import STATES, Event, Refused, Request, fold, observation

NOON = datetime.fromisoformat("2026-05-04T12:00:00")
WAY_TO = {
    None: (),
    "requested": ("requested",),
    "triaged": ("requested", "triaged"),
    "approved": ("requested", "triaged", "approved"),
    "connected": ("requested", "triaged", "approved", "connected"),
    "rejected": ("requested", "rejected"),
    "withdrawn": ("requested", "withdrawn"),
}
# Written out by hand from the specification, not read from the code.
ALLOWED = {
    (None, "requested"),
    ("requested", "triaged"),
    ("requested", "rejected"),
    ("requested", "withdrawn"),
    ("triaged", "approved"),
    ("triaged", "rejected"),
    ("triaged", "withdrawn"),
    ("approved", "connected"),
    ("approved", "withdrawn"),
    ("approved", "rejected"),
}


def folded(events: Iterable[Event]) -> tuple[tuple[Request, ...], tuple[Refused, ...]]:
    return fold(events, {"tides", "winds"})


def event(state: str, hours: int = 0, request: str = "r1", landed: int = 0, tenant: str = "acme", source: str = "tides") -> Event:
    return Event(request, source, tenant, state, NOON + timedelta(hours=hours), (landed,))


def one(*states: str) -> tuple[Request, tuple[Refused, ...]]:
    requests, refused = folded(event(state, hour) for hour, state in enumerate(states))
    return requests[0], refused


@pytest.mark.parametrize(("state", "then"), list(product(WAY_TO, STATES)))
def test_every_pair_of_states_is_taken_or_refused_as_specified(state: str | None, then: str) -> None:
    requests, refused = folded(event(each, hour) for hour, each in enumerate((*WAY_TO[state], then)))
    if (state, then) in ALLOWED:
        assert (requests[0].state, refused) == (then, ())
    else:
        assert [each.state for each in requests] == ([state] if state else [])
        assert [each.reason for each in refused] == ["duplicate" if then in WAY_TO[state] else "transition"]


def test_a_connected_request_has_the_instant_of_each_step() -> None:
    request, refused = one("requested", "triaged", "approved", "connected")
    assert refused == ()
    assert request == Request(
        "r1",
        "tides",
        "acme",
        "connected",
        NOON,
        answered_at=NOON + timedelta(hours=1),
        triaged_at=NOON + timedelta(hours=1),
        approved_at=NOON + timedelta(hours=2),
        connected_at=NOON + timedelta(hours=3),
        closed_at=NOON + timedelta(hours=3),
    )
    assert (request.open, request.closed_state) == (False, "connected")
    assert observation(request, NOON + timedelta(days=9)) == (3 * 3_600_000_000, True)


def test_open_withdrawn_and_rejected_requests_are_observed_as_specified() -> None:
    as_of = NOON + timedelta(days=2, microseconds=1)
    waiting, withdrawn, rejected = one("requested", "triaged")[0], one("requested", "withdrawn")[0], one("requested", "rejected")[0]
    assert (waiting.open, waiting.closed_state) == (True, None)
    assert observation(waiting, as_of) == (172_800_000_001, False)
    assert observation(withdrawn, as_of) == (3_600_000_000, False)
    assert observation(rejected, as_of) is None
    assert (rejected.triaged_at, rejected.answered_at) == (None, NOON + timedelta(hours=1))


def test_what_happened_after_the_instant_asked_for_is_said() -> None:
    for request, as_of in ((one("requested")[0], NOON - timedelta(1)), (one("requested", "withdrawn")[0], NOON)):
        with pytest.raises(ValueError, match="r1 has events after"):
            observation(request, as_of)


def test_a_refused_event_changes_nothing_and_a_later_one_of_its_state_is_no_duplicate() -> None:
    request, refused = one("requested", "approved", "triaged", "approved", "connected")
    assert request.approved_at == NOON + timedelta(hours=3)
    assert request.state == "connected"
    assert [(each.event.state, each.reason, each.detail) for each in refused] == [
        ("approved", "transition", "approved cannot follow requested; allowed is triaged or rejected or withdrawn")
    ]


def test_a_second_request_of_the_same_id_is_a_duplicate_even_after_the_end() -> None:
    request, refused = one("requested", "withdrawn", "requested")
    assert request.state == "withdrawn"
    assert [(each.reason, each.detail) for each in refused] == [("duplicate", "request r1 is or was requested already")]


def test_events_that_speak_of_another_source_or_tenant_are_contradictions() -> None:
    requests, refused = folded([event("requested"), event("triaged", 1, tenant="zeta"), event("triaged", 2, source="winds")])
    assert requests[0].state == "requested"
    assert [each.reason for each in refused] == ["contradiction", "contradiction"]
    assert refused[0].detail == "request r1 was made by acme for tides, this says by zeta for tides"


def test_a_request_for_a_source_that_nobody_declared_is_refused_with_all_its_events() -> None:
    requests, refused = folded([event("requested", source="storms"), event("triaged", 1, source="storms")])
    assert requests == ()
    assert [(each.reason, each.detail) for each in refused] == [("source", "'storms' is no source that is declared")] * 2


def test_an_unknown_state_and_an_event_without_a_request_are_refused() -> None:
    requests, refused = folded([event("Requested"), event("connected", request="r2")])
    assert requests == ()
    assert [(each.event.request_id, each.reason) for each in refused] == [("r1", "state"), ("r2", "transition")]
    assert refused[1].detail == "connected cannot follow nothing; allowed is requested"


def test_events_of_one_instant_are_taken_as_they_landed() -> None:
    in_order = [event("requested", landed=1), event("triaged", landed=2)]
    assert [each.state for each in folded(in_order)[0]] == ["triaged"]
    swapped = [event("requested", landed=2), event("triaged", landed=1)]
    requests, refused = folded(swapped)
    assert [each.state for each in requests] == ["requested"]
    assert [each.detail for each in refused] == ["triaged cannot follow nothing; allowed is requested"]


def test_the_order_in_which_events_are_given_does_not_matter() -> None:
    events = [event("requested"), event("triaged", 1), event("triaged", 1, landed=5), event("approved", 2)]
    assert len({folded(each) for each in permutations(events)}) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([*STATES, "lost"]), st.integers(0, 5)), max_size=30))
def test_every_event_is_either_taken_or_refused_once(drawn: list[tuple[str, str, int]]) -> None:
    events = [event(state, hours, request, landed) for landed, (request, state, hours) in enumerate(drawn)]
    requests, refused = folded(events)
    taken = set(events) - {each.event for each in refused}
    assert len(taken) + len(refused) == len(events)
    for request in requests:
        states = [
            each.state for each in sorted(taken, key=lambda each: (each.occurred_at, each.landed)) if each.request_id == request.request_id
        ]
        assert states[-1] == request.state
        assert all(pair in ALLOWED for pair in zip([None, *states], states, strict=False))
