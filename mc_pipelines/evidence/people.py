"""Who may sign for what: `reference/people.yaml`, people with roles and the public half of their own SSH Ed25519 key.

A person's private key never comes here. What they sign is `signoff.py`, how they sign `own_key.py`.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from pydantic import AwareDatetime, Field, field_validator, model_validator

from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.signing import TrustedKey, TrustedKeys, keyid
from mc_pipelines.home import Home
from mc_pipelines.reference import Declared, declared_list, line_of_item

ROLES = ("approver", "finance", "operator", "packets")
"""approver: approves closes and waivers. finance: files the finance note. operator: locks and publishes what is approved. packets: signs packets of sources."""


class Person(Declared):
    """A person, what they may sign, and the line of their `id_ed25519.pub`. `from` is inclusive, `until` exclusive."""

    person: str = Field(pattern="^[a-z][a-z0-9._-]*$")
    name: str = Field(min_length=1)
    roles: tuple[str, ...] = Field(min_length=1)
    key: str
    logins: tuple[str, ...] = ()
    """What this person is called where a close is asked for: a user of the machine, or of the web server before Dagster."""
    from_: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = None

    @field_validator("roles")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if odd := sorted(set(value) - set(ROLES)):
            raise ValueError(f"no role is called {odd[0]!r}; there are {', '.join(ROLES)}")
        return value

    @field_validator("key")
    @classmethod
    def _ed25519(cls, value: str) -> str:
        public_of(value)
        return value

    @model_validator(mode="after")
    def _some_time(self) -> "Person":
        if self.from_ and self.until and self.from_ >= self.until:
            raise ValueError("`from` is not before `until`; correct one of them")
        return self

    @property
    def public(self) -> Ed25519PublicKey:
        return public_of(self.key)

    @property
    def trusted(self) -> TrustedKey:
        """Their key with roles and dates, as envelopes are verified with."""
        return TrustedKey(self.public, frozenset(self.roles), self.from_, self.until)


def public_of(line: str) -> Ed25519PublicKey:
    """The key of a line `ssh-ed25519 AAAA… comment`. ValueError for anything else."""
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("no public SSH key; write the line of an id_ed25519.pub, `ssh-ed25519 AAAA…`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{type(key).__name__} is no Ed25519 key; make one with `ssh-keygen -t ed25519`")
    return key


def people_file(home: Home) -> Path:
    return home.reference / "people.yaml"


def read_people(home: Home) -> tuple[Person, ...]:
    """Everybody that a home declares, in order of their names; nobody where there is no file.

    MissionError with file, line and remedy for what is misspelt, a person or a key that stands twice.
    """
    path = people_file(home)
    if not there(path):
        return ()
    people = declared_list(path, "people", Person)
    for place, each in enumerate(people):
        for earlier in people[:place]:
            if each.person == earlier.person or keyid(each.public) == keyid(earlier.public):
                what = f"person {each.person}" if each.person == earlier.person else f"the key of {each.person}"
                raise MissionError(f"{path}:{line_of_item(path, 'people', place)}: {what} stands twice. One person has one key; keep one.")
    return tuple(sorted(people, key=lambda each: each.person))


def keys_of(people: Sequence[Person]) -> TrustedKeys:
    """The keys of some people."""
    return TrustedKeys(tuple(each.trusted for each in people))


def by_key(people: Sequence[Person], public: Ed25519PublicKey) -> Person | None:
    """Whose key it is."""
    wanted = keyid(public)
    return next((each for each in people if keyid(each.public) == wanted), None)
