"""What is refused, and why; and that tools which this project did not write come to the same verdict."""

import base64
import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bagit
import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Key, SSlibKey  # type: ignore[attr-defined]  # it names no exports

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence import verify as judge
from mc_pipelines.evidence.bundle import PROVENANCE, STATEMENT, TRUSTED, build, tag_files
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.evidence.dsse import pae, sign_statement
from mc_pipelines.evidence.signing import Signer, TrustedKey, TrustedKeys, public_pem, signer
from mc_pipelines.evidence.verify import Verdict, verify

NOW = datetime(2026, 5, 2, 3, 4, 5, tzinfo=UTC)
FILES = {"scoreboard.json": b'{"verdict":"passed"}\n', "tables/variance.csv": b"tenant_id,delta\na,0\n"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    monkeypatch.setenv("MISSION_HOME", str(tmp_path / "home"))


@pytest.fixture
def maker(tmp_path: Path) -> Signer:
    return signer(tmp_path / "keys")


@pytest.fixture
def bundle(tmp_path: Path, maker: Signer) -> Path:
    return build(tmp_path / "evidence", "2026-04", FILES, {"period": "2026-04"}, maker, signed_at=NOW).path


def refused(verdict: Verdict, reason: str) -> None:
    assert not verdict.ok
    assert any(reason in found for found in verdict.reasons), verdict.reasons
    assert verdict.predicate == {}


def retag(bundle: Path) -> None:
    """Rewrite every unsigned tag file to suit what is there, as a forger would."""
    payload = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in (bundle / "data").rglob("*") if path.is_file()}
    digests = {path: sha256(data) for path, data in payload.items()}
    tags = tag_files(digests, sum(map(len, payload.values())), (bundle / PROVENANCE).read_bytes(), (bundle / TRUSTED).read_bytes())
    for name, data in tags.items():
        (bundle / name).write_bytes(data)


def resign(bundle: Path, maker: Signer, change: Callable[[dict[str, Any]], Any]) -> None:
    """Sign a changed statement with the right key."""
    statement = json.loads(base64.b64decode(json.loads((bundle / PROVENANCE).read_bytes())["payload"]))
    change(statement)
    (bundle / PROVENANCE).write_bytes(canonical(sign_statement(statement, [maker])) + b"\n")
    retag(bundle)


def test_a_good_bundle(bundle: Path, maker: Signer) -> None:
    verdict = verify(bundle, maker.trusted())
    assert verdict.reasons == []
    assert verdict.ok
    assert verdict.predicate["period"] == "2026-04"
    assert verdict.checked["files"] == 2
    assert verdict.checked["digest"] == sha256((bundle / "manifest-sha256.txt").read_bytes())
    assert verdict.checked["keyids"] == [maker.keyid]
    assert verdict.checked["signed_at"] == "2026-05-02T03:04:05.000000Z"
    assert verdict.warnings == [
        "signed by a development key, which vouches for no person and no machine; set MISSION_SIGNING_KEY for one that does"
    ]


@pytest.mark.parametrize("name", ["bag-info.txt", "bagit.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", PROVENANCE, TRUSTED])
@pytest.mark.parametrize("retagged", [False, True])
def test_every_changed_byte_of_a_tag_file_is_refused(bundle: Path, maker: Signer, name: str, retagged: bool) -> None:
    path = bundle / name
    good = path.read_bytes()
    step = 1 if len(good) < 200 else max(1, len(good) // 120)
    for at in [*range(0, len(good), step), len(good) - 1]:
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        if retagged:
            tags = {
                item.name: sha256(item.read_bytes())
                for item in bundle.iterdir()
                if item.is_file() and item.name != "tagmanifest-sha256.txt"
            }
            if name != "tagmanifest-sha256.txt":
                (bundle / "tagmanifest-sha256.txt").write_text("".join(f"{tags[item]}  {item}\n" for item in sorted(tags)))
        assert not verify(bundle, maker.trusted()).ok, at


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("retagged", [False, True])
def test_every_changed_byte_of_a_payload_file_is_refused(bundle: Path, maker: Signer, name: str, retagged: bool) -> None:
    path = bundle / "data" / name
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        if retagged:
            retag(bundle)
            assert bagit.Bag(str(bundle)).validate()  # bagit alone says valid
        refused(verify(bundle, maker.trusted()), "nobody signed it" if retagged else "manifest-sha256.txt says")


@pytest.mark.parametrize("retagged", [False, True])
def test_added_removed_and_renamed_files_are_refused(bundle: Path, maker: Signer, retagged: bool) -> None:
    def judged() -> Verdict:
        if retagged:
            retag(bundle)
        return verify(bundle, maker.trusted())

    added = bundle / "data/added.txt"
    added.write_bytes(b"")
    refused(judged(), "nobody signed it" if retagged else "'data/added.txt': not listed in manifest-sha256.txt")
    added.unlink()
    assert judged().ok
    moved = (bundle / "data/scoreboard.json").rename(bundle / "data/renamed.json")
    refused(judged(), "which is not in the bundle" if retagged else "'data/scoreboard.json': listed in manifest-sha256.txt, but missing")
    moved.unlink()
    refused(judged(), "which is not in the bundle" if retagged else "but missing")


@pytest.mark.parametrize("name", ["bag-info.txt", "bagit.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", PROVENANCE, TRUSTED])
def test_missing_and_extra_tag_files_are_refused(bundle: Path, maker: Signer, name: str) -> None:
    data = (bundle / name).read_bytes()
    (bundle / name).unlink()
    refused(verify(bundle, maker.trusted()), f"{name}: missing")
    (bundle / name).write_bytes(data)
    (bundle / "fetch.txt").write_text("https://example.com/x 1 data/x\n")
    refused(verify(bundle, maker.trusted()), "'fetch.txt': in neither manifest")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{digest}  data/scoreboard.json\n", "is listed twice"),
        ("{digest}  ../../etc/passwd\n", "no portable file name"),
        ("{digest}  data/../../x\n", "no portable file name"),
        ("{digest}  /etc/passwd\n", "no portable file name"),
        ("{digest}  ~/x\n", "no portable file name"),
        ("{digest}  bagit.txt\n", "outside data/"),
        ("{digest} data/x\n", "not '<sha256 in lower case>  <path>'"),
        ("{upper}  data/x\n", "not '<sha256 in lower case>  <path>'"),
        ("\n", "not '<sha256 in lower case>  <path>'"),
        ("# comment\n", "not '<sha256 in lower case>  <path>'"),
        ("{digest}  data/x", "does not end with a line end"),
    ],
)
def test_hostile_manifest_lines_are_refused(bundle: Path, maker: Signer, line: str, reason: str) -> None:
    with (bundle / "manifest-sha256.txt").open("a") as file:
        file.write(line.format(digest="a" * 64, upper="A" * 64))
    refused(verify(bundle, maker.trusted()), reason)


def test_links_and_special_files_are_refused_unread(bundle: Path, maker: Signer, tmp_path: Path) -> None:
    target = bundle / "data/scoreboard.json"
    saved = target.read_bytes()
    (tmp_path / "outside.json").write_bytes(saved)
    target.unlink()
    target.symlink_to(tmp_path / "outside.json")  # the same bytes, from elsewhere
    refused(verify(bundle, maker.trusted()), "'data/scoreboard.json': a symbolic link")
    target.unlink()
    os.mkfifo(target)  # reading it would wait for ever
    refused(verify(bundle, maker.trusted()), "'data/scoreboard.json': a special file")
    target.unlink()
    target.write_bytes(saved)
    (bundle / "data").rename(tmp_path / "data")
    (bundle / "data").symlink_to(tmp_path / "data")
    refused(verify(bundle, maker.trusted()), "'data': a symbolic link")


def test_odd_names_empty_folders_and_depth_are_refused(bundle: Path, maker: Signer) -> None:
    (bundle / "data/empty").mkdir()
    refused(verify(bundle, maker.trusted()), "'data/empty': an empty folder")
    (bundle / "data/empty").rmdir()
    (bundle / "data/a\nb").write_bytes(b"")
    refused(verify(bundle, maker.trusted()), r"'data/a\nb': 'a\nb' is no portable file name")
    (bundle / "data/a\nb").unlink()
    (bundle / ("data" + "/d" * 12)).mkdir(parents=True)
    refused(verify(bundle, maker.trusted()), "deeper than")


def test_size_and_number_are_bounded(bundle: Path, maker: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit, reason in [
        ("MAX_FILES", 5, "more than 5 files and folders"),
        ("MAX_FILE_BYTES", 20, "'data/scoreboard.json': 21 bytes, more than the 20 allowed"),
        ("MAX_TAG_BYTES", 100, f"'{PROVENANCE}': "),
        ("MAX_BUNDLE_BYTES", 30, "more than 30 bytes of payload"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(judge, name, limit)
            refused(verify(bundle, maker.trusted()), reason)
    with (bundle / "data/scoreboard.json").open("r+b") as file:
        file.truncate(3 << 30)  # sparse: a bomb on disk costs nothing
    refused(verify(bundle, maker.trusted()), "more than the 2147483648 allowed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 5000, "nested deeper than 32"),
        (b"\xff", "decode"),
        (b"{}\n", "exactly payload, payloadType and signatures"),
        (b'{"payload":"","payload":""}\n', "stands twice"),
        (b"", "Expecting value"),
    ],
)
def test_hostile_envelopes_are_refused(bundle: Path, maker: Signer, text: bytes, reason: str) -> None:
    (bundle / PROVENANCE).write_bytes(text)
    retag(bundle)
    refused(verify(bundle, maker.trusted()), reason)


def test_signed_statements_of_another_form_are_refused(bundle: Path, maker: Signer) -> None:
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        f"no {STATEMENT}": lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"),
        "subject should list": lambda statement: statement.update(subject=[]),
        "subject 1 should have": lambda statement: statement["subject"][0].update(digest={"sha256": "A" * 64}),
        "subject lists a file twice": lambda statement: statement["subject"].append(statement["subject"][0]),
        "nothing about its signing": lambda statement: statement["predicate"].pop("signing"),
        "is not an instant": lambda statement: statement["predicate"]["signing"].update(signedAt="2026-05-02T03:04:05+00:00"),
        f"names another {TRUSTED}": lambda statement: statement["predicate"]["signing"].update(trustedKeys="x"),
        "names other signers": lambda statement: statement["predicate"]["signing"].update(keyids=["x"]),
        "which is not in the bundle": lambda statement: statement["subject"][0].update(digest={"sha256": "a" * 64}),
    }
    good = (bundle / PROVENANCE).read_bytes()
    for reason, change in changes.items():
        resign(bundle, maker, change)
        refused(verify(bundle, maker.trusted()), reason)
        (bundle / PROVENANCE).write_bytes(good)
        retag(bundle)
    assert verify(bundle, maker.trusted()).ok


JUNK: list[Any] = [None, True, -1, 10**30, "", "x", "0001-01-01T00:00:00.000000+14:00", [], [[]], {}, {"sha256": 1}]


def spoiled(value: Any) -> Iterator[Any]:
    """The value with each of its parts in turn exchanged for each piece of junk, or left out."""
    yield from JUNK
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in keys:
        for part in spoiled(value[key]):
            other = copy.deepcopy(value)
            other[key] = part
            yield other
        other = copy.deepcopy(value)
        del other[key]
        yield other


def bound(statement: Any) -> Any:
    """What a signer may not say as it likes; free are its predicate's type and content, and whether the key is for development."""
    try:
        signing = statement["predicate"]["signing"]
        return {
            **statement,
            "predicateType": "predicateType" in statement,
            "predicate": [signing.get(key) for key in ("keyids", "trustedKeys", "signedAt")],
        }
    except (TypeError, KeyError, AttributeError):
        return None


def test_nonsense_signed_by_the_right_key_is_refused(bundle: Path, maker: Signer) -> None:
    statement = json.loads(base64.b64decode(json.loads((bundle / PROVENANCE).read_text())["payload"]))
    for other in spoiled(statement):
        (bundle / PROVENANCE).write_bytes(canonical(sign_statement(other, [maker])) + b"\n")
        retag(bundle)
        assert verify(bundle, maker.trusted()).ok == (bound(other) == bound(statement)), other


def test_nonsense_around_a_good_statement_is_refused(bundle: Path, maker: Signer) -> None:
    for name, trusted in ((PROVENANCE, maker.trusted()), (TRUSTED, None)):
        good = (bundle / name).read_bytes()
        for other in spoiled(json.loads(good)):
            (bundle / name).write_bytes(canonical(other) + b"\n")
            retag(bundle)
            assert verify(bundle, trusted).ok == (other == json.loads(good)), other
        (bundle / name).write_bytes(good)


def test_whose_signature_counts(bundle: Path, maker: Signer, tmp_path: Path) -> None:
    refused(verify(bundle, signer(tmp_path / "others").trusted()), "is by no trusted key")
    refused(verify(bundle, maker.trusted(), threshold=2), "1 of 2 needed trusted keys")
    refused(verify(bundle, TrustedKeys((TrustedKey(maker.public, valid_until=NOW),))), "was valid before")
    refused(verify(bundle, TrustedKeys((TrustedKey(maker.public, frozenset({"release"})),)), role="close"), "no role 'close'")
    path = tmp_path / "trusted.json"
    path.write_text(json.dumps(TrustedKeys((TrustedKey(maker.public),)).document()))
    assert verify(bundle, path).checked["trust"] == "given"
    path.write_text("{}")
    with pytest.raises(MissionError, match=r"trusted.json: no list 'keys'"):
        verify(bundle, path)


def test_without_trusted_keys_the_bundle_vouches_for_itself_and_says_so(bundle: Path) -> None:
    verdict = verify(bundle, None)
    assert verdict.ok
    assert verdict.checked["trust"] == "self-attested"
    assert verdict.warnings[0].startswith("self-attested: ")


def test_a_home_with_keys_trusts_those_alone(bundle: Path, maker: Signer, tmp_path: Path) -> None:
    signer(tmp_path / "home/keys")
    refused(verify(bundle, None), "is by no trusted key")
    (tmp_path / "home/keys/partner.pub.pem").write_text(public_pem(maker.public))
    verdict = verify(bundle, None)
    assert verdict.ok
    assert verdict.checked["trust"] == "home"
    assert "this machine made itself" in verdict.warnings[0]
    (tmp_path / "home/keys/trusted-keys.json").write_text(json.dumps(maker.trusted().document()))
    assert len(verify(bundle, None).warnings) == 1  # the development key's alone


def test_what_is_no_bundle_is_refused(tmp_path: Path, maker: Signer) -> None:
    refused(verify(tmp_path / "absent", maker.trusted()), "no such folder")
    refused(verify(tmp_path / "keys", maker.trusted()), "bagit.txt: missing")


def test_bagit_and_securesystemslib_agree(bundle: Path, maker: Signer) -> None:
    assert subprocess.run([sys.executable, "-m", "bagit", "--validate", bundle], check=False, capture_output=True).returncode == 0
    envelope = Envelope.from_dict(json.loads((bundle / PROVENANCE).read_text()))
    keys: list[Key] = [SSlibKey.from_crypto(maker.public, keyid=maker.keyid)]
    assert set(envelope.verify(keys, 1)) == {maker.keyid}
    statement = json.loads(envelope.payload)
    lines = (bundle / "manifest-sha256.txt").read_text().splitlines()
    assert {(one["digest"]["sha256"], one["name"]) for one in statement["subject"]} == {tuple(line.split("  ")) for line in lines}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no OpenSSL CLI on this machine")
def test_openssl_agrees(bundle: Path, maker: Signer, tmp_path: Path) -> None:
    envelope = json.loads((bundle / PROVENANCE).read_text())
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "message").write_bytes(pae(envelope["payloadType"], payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "key.pub.pem").write_text(json.loads((bundle / TRUSTED).read_text())["keys"][0]["public"])
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key.pub.pem", "-in", "message", "-sigfile", "signature"]
    assert subprocess.run(command, check=False, capture_output=True, cwd=tmp_path).returncode == 0
    (tmp_path / "message").write_bytes(pae(envelope["payloadType"], payload + b" "))
    assert subprocess.run(command, check=False, capture_output=True, cwd=tmp_path).returncode != 0
