"""A signed close looked at again: leaves and proofs, trace, reproduction, vacuum, journal and keys, by function and by command."""

import base64
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_merkle import split_root
from test_month import MONTH, event, land, lay, plain

from mc_pipelines.calendars import days
from mc_pipelines.cli import main
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import build
from mc_pipelines.evidence.canonical import canonical
from mc_pipelines.evidence.journal import Journal
from mc_pipelines.evidence.position import verify_proof
from mc_pipelines.evidence.proofs import prove
from mc_pipelines.evidence.record import Recorded, named_predicate
from mc_pipelines.evidence.reproduce import reproduce
from mc_pipelines.evidence.signing import known_keys, signer
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lake import Lake
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.windows import in_use

TABLE = "metering.usage_period"
DAY = date(2026, 4, 10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two attempts: a failed one without the 10th of April, a passed one with it. Between them a version that nobody signed."""
    home = lay(tmp_path_factory.mktemp("made"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MISSION_SIGNING_KEY", raising=False)
        (home.landing / "usage_events" / DAY.isoformat() / "a.ndjson").unlink()
        assert plain(home).verdict == "failed"
        land(home, "usage_events", DAY, "some.ndjson", [event(90 + step, DAY) for step in range(5)])
        shop = Workshop.open(home)
        for model in in_use(shop.home, shop.catalog):
            if model.header.every == "day":
                materialise(shop, model, days(DAY.isoformat()))
        land(home, "usage_events", DAY, "rest.ndjson", [event(95 + step, DAY) for step in range(5)])
        assert plain(home).verdict == "passed"
    return home


@pytest.fixture
def home(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy, to be changed at will."""
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    shutil.copytree(made.root, tmp_path / "home")
    return Home(tmp_path / "home")


def call(home: Home, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], env={"MISSION_HOME": str(home.root)})


def journal_of(home: Home) -> Journal:
    return Journal(home.journal, signer(home.keys))


def bundles(home: Home) -> list[Path]:
    return [home.evidence / entry.body["bundle"] for entry in journal_of(home).chain() if "bundle" in entry.body]


def predicate_of(home: Home, bundle: Path) -> dict[str, Any]:
    found = verify(bundle, known_keys(home.keys), journal=journal_of(home))
    assert found.ok, found.reasons
    return dict(found.predicate)


def test_the_predicate_says_head_retention_and_root(home: Home) -> None:
    first, second = (predicate_of(home, bundle) for bundle in bundles(home))
    chain = journal_of(home).chain()
    assert first["checkpoint"] == {"number": 0, "digest": "0" * 64}
    assert second["checkpoint"] == {"number": 1, "digest": chain[0].digest}
    assert second["retention"] == {"years": 7, "until": "2033-05-02"}  # April ends, then two days of grace
    for table in (TABLE, "metering.invoice_lines"):
        rows = (bundles(home)[1] / f"data/tables/{table}.jsonl").read_bytes().splitlines()
        leaves = [hashlib.sha256(b"\x00" + row).digest() for row in rows]  # RFC 9162: 0x00 before a leaf
        assert second["merkle"][table] == {"size": len(rows), "root": split_root(leaves).hex()}
        assert (bundles(home)[1] / f"data/leaves/{table}.txt").read_text().split() == [leaf.hex() for leaf in leaves]
    assert chain[1].body["merkle"] == second["merkle"]


def test_leaves_that_are_not_those_of_the_rows_are_refused_though_well_signed(home: Home, tmp_path: Path) -> None:
    row = b'["acme",1]'
    leaf = hashlib.sha256(b"\x00" + row).hexdigest()
    good = {f"tables/{TABLE}.jsonl": row + b"\n", f"leaves/{TABLE}.txt": leaf.encode() + b"\n"}
    claim = {TABLE: {"size": 1, "root": leaf}}
    cases: dict[str, tuple[dict[str, bytes], Any]] = {
        "good": (good, claim),
        "not the hash of that row": (good | {f"leaves/{TABLE}.txt": b"a" * 64 + b"\n"}, claim),
        "more leaves than": (good | {f"leaves/{TABLE}.txt": leaf.encode() + b"\n" + leaf.encode() + b"\n"}, claim),
        "the predicate says otherwise": (good, {TABLE: {"size": 1, "root": "a" * 64}}),
        "missing, though": ({f"tables/{TABLE}.jsonl": row + b"\n"}, claim),
        "a row of more than": (good | {f"tables/{TABLE}.jsonl": row}, claim),
    }
    for number, (reason, (files, merkle)) in enumerate(cases.items()):
        maker = signer(home.keys)
        verdict = verify(build(tmp_path, f"b{number}", files, {"merkle": merkle}, maker).path, maker.trusted())
        assert verdict.ok == (reason == "good")
        assert verdict.ok or any(reason in found for found in verdict.reasons), verdict.reasons


def test_every_row_is_proven_from_a_small_file_and_no_other_row(home: Home, tmp_path: Path) -> None:
    bundle = bundles(home)[1]
    journal, known = journal_of(home), known_keys(home.keys)
    assert known is not None
    file = tmp_path / "proof.json"
    rows = (bundle / f"data/tables/{TABLE}.jsonl").read_text().splitlines()
    for number in range(1, len(rows) + 1):
        proof = prove(bundle, TABLE, number, journal)
        file.write_bytes(canonical(proof))
        assert verify_proof(file, known, journal)[1:] == ([], [])
        assert proof["row"] == rows[number - 1]
    other = base64.b64decode(proof["entry"]["payload"]).replace(proof["row"].encode(), b"").replace(b'"passed"', b'"failed"')
    spoilt = {
        "is not record 0 of": proof | {"row": proof["row"].replace("300", "299")},
        "is not record 0": proof | {"path": ["0" * 64]},
        "cannot be in a tree": proof | {"index": 7},
        "names no root of 'metering.variance'": proof | {"table": "metering.variance"},
        "a proof has exactly": {**proof, "note": ""},
        "path a list": proof | {"path": "x"},
        "non-hexadecimal": proof | {"path": ["x"]},
        "is not a sha256": proof | {"path": ["00"]},
        "does not verify": proof | {"entry": proof["entry"] | {"payload": base64.b64encode(other).decode()}},
        "exactly payload, payloadType": proof | {"entry": None},
    }
    for reason, spoiled in spoilt.items():
        file.write_bytes(canonical(spoiled))
        reasons = verify_proof(file, known, journal)[1]
        assert any(reason in found for found in reasons), (reason, reasons)
    file.write_text("[" * 100)
    with pytest.raises(MissionError, match="nested deeper"):
        verify_proof(file, known, journal)


def test_a_proof_by_command_and_its_place(home: Home, tmp_path: Path) -> None:
    bundle, file = bundles(home)[1], tmp_path / "proof.json"
    printed = call(home, "prove", bundle, TABLE, "1")
    assert printed.exit_code == 0
    file.write_text(printed.stdout)
    assert len(printed.stdout) < 5000
    shown = call(home, "verify", "--proof", file)
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, "verified")
    elsewhere = Home(tmp_path / "elsewhere")
    (tmp_path / "trusted.json").write_text(json.dumps(signer(home.keys).trusted().document()))
    outside = call(elsewhere, "verify", "--proof", file, "--trusted", tmp_path / "trusted.json")
    assert outside.exit_code == 0
    assert "not its place" in outside.stdout
    assert call(elsewhere, "verify", "--proof", file).exit_code == 2
    assert call(home, "verify", bundle, "--proof", file).exit_code == 2
    assert call(home, "prove", bundle, TABLE, "2").exit_code == 2
    assert call(home, "prove", bundle, "metering.variance", "1").exit_code == 2
    shutil.rmtree(home.journal)
    (home.root / "checkpoint.json").unlink()
    journal_of(home).append("other", {}, lambda _: None)
    moved = call(home, "verify", "--proof", file)
    assert moved.exit_code == 1
    assert "entry 2 does not stand in the journal as the proof has it" in moved.stdout


def test_a_gate_is_traced_to_sql_versions_and_files(home: Home) -> None:
    found = json.loads(call(home, "trace", "metering_variance", "--month", MONTH, "--json").stdout)
    tables = {each["name"]: each for each in found["tables"]}
    assert found["tables"][0]["name"] == "metering.variance_meters"
    assert "sum(absolute)" in tables["metering.variance_meters"]["sql"]
    assert tables[TABLE]["compute"] == "mc_pipelines.metering.usage_period"
    lake = Lake(str(home.lake))
    assert tables[TABLE]["version"] == lake.version(TABLE)
    assert tables[TABLE]["digest"] == lake.files_digest(TABLE, tables[TABLE]["version"])
    assert {"staging.usage_events", "landing.usage_events", "staging.gateway_log", "reference.meters"} <= set(tables)
    landed = {each["file"]: each["sha256"] for each in found["landing"]}
    assert len(landed) == 61  # 30 days of two sources, and the 10th's in two parts
    name = f"usage_events/{DAY}/rest.ndjson"
    assert landed[name] == hashlib.sha256((home.landing / name).read_bytes()).hexdigest()
    assert name in call(home, "trace", "metering_variance", "--files").stdout
    text = call(home, "trace", "metering_landing_complete", "--bundle", bundles(home)[0]).stdout
    assert "failed" in text
    assert "offends" in text
    assert call(home, "trace", "nothing").exit_code == 2
    assert call(home, "trace", "metering_variance", "--month", "2026-03").exit_code == 2


def test_every_attempt_is_reproduced_byte_by_byte_also_after_a_vacuum(home: Home) -> None:
    lake = Lake(str(home.lake))
    pinned = {(each["name"], each["version"]) for bundle in bundles(home) for each in predicate_of(home, bundle)["inputs"]}
    table = "staging.usage_events"
    loose = table, max(version for version in range(lake.version(table) or 0) if (table, version) not in pinned)
    lake.files_digest(*loose)
    before = sorted(home.lake.rglob("*.parquet"))
    listed = call(home, "vacuum", "--dry-run", "--hours", "0")
    assert listed.exit_code == 0
    assert "would go" in listed.stdout
    assert "0 file(s)" in call(home, "vacuum").stdout  # all younger than a day
    assert sorted(home.lake.rglob("*.parquet")) == before
    swept = call(home, "vacuum", "--hours", "0")
    assert swept.stdout.splitlines()[:-1] == listed.stdout.splitlines()[:-1]
    with pytest.raises(MissionError, match="is gone"):
        lake.files_digest(*loose)
    for bundle in bundles(home):
        done = call(home, "reproduce", bundle)
        assert (done.exit_code, done.stdout.splitlines()[-1][-14:]) == (0, "the same bytes"), done.output
    again = plain(home)
    assert (again.fresh, again.edition) == (False, 2)
    assert "0 file(s)" in call(home, "vacuum", "--hours", "0").stdout


def test_what_is_past_its_retention_is_listed_with_what_needs_it(home: Home) -> None:
    def listed(as_of: str) -> list[str]:
        done = call(home, "vacuum", "--dry-run", "--as-of", as_of)
        assert done.exit_code == 0, done.output
        return [line.removeprefix("past retention  ") for line in done.stdout.splitlines() if line.startswith("past retention")]

    assert listed("2126-01-01") == []  # nothing declared
    (home.reference / "retention.yaml").write_text("landing_days: 30\nquarantine_days: 10\n")
    land(home, "usage_events", date(2026, 4, 20), "wrong.ndjson", [event(9000, DAY, time="late")])
    assert plain(home).verdict == "failed"  # one row of 301 is more than 0.1 %
    not_closed = "keep: 2026-04 is not closed with a pass"
    assert listed("2026-04-29") == []  # the row of the 20th is kept through the 29th, the files of the 1st through the 30th
    assert listed("2026-04-30") == [f"quarantine.usage_events  2026-04-20  {not_closed}"]
    assert listed("2026-05-01")[0] == f"landing/gateway_log  2026-04-01  {not_closed}"

    own = home.root / "checks" / "metering.yaml"
    own.parent.mkdir()
    own.write_text((CHECKOUT / "checks" / "metering.yaml").read_text().replace("0.001}", "0.1}").replace("0.0025}", "0.1}"))
    passed = plain(home)
    assert passed.verdict == "passed"
    bundle = passed.bundle.relative_to(home.evidence)
    assert listed("2026-05-10") == [
        "landing/gateway_log  2026-04-01..2026-04-10 (10 days)  nothing here needs it",
        "landing/usage_events  2026-04-01..2026-04-10 (10 days)  nothing here needs it",
        f"quarantine.usage_events  2026-04-20  keep: {bundle} pins it until 2033-05-02 and could not be reproduced without",
    ]
    assert (home.landing / "usage_events" / "2026-04-01").exists()
    for source in ("usage_events", "gateway_log"):
        for day in days("2026-04-01", "2026-04-10"):
            shutil.rmtree(home.landing / source / day)
    for signed in bundles(home):
        assert call(home, "reproduce", signed).exit_code == 0
    assert listed("2026-05-10") == [
        f"quarantine.usage_events  2026-04-20  keep: {bundle} pins it until 2033-05-02 and could not be reproduced without"
    ]


def test_what_came_out_otherwise_is_named(home: Home) -> None:
    bundle = bundles(home)[1]
    recorded = Recorded.read(predicate_of(home, bundle))
    (bundle / "data/metering.json").write_bytes(b"{}")
    (bundle / "data/added.txt").write_bytes(b"")
    (bundle / "data/gates.json").unlink()
    done = reproduce(home, bundle, recorded)
    assert done.differing == ["added.txt", "gates.json", "metering.json"]
    assert done.changed == []
    assert not done.ok
    refused = call(home, "reproduce", bundle)
    assert refused.exit_code == 1
    assert "NOT verified" in refused.stdout


def test_code_that_cannot_read_the_tables_names_the_code_that_can(home: Home) -> None:
    bundle = bundles(home)[1]
    recorded = Recorded.read(predicate_of(home, bundle))
    models = dict(recorded.catalog.models)
    models["metering.variance"] = replace(models["metering.variance"], sql="SELECT gone AS period FROM metering.usage_period")
    other = replace(recorded, code="0123456789abcdef", catalog=replace(recorded.catalog, models=models))
    with pytest.raises(MissionError, match=r"made by code 0123456789ab, and this checkout cannot .* the checkout that made it.*gone"):
        reproduce(home, bundle, other)


def test_changed_and_missing_tables_are_named(home: Home) -> None:
    bundle = bundles(home)[1]
    recorded = Recorded.read(predicate_of(home, bundle))
    lake = Lake(str(home.lake))
    opened = lake.open("staging.gateway_log", recorded.pins["staging.gateway_log"])
    assert opened is not None
    file = Path(opened.file_uris()[0])
    shutil.copy(Path(opened.file_uris()[1]), file)  # another day's rows under this file's name
    pin = f"staging.gateway_log version {recorded.pins['staging.gateway_log']}"
    assert reproduce(home, bundle, recorded).changed == [pin]
    done = call(home, "reproduce", bundle)
    assert done.exit_code == 1
    assert f"changed: the files of {pin}" in done.stdout
    file.unlink()
    gone = call(home, "reproduce", bundle)
    assert gone.exit_code == 2
    assert f"version {recorded.pins['staging.gateway_log']} is gone" in gone.output
    shutil.rmtree(home.lake)
    assert "is gone" in call(home, "reproduce", bundle).output


def test_nothing_is_swept_where_a_named_bundle_is_gone_or_changed(home: Home) -> None:
    first = bundles(home)[0]
    (first / "provenance.intoto.jsonl").write_bytes((bundles(home)[1] / "provenance.intoto.jsonl").read_bytes())
    changed = call(home, "vacuum", "--hours", "0")
    assert changed.exit_code == 2
    assert "restore the bundle from a copy" in changed.output
    listed = call(home, "journal")
    assert listed.exit_code == 1
    assert "not the bundle that entry 1 names" in listed.stdout
    shutil.rmtree(first)
    assert call(home, "vacuum", "--hours", "0").exit_code == 2
    with pytest.raises(MissionError, match="restore the bundle"):
        named_predicate(home, journal_of(home).chain()[0])


def test_the_journal_is_listed_and_tampering_is_refused_with_the_reason(home: Home, tmp_path: Path) -> None:
    shown = call(home, "journal")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == "verified"
    listed = json.loads(call(home, "journal", "--json").stdout)
    assert [entry["body"]["verdict"] for entry in listed["entries"]] == ["failed", "passed"]
    assert listed["head"] == {"number": 2, "digest": hashlib.sha256((home.journal / "00000002.json").read_bytes()).hexdigest()}
    kept = shutil.copy(home.root / "checkpoint.json", tmp_path / "kept.json")
    assert call(home, "journal", "--checkpoint", kept).exit_code == 0
    assert call(home, "journal", "--checkpoint", tmp_path / "absent.json").exit_code == 2
    (home.journal / "00000002.json").unlink()
    assert "entries were cut off" in call(home, "journal").stdout
    (home.root / "checkpoint.json").unlink()
    assert call(home, "journal").exit_code == 0  # whoever cuts both
    found = call(home, "journal", "--checkpoint", kept)  # is found by the copy
    assert found.exit_code == 1
    assert "entries were cut off" in found.stdout
    shutil.rmtree(home.journal)
    assert call(home, "journal").exit_code == 2


def test_after_a_rotation_and_a_revocation(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    old = signer(home.keys)
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    monkeypatch.setenv("MISSION_SIGNING_KEY", private.decode())
    new = signer(home.keys)
    assert all(call(home, "verify", bundle).exit_code == 0 for bundle in bundles(home))
    assert {old.keyid, new.keyid} == {line.split()[0] for line in call(home, "keys", "list").stdout.splitlines()}
    assert call(home, "keys", "revoke", old.keyid[:8], "--last-valid", "9", "--reason", "x").exit_code == 2
    assert call(home, "keys", "revoke", "zz", "--last-valid", "1", "--reason", "x").exit_code == 2
    done = call(home, "keys", "revoke", old.keyid[:8], "--last-valid", "1", "--reason", "laptop stolen")
    assert done.exit_code == 0, done.output
    assert [call(home, "verify", bundle).exit_code for bundle in bundles(home)] == [0, 1]
    assert "revoked after entry 1" in call(home, "keys", "list").stdout
    assert "does not count: key" in call(home, "journal").stdout
    again = plain(home)  # the same rows: signed anew, since the attempt that stood does not count
    assert (again.fresh, again.edition, again.verdict) == (True, 3, "passed")
    assert call(home, "verify", again.bundle).exit_code == 0
    earlier = predicate_of(home, again.bundle)["earlier_attempts"]
    assert [(each["edition"], bool(each["refused"])) for each in earlier] == [(1, False), (2, True)]
    assert call(home, "trace", "metering_variance", "--json").exit_code == 0
