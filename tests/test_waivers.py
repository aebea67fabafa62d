"""Waivers on a journal without a lake: what one is bound to, whom it releases, until when, and who may not sign it."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mc_pipelines.acceptance import failure
from mc_pipelines.closing.acts import approval_request, approve, lock
from mc_pipelines.closing.states import ATTEMPT, Close, fold
from mc_pipelines.closing.waive import waive, waiver_request
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.journal import Journal
from mc_pipelines.evidence.people import Person
from mc_pipelines.evidence.signing import signer
from mc_pipelines.evidence.signoff import signed
from mc_pipelines.gates import Between, Gate

APRIL = "2026-04"
TENANTS = ("acme", "beta", "coda")
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LAST = "2026-05-31"
FIRST_FIGURES, OTHER_FIGURES = "f1" * 32, "f2" * 32
ROW = {"tenant_id": "acme", "ratio": "0.01"}
KEYS = {name: Ed25519PrivateKey.generate() for name in ("dana", "erin", "finn")}


def person(name: str, **changed: Any) -> Person:
    line = KEYS[name].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return Person.model_validate({"person": name, "name": name.title(), "roles": ["approver"], "key": line} | changed)


PEOPLE = (person("dana"), person("erin"), person("finn", roles=["finance"]))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    return Journal(tmp_path / "journal", signer(tmp_path / "keys"))


def attempted(
    journal: Journal,
    failures: Mapping[str, str | None],
    held: Mapping[str, Sequence[str]] = {},
    everybody: Sequence[str] = (),
    by: str = "job",
) -> Entry:
    edition = len(fold(journal.entries(), APRIL).editions) + 1
    body = {
        "period": APRIL,
        "edition": edition,
        "digest": f"{edition:02d}" * 32,
        "bundle": f"close/{edition}",
        "envelope": "ee" * 32,
        "verdict": "failed",
        "failures": failures,
        "holds": {"tenants": list(TENANTS), "held": held, "everybody": list(everybody)},
        "requested_by": by,
    }
    return journal.append(ATTEMPT, body, lambda _: None)


def close(journal: Journal, at: datetime | None = NOW) -> Close:
    return fold(journal.entries(), APRIL, at)


def asked(journal: Journal, gate: str = "conflicts", tenants: Sequence[str] | None = None, expires: str = LAST, **changed: str) -> bytes:
    said = {"rationale": "settled by hand", "owner": "team:sre"} | changed
    return waiver_request(close(journal, None), gate, tenants, said["rationale"], said["owner"], expires, "job")


def envelope(request: bytes, who: str = "dana") -> bytes:
    return signed(json.loads(request), KEYS[who], PEOPLE, NOW)


def waived(journal: Journal, who: str = "dana", at: datetime = NOW, request: bytes = b"", **changed: Any) -> Entry:
    return waive(journal, PEOPLE, envelope(request or asked(journal, **changed), who), "waiver.json", at)


def green(journal: Journal, at: datetime = NOW) -> tuple[str, ...]:
    return close(journal, at).newest.holds.green


GATE = Gate(
    gate="conflicts",
    deliverable="metering",
    table="metering.conflicts",
    about="None is open.",
    expectation="expect_column_max_to_be_between",
    between=Between(column="open", max_value=Decimal(0)),
    offending="open > $max_value",
    severity="warning",
    owner="team:sre",
    unit="conflicts",
)


def test_the_same_figures_are_the_same_failure_whatever_the_order_of_their_rows() -> None:
    other = ROW | {"tenant_id": "beta"}
    first = failure(GATE, APRIL, "2", [ROW, other])
    assert failure(GATE, APRIL, "2", [dict(reversed(other.items())), ROW]) == first
    assert len(first) == 64


@pytest.mark.parametrize(
    ("gate", "period", "value", "rows"),
    [
        (GATE, APRIL, "2", [ROW, ROW]),
        (GATE, APRIL, "2", []),
        (GATE, APRIL, "2", [ROW | {"ratio": "0.010000001"}]),
        (GATE, APRIL, "2", [ROW | {"more": None}]),
        (GATE, APRIL, "3", [ROW]),
        (GATE, "2026-03", "2", [ROW]),
        (GATE.model_copy(update={"between": Between(column="open", max_value=Decimal(1))}), APRIL, "2", [ROW]),
        (GATE.model_copy(update={"between": Between(column="open", min_value=Decimal(0))}), APRIL, "2", [ROW]),
        (GATE.model_copy(update={"severity": "critical"}), APRIL, "2", [ROW]),
        (GATE.model_copy(update={"gate": "other"}), APRIL, "2", [ROW]),
    ],
)
def test_another_row_figure_or_threshold_is_another_failure(gate: Gate, period: str, value: str, rows: list[dict[str, Any]]) -> None:
    assert failure(gate, period, value, rows) != failure(GATE, APRIL, "2", [ROW])


def test_a_row_that_is_not_shown_counts_too() -> None:
    rows = [{"n": number} for number in range(40)]
    assert failure(GATE, APRIL, "39", rows) != failure(GATE, APRIL, "39", [*rows[:39], {"n": 390}])


def test_a_waived_gate_holds_nobody_and_is_said_to_be_waived(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    assert green(journal) == ()
    entry = waived(journal)
    assert green(journal) == TENANTS
    found = close(journal)
    assert found.waived == {"conflicts"}
    assert found.newest.verdict == "failed"
    assert found.waivers_shown() == [
        {
            "gate": "conflicts",
            "failure": FIRST_FIGURES,
            "tenants": None,
            "rationale": "settled by hand",
            "owner": "team:sre",
            "expires": LAST,
            "person": "dana",
            "entry": entry.number,
            "state": "stands",
        }
    ]


def test_without_a_moment_nothing_is_waived(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    waived(journal)
    assert close(journal, None).newest.holds.everybody == ("conflicts",)
    assert (close(journal, None).waived, close(journal, None).waivers_shown()) == (frozenset(), [])


def test_it_holds_through_its_last_day_and_not_a_microsecond_longer(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    waived(journal)
    after = datetime(2026, 6, 1, tzinfo=UTC)
    assert green(journal, after - timedelta(microseconds=1)) == TENANTS
    assert green(journal, after) == ()
    assert [each["state"] for each in close(journal, after).waivers_shown()] == ["expired"]
    # The day is UTC's, wherever somebody stands: 05:00 in Sydney is still the day before, 20:00 in Lima already the day after.
    assert green(journal, datetime(2026, 6, 1, 5, tzinfo=timezone(timedelta(hours=10)))) == TENANTS
    assert green(journal, datetime(2026, 5, 31, 20, tzinfo=timezone(timedelta(hours=-5)))) == ()


def test_an_expired_waiver_holds_again_at_approval_and_at_lock(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, held={"beta": ["conflicts"]})
    waived(journal, expires="2026-05-04")
    for who, key in (("dana", "dana"), ("erin", "erin")):
        request = json.loads(approval_request(close(journal), None, {}, "job"))
        approve(journal, PEOPLE, signed(request, KEYS[key], PEOPLE, NOW), who, NOW)
    late = NOW + timedelta(days=1)
    with pytest.raises(MissionError, match="beta is held by conflicts"):
        lock(journal, APRIL, ["beta"], "ops", late)
    assert lock(journal, APRIL, None, "ops", late).body["tenants"] == ["acme", "coda"]
    assert close(journal, late).state("beta") == "candidate"
    done = lock(journal, APRIL, None, "ops", NOW)
    assert (done.body["tenants"], done.body["waivers"]) == (["beta"], [2])
    assert close(journal, late).state("beta") == "locked"  # what is locked stays locked


def test_the_same_failure_in_a_later_edition_stays_waived_and_another_does_not(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    waived(journal)
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    assert green(journal) == TENANTS
    attempted(journal, {"conflicts": OTHER_FIGURES}, everybody=["conflicts"])
    assert (green(journal), close(journal).waived, close(journal).waivers_shown()) == ((), frozenset(), [])


def test_a_waiver_signed_before_the_figures_changed_is_refused(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    request = asked(journal)
    attempted(journal, {"conflicts": OTHER_FIGURES}, everybody=["conflicts"])
    with pytest.raises(
        MissionError, match=r"digest f1f1f1f1f1f1; in edition 2 of 2026-04 it failed with other figures .digest f2f2f2f2f2f2"
    ):
        waived(journal, request=request)


def test_a_waiver_for_some_tenants_releases_those(journal: Journal) -> None:
    attempted(journal, {"variance": FIRST_FIGURES, "other": OTHER_FIGURES}, held={"acme": ["variance"], "beta": ["variance", "other"]})
    waived(journal, gate="variance", tenants=["acme"])
    found = close(journal)
    assert (found.newest.holds.held, found.waived) == ({"beta": ("variance", "other")}, frozenset())
    waived(journal, gate="variance", tenants=["beta"])
    assert close(journal).newest.holds.held == {"beta": ("other",)}
    assert close(journal).waived == {"variance"}


def test_a_gate_that_holds_everybody_waived_for_one_holds_the_others(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    waived(journal, tenants=["beta"])
    found = close(journal)
    assert (found.newest.holds.green, found.newest.holds.everybody) == (("beta",), ())
    assert found.blockers("acme") == ("conflicts",)
    assert found.waived == frozenset()


@pytest.mark.parametrize(("gate", "tenants"), [("variance", ["beta"]), ("variance", ["nobody"]), ("late", ["acme"])])
def test_only_tenants_that_the_gate_holds_are_waived(journal: Journal, gate: str, tenants: list[str]) -> None:
    attempted(journal, {"variance": FIRST_FIGURES, "late": OTHER_FIGURES}, held={"acme": ["variance"]})
    with pytest.raises(MissionError, match=f"{gate} does not hold {tenants[0]} in edition 1"):
        asked(journal, gate=gate, tenants=tenants)


def test_a_warning_is_waived_too(journal: Journal) -> None:
    attempted(journal, {"late": FIRST_FIGURES})
    waived(journal, gate="late")
    assert close(journal).waived == {"late"}


def test_what_passed_and_what_has_no_evidence_is_not_waived(journal: Journal) -> None:
    attempted(journal, {"conflicts": None}, everybody=["conflicts"])
    with pytest.raises(
        MissionError, match=r"variance did not fail in edition 1 of 2026-04, so there is nothing to waive\. Not passed: conflicts"
    ):
        asked(journal, gate="variance")
    with pytest.raises(MissionError, match="conflicts has no evidence in edition 1 of 2026-04: nobody knows what would be waived"):
        asked(journal)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"rationale": " "}, "rationale"),
        ({"rationale": "fine\nlocked by erin"}, "rationale"),
        ({"owner": ""}, "owner"),
        ({"owner": "\x1b[2K"}, "owner"),
        ({"expires": "tomorrow"}, "expires"),
        ({"expires": "2026-02-30"}, "expires"),
        ({"expires": "20260531"}, "expires"),
    ],
)
def test_rationale_owner_and_last_day_are_needed(journal: Journal, changed: dict[str, str], named: str) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    with pytest.raises(MissionError, match=rf"{named}: .* A waiver needs a rationale, an owner, and its last day as YYYY-MM-DD"):
        asked(journal, **changed)


def test_who_asked_for_the_edition_who_lacks_the_role_and_who_comes_too_late_waive_nothing(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"], by="dana")
    with pytest.raises(MissionError, match="dana prepared edition 1 of 2026-04 and cannot waive what failed in it"):
        waived(journal)
    with pytest.raises(MissionError, match=r"finn cannot sign a metering\.waiver: .* no role 'approver'"):
        waived(journal, "finn")
    with pytest.raises(MissionError, match="the waiver of conflicts expired after 2026-05-03"):
        waived(journal, "erin", expires="2026-05-03")
    assert waived(journal, "erin", expires="2026-05-04").number == 2


def test_an_edited_or_forged_envelope_is_refused(journal: Journal) -> None:
    import base64

    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    honest = json.loads(envelope(asked(journal)))
    payload = base64.b64decode(honest["payload"]).replace(LAST.encode(), b"2099-05-31")
    edited = honest | {"payload": base64.b64encode(payload).decode()}
    by_another = json.loads(signed(json.loads(asked(journal)), KEYS["erin"], PEOPLE, NOW))
    forged = honest | {"signatures": by_another["signatures"]}
    for bad in (edited, forged, honest | {"signatures": []}):
        with pytest.raises(MissionError, match=r"^waiver\.json: "):
            waive(journal, PEOPLE, json.dumps(bad).encode(), "waiver.json", NOW)
    approval = json.loads(asked(journal)) | {"kind": "metering.close.approval"}
    with pytest.raises(MissionError, match=r"waiver\.json: a signed metering\.close\.approval, no waiver"):
        waive(journal, PEOPLE, signed(approval, KEYS["dana"], PEOPLE, NOW), "waiver.json", NOW)
    assert close(journal).waivers == []


def test_a_statement_of_another_shape_is_refused_though_it_is_signed(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    request = json.loads(asked(journal))
    changes: list[dict[str, Any]] = [{"tenants": []}, {"tenants": "acme"}, {"failure": "f1"}, {"more": 1}, {"expires": 20260531}]
    for change in changes:
        with pytest.raises(MissionError, match=r"^waiver\.json: "):
            waived(journal, request=json.dumps(request | {"statement": request["statement"] | change}).encode())


def test_asked_again_what_stands_is_returned_and_more_is_added(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    first = waived(journal, tenants=["acme", "beta"])
    assert waived(journal, tenants=["acme", "beta"]) == first
    assert waived(journal, "erin", tenants=["beta"], expires="2026-05-20") == first
    longer = waived(journal, tenants=["beta"], expires="2026-06-30")
    everybody = waived(journal)
    assert [first.number, longer.number, everybody.number] == [2, 3, 4]


def test_of_two_at_once_one_wins(journal: Journal) -> None:
    attempted(journal, {"conflicts": FIRST_FIGURES}, everybody=["conflicts"])
    envelopes = [envelope(asked(journal, rationale=f"reason {number}"), who) for number, who in enumerate(("dana", "erin") * 2)]
    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda each: waive(journal, PEOPLE, each, "waiver.json", NOW), envelopes))
    assert {entry.number for entry in entries} == {2}
    assert len({entry.body["rationale"] for entry in entries}) == 1
