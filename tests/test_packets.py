"""Packets: every fault with its place and line, hostile files, signatures that count and those that do not, what a change would do."""

import hashlib
import json
import os
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Key  # type: ignore[attr-defined]  # it names no exports

from mc_pipelines.cli import main
from mc_pipelines.demo_person import sign_packets
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import parse
from mc_pipelines.evidence.people import read_people
from mc_pipelines.evidence.signing import keyid
from mc_pipelines.evidence.signoff import signed
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.marketplace.clauses import Change, Item, clause_preview, read_items
from mc_pipelines.marketplace.declared import read_sources
from mc_pipelines.marketplace.located import MOST_DEPTH, Problem, located
from mc_pipelines.marketplace.packet_rules import licence_fault
from mc_pipelines.marketplace.packets import Verdict, check, digest, packet_file, packet_request, pairs, signature_file, take, verify
from mc_pipelines.marketplace.sample_packets import dpia, licence, write_packets

SAMPLE = Home(CHECKOUT / "data")
TIDES = next(each for each in read_sources(SAMPLE) if each.source_id == "tide-tables")
SIGNED = datetime(2026, 5, 1, 12, tzinfo=UTC)
AS_OF = datetime(2026, 5, 18, tzinfo=UTC)
Edit = Callable[[dict[str, Any]], object]


def badges(found: dict[str, Verdict]) -> tuple[str, ...]:
    return tuple(kind for kind, each in found.items() if each.ok)


def problems(tmp_path: Path, document: Any) -> list[Problem]:
    path = tmp_path / "packet.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1), encoding="utf-8")
    return check(path)


def places(tmp_path: Path, document: dict[str, Any], *edits: Edit) -> list[str]:
    document = deepcopy(document)
    for edit in edits:
        edit(document)
    return [each.where for each in problems(tmp_path, document)]


def test_the_sample_packets_have_no_problems_and_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "a"), Home(tmp_path / "b")
    sources = read_sources(SAMPLE)
    assert sum(each.status_on(AS_OF.date()) == "live" for each in sources) == 11
    made = write_packets(first, sources)
    assert len(made) == 24
    assert [check(path) for path in made] == [[]] * 24
    again = write_packets(second, sources)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    assert write_packets(first, sources) == []


def test_every_fault_of_a_dpia_is_named_at_once_with_its_place_and_line(tmp_path: Path) -> None:
    text = json.dumps(dpia(TIDES), indent=1)
    text = text.replace('"severity": 2', '"severity": 5', 1).replace('"treats": [\n    "access"', '"treats": [\n    "acess"', 1)
    text = text.replace('"verdict": "favourable"', '"verdict": "fine"').replace('"purpose"', '"purposes"', 1)
    found = problems(tmp_path, text)
    lines = text.splitlines()
    assert {(each.where, each.line and lines[each.line - 1].strip()) for each in found} == {
        ("$.context", '"context": {'),
        ("$.risks[0].severity", '"severity": 5,'),
        ("$.measures[0].treats[0]", '"acess"'),
        ("$.dpo_opinion.verdict", '"verdict": "fine",'),
    }
    assert [each.message for each in found if each.where == "$.context"] == [
        "'purpose' is a required property",
        "Additional properties are not allowed ('purposes' was unexpected)",
    ]
    by_place = {each.where: each for each in found}
    assert by_place["$.risks[0].severity"].remedy == "1 negligible, 2 limited, 3 significant, 4 maximum."
    assert by_place["$.measures[0].treats[0]"].remedy == "Name a risk of this packet: access, singled-out."
    assert [each.line for each in found] == sorted(each.line or 0 for each in found)


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda each: each["risks"].append(deepcopy(each["risks"][0])), "$.risks[2].id"),
        (lambda each: each["risks"][1].update(severity=1, id="open"), "$.measures[1].treats[0]"),
        (lambda each: each["validation"].update(date="2026-01-01"), "$.validation.date"),
        (lambda each: each["validation"].update(date="2026-02-30"), "$.validation.date"),
        (lambda each: each["validation"].update(date="20260230"), "$.validation.date"),
        (lambda each: each["rights"].update(access="  "), "$.rights.access"),
        (lambda each: each.update(source_id="tide-tables\n"), "$.source_id"),
        (lambda each: each.update(version=True), "$.version"),
        (lambda each: each.pop("rights"), "$"),
        (lambda each: each.update(packet="other"), "$.packet"),
        (lambda each: each.update(measures=[]), None),
    ],
)
def test_a_dpia_with_one_fault(tmp_path: Path, edit: Edit, place: str | None) -> None:
    found = places(tmp_path, dpia(TIDES), edit)
    assert found[:1] == ([place] if place else [])


def test_a_high_risk_must_be_treated(tmp_path: Path) -> None:
    found = places(
        tmp_path, dpia(TIDES), lambda each: each["risks"][0].update(severity=3, likelihood=4), lambda each: each.update(measures=[])
    )
    assert found == ["$.risks[0]"]


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("MIT", None),
        ("Apache-2.0 AND (MIT OR BSD-2-Clause)", None),
        ("GPL-2.0-only WITH Classpath-exception-2.0", None),
        ("LicenseRef-acme.data-1", None),
        ("CC-BY-4.0 AND LicenseRef-partner-terms", None),
        ("(MIT)", None),
        ("mit", "spelt otherwise by SPDX: MIT"),
        ("MIT or Apache-2.0", "spelt otherwise by SPDX: MIT OR Apache-2.0"),
        ("GPL-2.0", "spelt otherwise by SPDX: GPL-2.0-only"),
        ("Proprietary", "unknown to SPDX: Proprietary"),
        ("NOASSERTION", "unknown to SPDX: NOASSERTION"),
        ("MIT AND", "no licence expression"),
        ("MIT/Apache-2.0", "no licence expression"),
        ("MIT Apache-2.0", "no licence expression"),
        ("CC-BY-4.0 WITH MIT", "no licence expression"),
        ("(" * 200 + "MIT", "no licence expression"),
        ("MIT\x00", "no licence expression"),
        (" ", "no licence expression: nothing is named"),
        ("LicenseRef-ä", "unknown to SPDX: LicenseRef-ä"),
    ],
)
def test_licence_expressions(expression: str, fault: str | None) -> None:
    found = licence_fault(expression)
    assert found == fault or (found or "").startswith(fault or "nothing")


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda each: each.update(licence="Foo"), "$.licence"),
        (lambda each: each["clauses"][0].update(kind="deny"), "$.clauses[0].kind"),
        (lambda each: each["clauses"][0].update(items={}), "$.clauses[0].items"),
        (lambda each: each["clauses"][0].update(items={"pattern": "[a-z]"}), "$.clauses[0].items.pattern"),
        (lambda each: each["clauses"][0].update(items={"tags": []}), "$.clauses[0].items.tags"),
        (lambda each: each["clauses"][1].update(id="embargo"), "$.clauses[1].id"),
        (lambda each: each.update(expires="31.12.2027"), "$.expires"),
        (lambda each: each.pop("attribution"), "$"),
    ],
)
def test_a_licence_with_one_fault(tmp_path: Path, edit: Edit, place: str) -> None:
    assert places(tmp_path, licence(TIDES, "MIT"), edit) == [place]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b'{"packet": "dpia",\n "a": \xff}', 2, "byte 25 is no UTF-8"),
        (b"\xef\xbb\xbf{}", 1, "no value begins with '\\ufeff'"),
        (b"", 1, "a value is missing here"),
        (b'{"a": 1,\n}', 2, "the name of a member is missing here"),
        (b'{"a": 1}\n{}', 2, "something stands after the end of the document"),
        (b'{"a" 1}', 1, "a colon is missing here"),
        (b"[1\n2]", 2, "a comma or ] is missing here"),
        (b"[" * 50_000, 1, f"nested deeper than {MOST_DEPTH} levels"),
        (b'{"a":' * 50_000, 1, f"nested deeper than {MOST_DEPTH} levels"),
        (b"[" + b"1," * 30_000 + b"1]", 1, "more than 20000 values"),
        (b'["a\nb"]', 1, "Invalid control character at"),
        (b'["\\x"]', 1, "Invalid \\escape"),
        (b'["', 1, "Unterminated string starting at"),
    ],
)
def test_a_file_that_is_no_json_is_said_with_its_line(tmp_path: Path, data: bytes, line: int, message: str) -> None:
    path = tmp_path / "packet.json"
    path.write_bytes(data)
    found = check(path)
    assert [(each.line, each.message) for each in found] == [(line, message)]


def test_numbers_words_and_doubles_are_named_each_where_it_stands(tmp_path: Path) -> None:
    text = '{"packet": "licence",\n"version": NaN,\n"version": 1.5,\n"clauses": [1e9, -Infinity, 99999999999999999999],\n"x": "\\ud800", "packet": "dpia"}'
    found = {(each.where, each.line, each.message) for each in problems(tmp_path, text)}
    assert found >= {
        ("$.version", 2, "NaN is no JSON value"),
        ("$.version", 3, "this name stands twice in one object"),
        ("$.version", 3, "number 1.5 is no integer of at most 18 digits"),
        ("$.clauses[0]", 4, "number 1e9 is no integer of at most 18 digits"),
        ("$.clauses[1]", 4, "-Infinity is no JSON value"),
        ("$.clauses[2]", 4, "number 99999999999999999999 is no integer of at most 18 digits"),
        ("$.x", 5, "half a surrogate pair is no text"),
        ("$.packet", 5, "this name stands twice in one object"),
    }


def test_a_file_that_is_too_large_or_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * ((256 << 10) + 1))
    os.mkfifo(tmp_path / "pipe.json")
    for name, match in (
        ("large.json", "larger than the 262144 bytes"),
        ("pipe.json", "no plain file"),
        (".", "Is a directory"),
        ("none", "No such file"),
    ):
        with pytest.raises(MissionError, match=match):
            check(tmp_path / name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 1]))
def test_what_is_read_is_what_json_reads(value: Any, indent: int | None) -> None:
    found = located(json.dumps(value, indent=indent).encode())
    assert (found.value, found.broken) == (value, False)
    assert found.problems == ()


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ \n\t0-9eE.tfnu1"', max_size=60).map(str.encode))
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    found = located(data)
    try:
        expected = json.loads(data)
    except ValueError:
        assert found.problems
    else:
        assert found.value == expected or found.problems


def test_the_digest_is_that_of_the_document_not_of_its_layout() -> None:
    assert digest({"b": 1, "a": "ä"}) == digest(json.loads('{ "a": "\\u00e4",\n"b": 1}'))
    # printf '{"a":"ä","b":1}' | sha256sum
    assert digest({"b": 1, "a": "ä"}) == "507aab815f2bdfce1c740c0b1ae7b1c874f56b9aa5b9ab109a07b57365148233"


class Signing:
    """A home with the packets of one source, a person who may sign them, and one who may not."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        (root / "reference").mkdir(parents=True)
        write_packets(self.home, [TIDES])
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("ada", "bob", "eve")}
        lines = "".join(
            f'  - {{person: {name}, name: {name.title()}, roles: [{role}], key: "{self.line(name)}"}}\n'
            for name, role in (("ada", "packets"), ("bob", "approver"))
        )
        (root / "reference" / "people.yaml").write_text(f"people:\n{lines}")

    def line(self, name: str) -> str:
        return self.keys[name].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def signed(self, kind: str, name: str = "ada", at: datetime = SIGNED) -> bytes:
        found = parse(packet_request(self.home, "tide-tables", kind, "carol"))
        return signed(found, self.keys[name], read_people(self.home), at)

    def take_both(self) -> None:
        for kind in ("dpia", "licence"):
            take(self.home, self.signed(kind), "given")

    def file(self, kind: str) -> Path:
        return packet_file(self.home, "tide-tables", kind)

    def edit(self, kind: str, edit: Edit) -> None:
        document = json.loads(self.file(kind).read_text())
        edit(document)
        self.file(kind).write_text(json.dumps(document))


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "home")


def test_both_packets_signed_earn_both_badges(signing: Signing) -> None:
    before = verify(signing.home, "tide-tables", AS_OF)
    assert (badges(before), before["dpia"].why.partition(". ")[0]) == ((), "not signed: dpia.json.dsse: No such file or directory")
    assert verify(signing.home, "grid-load", AS_OF)["dpia"].why.partition(". ")[0] == "dpia.json: No such file or directory"
    take(signing.home, signing.signed("dpia"), "given")
    assert badges(verify(signing.home, "tide-tables", AS_OF)) == ("dpia",)
    take(signing.home, signing.signed("licence"), "given")
    found = verify(signing.home, "tide-tables", AS_OF)
    dpia, licence = (each.pair for each in found.values())
    assert dpia is not None and licence is not None  # noqa: PT018  # one thing: both are there
    assert (badges(found), found["dpia"].why, dpia.person, dpia.signed_at) == (("dpia", "licence"), "", "ada", SIGNED)
    assert licence.digest == digest(json.loads(signing.file("licence").read_text()))


def test_a_renewal_leaves_what_counted_before_and_a_draft_takes_nothing_away(signing: Signing) -> None:
    signing.take_both()
    first = signing.file("licence").read_bytes()
    signing.edit("licence", lambda each: each.update(version=2, expires="2029-12-31"))
    draft = verify(signing.home, "tide-tables", AS_OF)["licence"]
    assert (draft.ok, draft.document["version"]) == (True, 1)  # nobody signed the draft: what was signed goes on
    take(signing.home, signing.signed("licence", at=AS_OF), "given")
    # Until the renewal was signed the first pair counts, from that instant on the second, whatever file stands there now.
    for at, version in ((SIGNED, 1), (AS_OF - timedelta(microseconds=1), 1), (AS_OF, 2)):
        assert verify(signing.home, "tide-tables", at)["licence"].document["version"] == version, at
    kept = sorted((signing.file("licence").parent / "signed").glob("licence-*.json"))
    assert len(kept) == 2
    assert first in [path.read_bytes() for path in kept]
    kept[[path.read_bytes() for path in kept].index(first)].write_bytes(first.replace(b"block", b"allow"))
    assert "was never signed" in "".join(each.against for each in pairs(signing.home, "tide-tables"))
    assert (
        verify(signing.home, "tide-tables", SIGNED)["licence"].why == "signed at 2026-05-18T00:00:00.000000Z, after the instant asked for"
    )


def test_another_tool_verifies_the_envelope_and_finds_the_files_sha256(signing: Signing) -> None:
    signing.take_both()
    envelope = json.loads(signature_file(signing.file("dpia")).read_text())
    read = Envelope.from_dict(deepcopy(envelope))
    name = keyid(signing.keys["ada"].public_key())
    raw = signing.keys["ada"].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert set(read.verify([Key.from_dict(name, {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": raw}})], 1)) == {name}
    payload = json.loads(read.payload)
    assert payload["statement"]["_type"] == "https://in-toto.io/Statement/v1"
    assert payload["statement"]["subject"] == [
        {"name": "dpia.json", "digest": {"sha256": hashlib.sha256(signing.file("dpia").read_bytes()).hexdigest()}}
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda each: each.update(version=2),
        lambda each: each["risks"][0].update(severity=1),
        lambda each: None,  # the same document in another layout is other bytes
    ],
)
def test_a_changed_packet_loses_its_badge_and_the_other_keeps_its_own(signing: Signing, edit: Edit) -> None:
    signing.take_both()
    rmtree(signing.file("dpia").parent / "signed")
    signing.edit("dpia", edit)
    found = verify(signing.home, "tide-tables", AS_OF)
    assert badges(found) == ("licence",)
    assert "what stands here was never signed" in found["dpia"].why


def test_one_packets_signature_is_no_others(signing: Signing) -> None:
    signing.take_both()
    rmtree(signing.file("dpia").parent / "signed")
    first, second = (signature_file(signing.file(kind)) for kind in ("dpia", "licence"))
    swapped = first.read_bytes(), second.read_bytes()
    first.write_bytes(swapped[1])
    second.write_bytes(swapped[0])
    assert badges(verify(signing.home, "tide-tables", AS_OF)) == ()
    other = signing.home.reference / "marketplace" / "packets" / "grid-load"
    other.mkdir()
    for path in signing.file("dpia").parent.glob("*.*"):
        (other / path.name).write_bytes(path.read_bytes())
    found = verify(signing.home, "grid-load", AS_OF)
    assert "this is the dpia of tide-tables, not the dpia of grid-load" in found["dpia"].why
    assert badges(found) == ()


def test_only_somebody_with_the_role_can_sign_and_a_signature_must_come_in_time(signing: Signing) -> None:
    with pytest.raises(MissionError, match="bob cannot sign a "):
        signing.signed("dpia", "bob")
    with pytest.raises(MissionError, match="is nobody's in reference"):
        signing.signed("dpia", "eve")
    take(signing.home, signing.signed("dpia", at=AS_OF), "given")
    assert verify(signing.home, "tide-tables", AS_OF)["dpia"].ok
    early = verify(signing.home, "tide-tables", SIGNED)["dpia"]
    assert (early.ok, early.why) == (False, "signed at 2026-05-18T00:00:00.000000Z, after the instant asked for")


def test_a_flipped_signature_byte_and_a_person_who_left_do_not_count(signing: Signing) -> None:
    signing.take_both()
    rmtree(signing.file("dpia").parent / "signed")
    path = signature_file(signing.file("dpia"))
    envelope = json.loads(path.read_text())
    old = envelope["signatures"][0]["sig"]
    envelope["signatures"][0]["sig"] = ("A" if old[0] != "A" else "B") + old[1:]
    path.write_text(json.dumps(envelope))
    assert "does not verify" in verify(signing.home, "tide-tables", AS_OF)["dpia"].why
    people = signing.home.reference / "people.yaml"
    people.write_text(people.read_text().replace("roles: [packets]", "roles: [packets], until: 2026-05-01T11:59:59Z"))
    assert "was valid before" in verify(signing.home, "tide-tables", AS_OF)["licence"].why
    people.unlink()
    assert "'ada' is not in reference/people.yaml" in verify(signing.home, "tide-tables", AS_OF)["licence"].why


def test_a_licence_holds_through_its_last_day_in_utc(signing: Signing) -> None:
    signing.edit("licence", lambda each: each.update(expires="2026-05-17"))
    signing.take_both()
    last = datetime(2026, 5, 17, 23, 59, 59, 999999, tzinfo=UTC)
    assert verify(signing.home, "tide-tables", last)["licence"].ok
    over = verify(signing.home, "tide-tables", AS_OF)
    assert (over["licence"].why, badges(over)) == ("expired: its last day was 2026-05-17", ("dpia",))
    assert verify(signing.home, "tide-tables", AS_OF.replace(tzinfo=None)) == over


def test_an_assessment_is_signed_after_it_was_validated(signing: Signing) -> None:
    signing.edit("dpia", lambda each: each["validation"].update(date="2026-05-02"))
    early = signing.signed("dpia", at=datetime(2026, 5, 1, 23, 59, 59, tzinfo=UTC))
    said = "signed on 2026-05-01, before it was validated on 2026-05-02"
    with pytest.raises(MissionError, match=f"given: {said}"):
        take(signing.home, early, "given")
    signature_file(signing.file("dpia")).write_bytes(early)  # laid there by hand
    assert verify(signing.home, "tide-tables", AS_OF)["dpia"].why == said
    take(signing.home, signing.signed("dpia", at=datetime(2026, 5, 2, tzinfo=UTC)), "given")  # the day itself is enough
    assert verify(signing.home, "tide-tables", AS_OF)["dpia"].ok


def test_the_demo_signs_each_packet_on_the_day_of_its_validation(tmp_path: Path) -> None:
    home = Home(tmp_path)
    # What a demo in this checkout has signed is none of ours.
    copytree(SAMPLE.reference / "marketplace", home.reference / "marketplace", ignore=ignore_patterns("packets"))
    write_packets(home, read_sources(home))
    # Two days before the first source is offered, 20 April, and before the last one, 4 May; sprint 35 is cut off on 12 May.
    assert sign_packets(home).endswith("each dated as of the day of its validation (2026-04-18 to 2026-05-02)")
    cutoff = datetime(2026, 5, 11, 23, 59, 59, tzinfo=UTC)
    assert all(each.ok for source in read_sources(home) for each in verify(home, source.source_id, cutoff).values())


def test_what_was_signed_of_one_source_is_not_laid_beside_another(signing: Signing) -> None:
    with pytest.raises(MissionError, match=r"given: signed is the dpia of tide-tables, not of rainfall"):
        take(signing.home, signing.signed("dpia"), "given", "rainfall")
    assert not signature_file(packet_file(signing.home, "tide-tables", "dpia")).exists()


def test_a_misspelt_kind_hides_no_other_fault(tmp_path: Path) -> None:
    sound = licence(TIDES, "Foo") | {"expires": "31.12.2027"}
    faults = ["$.licence", "$.expires"]
    assert places(tmp_path, sound) == faults
    assert places(tmp_path, sound | {"packet": "license"}) == ["$.packet", *faults]  # its keys tell
    path = tmp_path / "licence.json"
    path.write_text(json.dumps({"packet": "license"}), encoding="utf-8")
    assert [each.where for each in check(path)] == ["$"] * 6 + ["$.packet"]  # its name tells: six keys are missing
    path = tmp_path / "packet.json"
    path.write_text(json.dumps({"packet": "license"}), encoding="utf-8")
    assert [each.message for each in check(path)] == ["the document does not say which packet it is"]


def test_an_unfavourable_opinion_earns_no_badge(signing: Signing) -> None:
    signing.edit("dpia", lambda each: each["dpo_opinion"].update(verdict="unfavourable"))
    signing.take_both()
    assert verify(signing.home, "tide-tables", AS_OF)["dpia"].why == "the opinion of Data protection officer of the partner is unfavourable"


def test_a_packet_with_problems_is_not_put_up_for_signature_and_never_counts(signing: Signing) -> None:
    signing.edit("dpia", lambda each: each["risks"][0].update(severity=9))
    with pytest.raises(MissionError, match=r"dpia\.json:1: \$\.risks\[0\]\.severity: 9 is greater than the maximum of 4"):
        packet_request(signing.home, "tide-tables", "dpia", "carol")
    assert "$.risks[0].severity" in verify(signing.home, "tide-tables", AS_OF)["dpia"].why


@pytest.mark.parametrize("name", ["../tide-tables", "..", "", "a/b", "a\n", "A", "a\x00", "x" * 65])
def test_no_name_of_a_source_leads_elsewhere(signing: Signing, name: str) -> None:
    with pytest.raises(MissionError, match="is no id of a source"):
        verify(signing.home, name, AS_OF)


def test_what_is_taken_must_be_about_a_packet_that_stands_there(signing: Signing) -> None:
    given_before = signing.signed("dpia")
    signing.edit("dpia", lambda each: each.update(version=2))
    with pytest.raises(MissionError, match="the signature is about other bytes"):
        take(signing.home, given_before, "given")
    with pytest.raises(MissionError, match="given: "):
        take(signing.home, b"{}", "given")
    assert not signature_file(signing.file("dpia")).exists()


def clause(name: str, kind: str, **items: Any) -> dict[str, Any]:
    return {"id": name, "kind": kind, "items": items, "text": "."}


def test_a_preview_shows_what_becomes_stricter_and_what_looser() -> None:
    old = {"clauses": [clause("drafts", "demote", tags=["draft"])]}
    new = {
        "clauses": [
            clause("keep", "allow", pattern="free/*"),
            clause("north", "block", pattern="north/*", tags=["draft", "raw"]),
            clause("rest", "demote", pattern="*/old?"),
        ]
    }
    items = [
        Item("north/1", frozenset({"raw"})),
        Item("north/2", frozenset({"draft"})),
        Item("north/old1", frozenset()),
        Item("free/old1", frozenset({"raw"})),
        Item("free/2", frozenset({"draft"})),
        Item("east/1", frozenset({"final"})),
    ]
    found = clause_preview(old, new, items)
    assert found == (
        Change("free/2", "demote", "drafts", "allow", "keep"),
        Change("north/1", "allow", None, "block", "north"),
        Change("north/2", "demote", "drafts", "block", "north"),
        Change("north/old1", "allow", None, "demote", "rest"),
    )
    assert [each.stricter for each in found] == [False, True, True, True]
    assert clause_preview(new, new, items) == ()
    assert [each.item_id for each in clause_preview(None, old, items)] == ["free/2", "north/2"]


def test_a_pattern_of_many_stars_does_not_hang() -> None:
    new = {"clauses": [clause("stars", "block", pattern="*a" * 100)]}
    assert clause_preview(None, new, [Item("a" * 199 + "b", frozenset())]) == ()


def test_items_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text('[{"item_id": "a", "tags": ["x"]},\n {"item_id": "b"}]')
    assert read_items(path) == (Item("a", frozenset({"x"})), Item("b", frozenset()))
    for text, match in (
        ("{}", "no list of items"),
        ('[{"item_id": "a"},\n{"item_id": "a"}]', r"items\.json:2: item 'a' stands twice"),
        ('[\n{"item": "a"}]', r"items\.json:2: item 1 is none"),
        ('[{"item_id": "a", "tags": "x"}]', "item 1 is none"),
        ('["a"', "a comma or ] is missing here"),
    ):
        path.write_text(text)
        with pytest.raises(MissionError, match=match):
            read_items(path)


def test_the_commands_check_preview_sign_and_take(signing: Signing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_HOME", str(signing.home.root))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    run = CliRunner().invoke
    old = signing.file("licence")
    sound = run(main, ["packet", "check", str(old)])
    assert (sound.exit_code, sound.output) == (0, f"{old}: no problems\n")

    new = tmp_path / "new.json"
    new.write_text(old.read_text().replace('"draft"', '"raw"').replace('"kind": "allow"', '"kind": "alow"'))
    bad = run(main, ["packet", "check", str(new), "--json"])
    assert bad.exit_code == 1
    assert [(each["where"], each["message"]) for each in json.loads(bad.output)] == [
        ("$.clauses[1].kind", "'alow' is not one of ['allow', 'demote', 'block']")
    ]
    assert run(main, ["packet", "preview", str(old), str(new), str(new)]).exit_code == 2

    new.write_text(old.read_text().replace('"draft"', '"raw"'))
    items = tmp_path / "items.json"
    items.write_text('[{"item_id": "a", "tags": ["raw"]}, {"item_id": "b", "tags": ["draft"]}, {"item_id": "c"}]')
    shown = run(main, ["packet", "preview", str(old), str(new), str(items)])
    assert shown.output.splitlines() == [
        "stricter  a: allow (no clause) -> demote (drafts)",
        "looser    b: demote (drafts) -> allow (no clause)",
        "1 item(s) stricter, 1 looser",
    ]

    key = tmp_path / "ada.key"
    key.write_bytes(signing.keys["ada"].private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key.chmod(0o600)
    asked = run(main, ["packet", "sign", "tide-tables", "--request"])
    requests = [Path(line.split()[-1]) for line in asked.output.splitlines() if line.startswith("request")]
    assert [path.name.rsplit("-", 1)[0] for path in requests] == ["packet-tide-tables-dpia", "packet-tide-tables-licence"]
    assert run(main, ["sign", str(requests[0]), "--key", str(key)]).exit_code == 0
    assert run(main, ["packet", "sign", "tide-tables", "--signed", str(requests[0].with_suffix(".signed.json"))]).exit_code == 0
    assert badges(verify(signing.home, "tide-tables", datetime.now(UTC))) == ("dpia",)
    assert run(main, ["packet", "sign", "tide-tables", "--key", str(key)]).exit_code == 0
    assert badges(verify(signing.home, "tide-tables", datetime.now(UTC))) == ("dpia", "licence")
