"""People, their own SSH keys, and what they sign: with OpenSSH's own ssh-keygen and ssh-agent."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.dsse import pae
from mc_pipelines.evidence.own_key import from_file, in_agent
from mc_pipelines.evidence.people import Person, by_key, read_people
from mc_pipelines.evidence.signing import public_pem
from mc_pipelines.evidence.signoff import SIGN_OFF_TYPE, read_request, read_sign_off, request, signed
from mc_pipelines.home import Home

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed; apt-get install openssh-client runs these"
)
APPROVAL = "metering.close.approval"
AT = datetime(2026, 5, 4, 9, tzinfo=UTC)


def keypair(folder: Path, name: str, passphrase: str = "") -> tuple[Path, str]:
    """A private key made by ssh-keygen, and the line of its public half."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", f"{name}@test", "-f", str(path)], check=True)
    return path, path.with_suffix(".pub").read_text(encoding="utf-8").strip()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "reference").mkdir()
    return Home(tmp_path)


def declare(home: Home, *people: str) -> None:
    (home.reference / "people.yaml").write_text("people:\n" + "".join(f"  - {each}\n" for each in people), encoding="utf-8")


@pytest.fixture
def dana(home: Home, tmp_path: Path) -> Path:
    """Dana approves; her key has no passphrase."""
    key, line = keypair(tmp_path, "dana")
    declare(home, f'{{person: dana, name: Dana, roles: [approver], key: "{line}"}}')
    return key


def asked(kind: str = APPROVAL) -> dict[str, Any]:
    return {"kind": kind, "requested_by": "job", "statement": {"period": "2026-04", "digest": "ab" * 32}}


def no_passphrase() -> str:
    raise AssertionError("nobody should ask")


def test_a_person_signs_what_was_asked_and_anybody_can_check_it(home: Home, dana: Path, tmp_path: Path) -> None:
    people = read_people(home)
    envelope = signed(asked(), from_file(dana, no_passphrase), people, AT)
    found = read_sign_off(envelope, people, "x")
    assert (found.kind, found.person.person, found.requested_by, found.signed_at) == (APPROVAL, "dana", "job", AT)
    assert found.statement == asked()["statement"]
    (signature,) = json.loads(envelope)["signatures"]
    (tmp_path / "message").write_bytes(pae(SIGN_OFF_TYPE, base64.b64decode(json.loads(envelope)["payload"])))
    (tmp_path / "sig").write_bytes(base64.b64decode(signature["sig"]))
    (tmp_path / "pem").write_text(public_pem(people[0].public), encoding="utf-8")
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "pem", "-sigfile", "sig", "-in", "message"]
    if shutil.which("openssl"):
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0


def test_a_request_is_the_same_file_whenever_it_is_made(tmp_path: Path) -> None:
    data = request(APPROVAL, "job", {"b": 1, "a": [1]})
    assert data == request(APPROVAL, "job", {"a": [1], "b": 1})
    (tmp_path / "r.json").write_bytes(data)
    assert read_request(tmp_path / "r.json") == {"kind": APPROVAL, "requested_by": "job", "statement": {"a": [1], "b": 1}}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"kind":"x"}', b'{"kind":"other","requested_by":"x","statement":{}}'])
def test_what_is_no_request_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "r.json").write_bytes(data)
    with pytest.raises(MissionError, match=r"r\.json: no request to sign"):
        read_request(tmp_path / "r.json")


def test_a_key_with_a_passphrase_opens_with_it_alone(home: Home, tmp_path: Path) -> None:
    key, line = keypair(tmp_path, "eve", "correct horse")
    declare(home, f'{{person: eve, name: Eve, roles: [finance], key: "{line}"}}')
    opened = from_file(key, lambda: "correct horse")
    assert by_key(read_people(home), opened.public_key()) is not None
    with pytest.raises(MissionError, match="no private key that opens"):
        from_file(key, lambda: "wrong")


def test_a_key_that_others_may_read_is_refused(dana: Path) -> None:
    dana.chmod(0o644)
    with pytest.raises(MissionError, match="mode 0600"):
        from_file(dana, no_passphrase)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An ssh-agent of the test's own."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is not installed; apt-get install openssh-client runs this")
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            assert process.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield
        process.terminate()


def test_a_key_in_an_agent_signs_as_its_file_does(home: Home, dana: Path, agent: None, tmp_path: Path) -> None:
    assert in_agent() == []
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(rsa)], check=True)
    for key in (rsa, dana):
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=dict(os.environ), capture_output=True)
    (held,) = in_agent()  # the RSA key is none that counts
    people = read_people(home)
    assert signed(asked(), held, people, AT) == signed(asked(), from_file(dana, no_passphrase), people, AT)
    subprocess.run(["ssh-add", "-q", "-x"], input=b"lock\nlock\n", check=False, env=dict(os.environ), capture_output=True)


def test_without_an_agent_there_are_no_keys_and_a_dead_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert in_agent() == []
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(MissionError, match="check SSH_AUTH_SOCK, or name your key with --key FILE"):
        in_agent()


def test_a_stranger_and_a_person_without_the_role_sign_nothing(home: Home, dana: Path, tmp_path: Path) -> None:
    stranger, _ = keypair(tmp_path, "stranger")
    with pytest.raises(MissionError, match=r"is nobody's in reference/people\.yaml"):
        signed(asked(), from_file(stranger, no_passphrase), read_people(home), AT)
    with pytest.raises(MissionError, match=r"dana cannot sign a metering.finance_note: key .* has no role 'finance'"):
        signed(asked("metering.finance_note"), from_file(dana, no_passphrase), read_people(home), AT)


def test_a_sign_off_counts_only_within_the_persons_time(home: Home, tmp_path: Path) -> None:
    key, line = keypair(tmp_path, "fay")
    declare(home, f'{{person: fay, name: Fay, roles: [approver], key: "{line}", until: 2026-05-04T09:00:00Z}}')
    with pytest.raises(MissionError, match=r"was valid before 2026-05-04T09:00:00.000000Z"):
        signed(asked(), from_file(key, no_passphrase), read_people(home), AT)


def changed(envelope: bytes, **values: Any) -> bytes:
    found = json.loads(envelope)
    payload = json.loads(base64.b64decode(found["payload"])) | values
    found["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps(found).encode()


def test_a_changed_sign_off_is_refused(home: Home, dana: Path) -> None:
    people: tuple[Person, ...] = read_people(home)
    envelope = signed(asked(), from_file(dana, no_passphrase), people, AT)
    altered: list[dict[str, Any]] = [{"statement": {}}, {"person": "eve"}, {"kind": "metering.waiver"}, {"more": 1}]
    for values in [*altered, {"signedAt": "2026-05-05T09:00:00.000000Z"}]:
        with pytest.raises(MissionError, match=r"^here: "):
            read_sign_off(changed(envelope, **values), people, "here")
    for data in (b"", b"{}", envelope[:-20]):
        with pytest.raises(MissionError, match=r"^here: "):
            read_sign_off(data, people, "here")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{person: a, name: A, roles: [king], key: KEY}", "people.yaml:2: people.0.roles: .* no role is called 'king'"),
        ("{person: a, name: A, roles: [approver], key: ssh-rsa AAAA}", "people.yaml:2: people.0.key: .* no public SSH key"),
        ("{person: a, name: A, roles: [], key: KEY}", "people.yaml:2: people.0.roles"),
        ("{person: a, name: A, roles: [approver], key: KEY, until: 2026-01-01T00:00:00Z, from: 2026-02-01T00:00:00Z}", "is not before"),
        ("{person: a, name: A, roles: [approver], key: KEY, extra: 1}", "people.yaml:2: people.0.extra"),
    ],
)
def test_people_are_read_strictly(home: Home, tmp_path: Path, entry: str, said: str) -> None:
    _, line = keypair(tmp_path, "a")
    declare(home, entry.replace("KEY", f'"{line}"'))
    with pytest.raises(MissionError, match=said):
        read_people(home)


def test_a_key_stands_for_one_person(home: Home, tmp_path: Path) -> None:
    _, line = keypair(tmp_path, "a")
    declare(
        home, f'{{person: a, name: A, roles: [approver], key: "{line}"}}', f'{{person: b, name: B, roles: [approver], key: "{line} other"}}'
    )
    with pytest.raises(MissionError, match=r"people\.yaml:3: the key of b stands twice"):
        read_people(home)
    assert read_people(Home(tmp_path / "none")) == ()
