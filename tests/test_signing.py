"""Keys and envelopes; securesystemslib and the OpenSSL CLI judge what we signed."""

import base64
import json
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Key, SSlibKey  # type: ignore[attr-defined]  # it names no exports

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.dsse import STATEMENT_TYPE, SignatureError, pae, sign, sign_statement, verify_envelope
from mc_pipelines.evidence.signing import Signer, TrustedKey, TrustedKeys, keyid, public_pem, signer

NOW = datetime(2026, 5, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_configured_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)


def key_pem(private: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> bytes:
    pem: bytes = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem


def made() -> Signer:
    return Signer(Ed25519PrivateKey.generate(), False, TrustedKeys(()))


def trust(*signers: Signer, **limits: Any) -> TrustedKeys:
    return TrustedKeys(tuple(TrustedKey(one.public, **limits) for one in signers))


def test_pae_is_the_one_in_the_specification() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, "Test Vectors"
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_development_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    first = signer(tmp_path / "keys")
    assert first.development
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys/development.pem").stat().st_mode) == 0o600
    assert signer(tmp_path / "keys").keyid == first.keyid
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["development.pem", "development.pub.pem"]


def test_key_files_open_to_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer(tmp_path)
    (tmp_path / "development.pem").chmod(0o640)
    with pytest.raises(MissionError, match=r"development.pem: .* mode 0600, this has 0640; run `chmod 600"):
        signer(tmp_path)
    monkeypatch.setenv("MISSION_SIGNING_KEY", str(tmp_path / "absent.pem"))
    with pytest.raises(MissionError, match=r"absent.pem: No such file"):
        signer(tmp_path)


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.OpenSSH])
@pytest.mark.parametrize("inline", [True, False])
def test_configured_keys_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: serialization.PrivateFormat, inline: bool) -> None:
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(key_pem(private, form))
    path.chmod(0o600)
    monkeypatch.setenv("MISSION_SIGNING_KEY", path.read_text() if inline else str(path))
    found = signer(tmp_path / "keys")
    assert found.keyid == keyid(private.public_key())
    assert not found.development
    assert [key.keyid for key in found.known.keys] == [found.keyid]


def test_after_a_new_key_the_old_one_is_still_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = signer(tmp_path)
    monkeypatch.setenv("MISSION_SIGNING_KEY", key_pem(Ed25519PrivateKey.generate()).decode())
    new = signer(tmp_path)
    assert {key.keyid for key in new.known.keys} == {old.keyid, new.keyid}
    monkeypatch.setenv("MISSION_SIGNING_KEY", str(tmp_path / "development.pem"))
    assert signer(tmp_path).development  # naming it does not make it more


def test_other_keys_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_SIGNING_KEY", key_pem(generate_private_key(SECP256R1())).decode())
    with pytest.raises(MissionError, match="no Ed25519 key"):
        signer(tmp_path)
    monkeypatch.setenv("MISSION_SIGNING_KEY", "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
    with pytest.raises(MissionError, match="MISSION_SIGNING_KEY: no readable private key"):
        signer(tmp_path)


def test_one_key_under_two_ids_counts_once() -> None:
    one = made()
    envelope = sign(b"{}", STATEMENT_TYPE, [one])
    envelope["signatures"].append({"keyid": "another", "sig": envelope["signatures"][0]["sig"]})
    doubled = TrustedKeys(trust(one, roles=frozenset({"close"})).keys + trust(one, roles=frozenset({"release"})).keys)
    assert len(verify_envelope(envelope, doubled, 1, NOW)) == 1
    with pytest.raises(SignatureError, match="1 of 2 needed"):
        verify_envelope(envelope, doubled, 2, NOW)


def test_two_keys_count_twice() -> None:
    one, two = made(), made()
    envelope = sign_statement({"_type": "x"}, [one, two])
    assert {key.keyid for key in verify_envelope(envelope, trust(one, two), 2, NOW)} == {one.keyid, two.keyid}
    with pytest.raises(SignatureError, match=r"1 of 2 needed trusted keys have signed: .* is by no trusted key"):
        verify_envelope(envelope, trust(one, made()), 2, NOW)


def test_validity_is_half_open() -> None:
    one = made()
    envelope = sign(b"{}", STATEMENT_TYPE, [one])
    window = trust(one, valid_from=NOW, valid_until=NOW + DAY)
    verify_envelope(envelope, window, 1, NOW)
    verify_envelope(envelope, window, 1, NOW + DAY - timedelta(microseconds=1))
    with pytest.raises(SignatureError, match=r"was valid before 2026-05-03T03:04:05.000000Z"):
        verify_envelope(envelope, window, 1, NOW + DAY)
    with pytest.raises(SignatureError, match="is valid from 2026-05-02"):
        verify_envelope(envelope, window, 1, NOW - timedelta(microseconds=1))


def test_roles_limit_a_key() -> None:
    one = made()
    envelope = sign(b"{}", STATEMENT_TYPE, [one])
    verify_envelope(envelope, trust(one, roles=frozenset({"close"})), 1, NOW, role="close")
    with pytest.raises(SignatureError, match="no role 'release', only close"):
        verify_envelope(envelope, trust(one, roles=frozenset({"close"})), 1, NOW, role="release")


def changed(envelope: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return envelope | fields


def test_malformed_and_changed_envelopes_are_refused() -> None:
    one = made()
    good = sign(b"{}", STATEMENT_TYPE, [one])
    entry = good["signatures"][0]
    flipped = bytearray(base64.b64decode(entry["sig"]))
    flipped[5] ^= 1
    cases = {
        "1 needed trusted": changed(good, payload=base64.b64encode(b"{ }").decode()),
        "does not verify": changed(good, signatures=[entry | {"sig": base64.b64encode(flipped).decode()}]),
        "payloadType is": changed(good, payloadType="text/plain"),
        "payload is not standard base64": changed(good, payload=good["payload"].rstrip("=") + "\n"),
        "sig is not standard base64": changed(good, signatures=[entry | {"sig": "é"}]),
        "1 to 16 signatures": changed(good, signatures=[]),
        "expected 1 to 16": changed(good, signatures=[entry] * 17),
        "exactly keyid and sig": changed(good, signatures=[entry | {"cert": ""}]),
        "exactly payload": changed(good, note=""),
    }
    for reason, envelope in cases.items():
        with pytest.raises(SignatureError, match=reason):
            verify_envelope(envelope, trust(one), 1, NOW)
    with pytest.raises(ValueError, match="threshold of 0"):
        verify_envelope(good, trust(one), 0, NOW)


def test_trusted_keys_files_read_back_plain_and_signed(tmp_path: Path) -> None:
    root, one = made(), made()
    keys = trust(one, roles=frozenset({"close"}), valid_from=NOW, valid_until=NOW + DAY)
    plain, signed = tmp_path / "plain.json", tmp_path / "signed.json"
    plain.write_text(json.dumps(keys.document()))
    signed.write_text(json.dumps(keys.signed([root], NOW)))
    for found in (TrustedKeys.load(plain), TrustedKeys.load(signed), TrustedKeys.load(signed, trust(root))):
        assert found.document() == keys.document()
    with pytest.raises(MissionError, match=r"signed.json: envelope: 0 of 1 needed"):
        TrustedKeys.load(signed, trust(made()))
    with pytest.raises(MissionError, match="not signed, but a root"):
        TrustedKeys.load(plain, trust(root))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{}", "no list 'keys'"),
        ('{"keys": [{}]}', "key 1: expected an object with 'public'"),
        ('{"keys": [{"public": "x"}]}', "key 1: no public key in PEM"),
        ('{"keys": [{"public": "x", "roles": "close"}]}', "key 1: 'roles' is a list"),
        ('{"keys": [{"public": "x", "valid_from": "2026-05-01"}]}', "not an instant"),
        (
            '{"keys": [{"public": "x", "valid_from": "2026-05-02T00:00:00.000000Z", "valid_until": "2026-05-01T00:00:00.000000Z"}]}',
            "not before",
        ),
    ],
)
def test_faulty_trusted_keys_files_are_refused(tmp_path: Path, document: str, reason: str) -> None:
    path = tmp_path / "trusted.json"
    path.write_text(document)
    with pytest.raises(MissionError, match=reason):
        TrustedKeys.load(path)


def test_securesystemslib_agrees() -> None:
    one, two = made(), made()
    envelope = Envelope.from_dict(json.loads(json.dumps(sign_statement({"_type": "x"}, [one, two]))))
    keys: list[Key] = [SSlibKey.from_crypto(each.public, keyid=each.keyid) for each in (one, two)]
    assert set(envelope.verify(keys, 2)) == {one.keyid, two.keyid}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no OpenSSL CLI on this machine")
def test_openssl_agrees_on_key_id_and_signature(tmp_path: Path) -> None:
    one = made()
    envelope = sign(b'{"a":1}', STATEMENT_TYPE, [one])
    (tmp_path / "key.pub.pem").write_text(public_pem(one.public))
    (tmp_path / "message").write_bytes(pae(STATEMENT_TYPE, b'{"a":1}'))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "key.pub.pem", "-outform", "DER"], check=True, capture_output=True
    ).stdout
    (tmp_path / "key.der").write_bytes(der)
    command: list[str | Path] = ["openssl", "dgst", "-sha256", "-r", tmp_path / "key.der"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0] == one.keyid
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", tmp_path / "key.pub.pem"]
    command += ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    (tmp_path / "message").write_bytes(b"other")
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
