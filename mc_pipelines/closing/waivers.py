"""Signed waivers: what one says, when it holds, and what is left of the holds where some do.

A waiver is bound to the digest of a failure (acceptance.py), so it follows that failure into later editions and no other one.
Taking one into the journal is waive.py's. No clock is asked here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mc_pipelines.closing.holds import Holds

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

WAIVER = "metering.waiver"
ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
"""A text that says something, and no line of another's where it is listed."""
State = Literal["stands", "expired", "of another failure"]


class Statement(BaseModel):
    """What a person signs to waive a failure: for all tenants, or for those named; through the day `expires`, in UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    period: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    gate: str
    failure: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenants: list[str] | None = Field(min_length=1)
    rationale: str = Field(pattern=ONE_LINE)
    owner: str = Field(pattern=ONE_LINE)
    expires: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")

    @field_validator("expires")
    @classmethod
    def _a_day(cls, value: str) -> str:
        date.fromisoformat(value)
        return value


@dataclass(frozen=True)
class Waiver:
    """A waiver in the journal. `tenants` is None where it releases everybody that the gate holds; `entry` is its number."""

    gate: str
    failure: str
    tenants: frozenset[str] | None
    rationale: str
    owner: str
    expires: date
    person: str
    entry: int

    @classmethod
    def read(cls, entry: "Entry") -> "Waiver":
        """From its journal entry."""
        body = entry.body
        tenants = None if body["tenants"] is None else frozenset(body["tenants"])
        expires = date.fromisoformat(body["expires"])
        return cls(body["gate"], body["failure"], tenants, body["rationale"], body["owner"], expires, body["person"], entry.number)

    def state(self, failures: Mapping[str, str | None], at: datetime) -> State:
        """Whether it releases anybody at this moment, where these failed: its last day is `expires`, in UTC."""
        if failures.get(self.gate) != self.failure:
            return "of another failure"
        return "stands" if at.astimezone(UTC).date() <= self.expires else "expired"

    def releases(self, tenant: str) -> bool:
        return self.tenants is None or tenant in self.tenants

    def covers(self, asked: Statement) -> bool:
        """Whether this waives all that `asked` would, for as long."""
        if (self.gate, self.failure) != (asked.gate, asked.failure) or self.expires < date.fromisoformat(asked.expires):
            return False
        return self.tenants is None or (asked.tenants is not None and self.tenants >= set(asked.tenants))

    def document(self) -> dict[str, Any]:
        """As evidence and pages show it."""
        return {
            "gate": self.gate,
            "failure": self.failure,
            "tenants": None if self.tenants is None else sorted(self.tenants),
            "rationale": self.rationale,
            "owner": self.owner,
            "expires": self.expires.isoformat(),
            "person": self.person,
            "entry": self.entry,
        }


def line_of(each: Mapping[str, Any]) -> str:
    """A document with its `state` as it is read: of which gate and whom, until when, why, whose, and by whom."""
    whom = "" if each["tenants"] is None else f" for {', '.join(each['tenants'])}"
    until = f"through {each['expires']}" if each["state"] == "stands" else f"expired after {each['expires']}"
    return f"waived: {each['gate']}{whom} {until}: {each['rationale']} (owner {each['owner']}, signed by {each['person']}, entry {each['entry']})"


def left_of(holds: Holds, standing: Sequence[Waiver]) -> Holds:
    """The holds without what is waived. A gate that held everybody and is waived for some holds the others one by one."""
    touched = {each.gate for each in standing}
    held: dict[str, tuple[str, ...]] = {}
    for tenant in sorted({*holds.tenants, *holds.held}):
        gates = (*(gate for gate in holds.everybody if gate in touched), *holds.held.get(tenant, ()))
        left = tuple(gate for gate in gates if not any(each.gate == gate and each.releases(tenant) for each in standing))
        if left:
            held[tenant] = left
    return Holds(holds.tenants, held, tuple(gate for gate in holds.everybody if gate not in touched))


def waived(standing: Iterable[Waiver], left: Holds) -> frozenset[str]:
    """The gates that hold nobody any more, where these holds are left."""
    still = {*left.everybody, *(gate for gates in left.held.values() for gate in gates)}
    return frozenset(each.gate for each in standing) - still
