"""A person's own SSH Ed25519 key: in their ssh-agent, or in a file with or without passphrase. It signs here and leaves no copy.

Agent protocol: https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent (two of its messages: list identities, sign).
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.signing import read_secret

KIND = b"ssh-ed25519"
LIST, IDENTITIES, SIGN, SIGNED = 11, 12, 13, 14
MAX_ANSWER = 256 << 10


class OwnKey(Protocol):
    """What signs for a person."""

    def public_key(self) -> Ed25519PublicKey: ...

    def sign(self, data: bytes) -> bytes: ...


def from_file(path: Path, passphrase: Callable[[], str]) -> Ed25519PrivateKey:
    """The key of a file of mode 0600, OpenSSH's or PEM; `passphrase` is asked only where the file has one."""
    data = read_secret(path, "name the private half of your SSH key, for example ~/.ssh/id_ed25519")
    load = load_ssh_private_key if b"OPENSSH" in data[:64] else load_pem_private_key
    try:
        try:
            key = load(data, password=None)
        except TypeError:  # it is encrypted
            key = load(data, password=passphrase().encode())
        except ValueError as error:
            if "encrypted" not in str(error) and "password" not in str(error).lower():
                raise
            key = load(data, password=passphrase().encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MissionError(f"{path}: no private key that opens ({error}); check the file and its passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise MissionError(f"{path}: {type(key).__name__} is no Ed25519 key; make one with `ssh-keygen -t ed25519`")
    return key


@dataclass(frozen=True)
class AgentKey:
    """A key that an ssh-agent holds and never gives away."""

    agent: Path
    blob: bytes

    def public_key(self) -> Ed25519PublicKey:
        kind, rest = _text(self.blob)
        raw, _ = _text(rest)
        assert kind == KIND
        return Ed25519PublicKey.from_public_bytes(raw)

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature. MissionError where the agent refuses."""
        kind, answer = _ask(self.agent, bytes([SIGN]) + _packed(self.blob) + _packed(data) + struct.pack(">I", 0))
        if kind != SIGNED:
            raise MissionError(f"{self.agent}: the ssh-agent did not sign; was it asked to confirm, or is the key locked?")
        signature, _ = _text(answer)
        found, rest = _text(signature)
        made, _ = _text(rest)
        if found != KIND or len(made) != 64:
            raise MissionError(f"{self.agent}: the ssh-agent answered with {found.decode(errors='replace')!r}, no Ed25519 signature")
        return made


def in_agent() -> list[AgentKey]:
    """The Ed25519 keys of the agent that SSH_AUTH_SOCK names; none without one."""
    named = os.environ.get("SSH_AUTH_SOCK")
    if not named:
        return []
    agent = Path(named)
    kind, answer = _ask(agent, bytes([LIST]))
    if kind != IDENTITIES or len(answer) < 4:
        return []
    return [AgentKey(agent, blob) for blob in _blobs(answer[4:], int.from_bytes(answer[:4], "big")) if blob.startswith(_packed(KIND))]


def _blobs(rest: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count):
        blob, rest = _text(rest)
        _, rest = _text(rest)  # the comment
        yield blob


def _ask(agent: Path, message: bytes) -> tuple[int, bytes]:
    """(kind, content) of the agent's answer."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)  # a person may have to confirm
            line.connect(str(agent))
            line.sendall(_packed(message))
            size = int.from_bytes(_exactly(line, 4), "big")
            if not 1 <= size <= MAX_ANSWER:
                raise MissionError(f"{agent}: an answer of {size} bytes is none of an ssh-agent; check SSH_AUTH_SOCK")
            answer = _exactly(line, size)
    except OSError as error:
        raise MissionError(f"{agent}: {error}; check SSH_AUTH_SOCK, or name your key with --key FILE") from error
    return answer[0], answer[1:]


def _exactly(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = line.recv(count - len(found))
        if not part:
            raise OSError("the ssh-agent closed the connection")
        found += part
    return found


def _packed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _text(data: bytes) -> tuple[bytes, bytes]:
    """A length-prefixed string, and what follows it."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size:
        raise MissionError("the ssh-agent's answer is cut short; restart the agent")
    return data[4 : 4 + size], data[4 + size :]
