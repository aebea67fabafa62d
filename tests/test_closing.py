"""The close after its attempts: who holds whom, approvals of two people, locks; on a journal without a lake."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mc_pipelines.closing.acts import approval_request, approve, lock
from mc_pipelines.closing.states import ATTEMPT, Close, fold
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.journal import Journal
from mc_pipelines.evidence.people import Person
from mc_pipelines.evidence.signing import signer
from mc_pipelines.evidence.signoff import signed

APRIL = "2026-04"
TENANTS = ("acme", "beta", "coda")
KEYS = {name: Ed25519PrivateKey.generate() for name in ("dana", "erin", "finn")}


def person(name: str, **changed: Any) -> Person:
    line = KEYS[name].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return Person.model_validate({"person": name, "name": name.title(), "roles": ["approver"], "key": line} | changed)


PEOPLE = (person("dana"), person("erin"), person("finn", logins=["finn.f"]))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    return Journal(tmp_path / "journal", signer(tmp_path / "keys"))


def attempted(
    journal: Journal, digest: str = "a1", held: Mapping[str, Sequence[str]] = {}, everybody: Sequence[str] = (), by: str = "job"
) -> Entry:
    edition = len(fold(journal.entries(), APRIL).editions) + 1
    body = {
        "period": APRIL,
        "edition": edition,
        "digest": digest * 32,
        "bundle": f"close/{edition}",
        "envelope": "ee" * 32,
        "verdict": "failed" if held or everybody else "passed",
        "holds": {"tenants": list(TENANTS), "held": held, "everybody": list(everybody)},
        "requested_by": by,
    }
    return journal.append(ATTEMPT, body, lambda _: None)


def close(journal: Journal) -> Close:
    return fold(journal.entries(), APRIL)


def approved(
    journal: Journal, who: str, tenants: Sequence[str] | None = None, without: Mapping[str, str] = {}, request: bytes = b""
) -> Entry:
    import json

    asked = json.loads(request or approval_request(close(journal), tenants, without, "job"))
    return approve(journal, PEOPLE, signed(asked, KEYS[who], PEOPLE, datetime(2026, 5, 4, tzinfo=UTC)), "approval.json")


def states(journal: Journal) -> dict[str, str]:
    found = close(journal)
    return {tenant: found.state(tenant) for tenant in TENANTS}


def test_a_month_that_was_never_attempted_has_no_state(journal: Journal) -> None:
    with pytest.raises(MissionError, match=r"2026-04 has no edition\. Attempt its close first: mission close 2026-04"):
        approved(journal, "dana")


def test_two_people_approve_and_a_lock_fixes_what_they_approved(journal: Journal) -> None:
    attempted(journal)
    assert set(states(journal).values()) == {"reconciled"}
    first = approved(journal, "dana")
    assert set(states(journal).values()) == {"reconciled"}
    with pytest.raises(MissionError, match=r"no tenant has the approval of 2 people\. Approved so far by dana\."):
        lock(journal, APRIL, None, "ops")
    second = approved(journal, "erin")
    assert set(states(journal).values()) == {"approved"}
    done = lock(journal, APRIL, None, "ops")
    assert (done.body["tenants"], done.body["approvals"]) == (list(TENANTS), [first.number, second.number])
    assert set(states(journal).values()) == {"locked"}
    assert lock(journal, APRIL, None, "somebody else") == done


def test_one_person_counts_once_and_an_approval_asked_for_again_is_returned(journal: Journal) -> None:
    attempted(journal)
    first = approved(journal, "dana")
    assert approved(journal, "dana") == first
    assert approved(journal, "dana", ["acme"]) == first  # part of what she approved
    assert set(states(journal).values()) == {"reconciled"}


def test_whoever_prepared_an_edition_cannot_approve_it(journal: Journal) -> None:
    attempted(journal, by="finn.f")
    with pytest.raises(MissionError, match="finn prepared edition 1 of 2026-04 and cannot approve it"):
        approved(journal, "finn")


def test_a_held_tenant_is_left_out_and_locked_in_a_later_edition(journal: Journal) -> None:
    attempted(journal, held={"beta": ["metering_variance_tenants"]})
    assert states(journal)["beta"] == "candidate"
    for who in ("dana", "erin"):
        assert approved(journal, who).body["without"] == {"beta": "metering_variance_tenants"}
    with pytest.raises(MissionError, match="beta is held by metering_variance_tenants"):
        approved(journal, "finn", ["beta"])
    assert lock(journal, APRIL, None, "ops").body["tenants"] == ["acme", "coda"]
    attempted(journal, "b2")
    assert states(journal) == {"acme": "locked", "beta": "reconciled", "coda": "locked"}
    for who in ("dana", "erin"):
        assert approved(journal, who).body["tenants"] == ["beta"]
    assert lock(journal, APRIL, None, "ops").body == {
        "period": APRIL,
        "edition": 2,
        "digest": "b2" * 32,
        "bundle": "close/2",
        "envelope": "ee" * 32,
        "tenants": ["beta"],
        "approvals": [6, 7],
        "waivers": [],
        "requested_by": "ops",
    }
    assert close(journal).locks["acme"].edition == 1


def test_a_gate_that_names_no_tenant_holds_all(journal: Journal) -> None:
    attempted(journal, everybody=["metering_variance"])
    with pytest.raises(MissionError, match=r"no tenant is left\."):
        approved(journal, "dana")
    with pytest.raises(MissionError, match="acme is held by metering_variance"):
        approved(journal, "dana", ["acme"])


def test_a_new_edition_voids_the_approvals_of_the_one_before(journal: Journal) -> None:
    attempted(journal)
    old = approval_request(close(journal), None, {}, "job")
    approved(journal, "dana")
    approved(journal, "erin")
    attempted(journal, "b2", by="ops")
    assert set(states(journal).values()) == {"reconciled"}
    with pytest.raises(MissionError, match=r"finn approved edition 1 of 2026-04; the newest is 2 .digest b2b2b2b2b2b2, by ops."):
        approved(journal, "finn", request=old)


def test_an_approval_does_not_come_back_when_an_edition_comes_out_as_one_before(journal: Journal) -> None:
    attempted(journal, "a1")
    approved(journal, "dana")
    approved(journal, "erin")
    attempted(journal, "b2")
    attempted(journal, "a1")
    assert set(states(journal).values()) == {"reconciled"}
    with pytest.raises(MissionError, match="Nobody has approved it yet"):
        lock(journal, APRIL, None, "ops")
    approved(journal, "dana")
    approved(journal, "erin")
    assert set(states(journal).values()) == {"approved"}


def test_what_is_left_out_needs_a_reason_and_is_not_approved(journal: Journal) -> None:
    attempted(journal)
    with pytest.raises(MissionError, match="acme: left out without a reason"):
        approved(journal, "dana", without={"acme": " "})
    for who in ("dana", "erin"):
        approved(journal, who, without={"acme": "disputed"})
    assert states(journal) == {"acme": "reconciled", "beta": "approved", "coda": "approved"}
    with pytest.raises(MissionError, match="acme: edition 1 is approved by nobody; 2 different people are needed"):
        lock(journal, APRIL, ["acme", "beta"], "ops")


@pytest.mark.parametrize("tenants", [["nobody"], ["acme", "nobody"]])
def test_an_unknown_tenant_is_named(journal: Journal, tenants: list[str]) -> None:
    attempted(journal)
    with pytest.raises(MissionError, match="edition 1 has no tenant 'nobody'"):
        approved(journal, "dana", tenants)


def test_the_second_of_two_lockers_is_told_who_was_first(journal: Journal) -> None:
    attempted(journal)
    approved(journal, "dana")
    approved(journal, "erin")
    first = lock(journal, APRIL, ["acme"], "ops")
    assert lock(journal, APRIL, ["acme"], "other") == first
    with pytest.raises(MissionError, match=r"acme was locked in edition 1 by ops at 20.*Z \(entry 4\)"):
        lock(journal, APRIL, ["acme", "beta"], "other")
    with pytest.raises(MissionError, match="acme is locked since edition 1"):
        approved(journal, "finn", ["acme"])
    assert lock(journal, APRIL, None, "other").body["tenants"] == ["beta", "coda"]


def test_other_months_do_not_mix(journal: Journal) -> None:
    attempted(journal)
    assert fold(journal.entries(), "2026-03").editions == []
