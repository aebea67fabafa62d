"""What a home declares of its marketplace, under `reference/marketplace/`: sources, partners, tags and what an Ombuds export may show.

Packets are documents of their own: `packets.py`.
"""

from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.marketplace.clocks import Hours, Terms, public_holidays
from mc_pipelines.reference import Declared, declared_list, line_of_item, read_one, zones

ID = r"^[a-z][a-z0-9_-]{0,63}$"
HOUR_US = 3_600_000_000
Category = Literal["bug", "data_quality", "sla", "docs", "feature", "other"]


class Stage(Declared):
    """A status that a source has from the beginning of a day on, until its next stage. Only `live` sources count for the gates."""

    status: Literal["live", "candidate", "retired"]
    from_: date = Field(alias="from")


class Source(Declared):
    """A source on offer, and what it was when: a verdict about a sprint takes the status of the sprint's last local day."""

    source_id: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    partner_id: str = Field(pattern=ID)
    stages: tuple[Stage, ...] = Field(min_length=1)

    @field_validator("stages")
    @classmethod
    def _ascending(cls, value: tuple[Stage, ...]) -> tuple[Stage, ...]:
        for one, two in pairwise(value):
            if one.from_ >= two.from_:
                raise ValueError(f"{two.status} from {two.from_} does not come after {one.status} from {one.from_}; put stages in order")
        return value

    def status_on(self, day: date) -> str | None:
        """Its status on a day; None before its first stage."""
        return next((each.status for each in reversed(self.stages) if each.from_ <= day), None)

    @property
    def offered(self) -> date:
        """The first day on which it is live; of one that never is, the first day of all."""
        return next((each.from_ for each in self.stages if each.status == "live"), self.stages[0].from_)


class Partner(Declared):
    """A partner and what it promises, in hours of calendar or business time. `country` names the public holidays it keeps."""

    partner_id: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    zone: str
    country: str
    clock: Literal["business", "calendar"]
    response_hours: Decimal = Field(gt=0, le=8760, decimal_places=4)
    resolution_hours: Decimal = Field(gt=0, le=8760, decimal_places=4)
    at_risk_share: Decimal = Field(default=Decimal("0.8"), gt=0, le=1, decimal_places=4)
    opens: time = time(9)
    closes: time = time(17)
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5)

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _clock(cls, value: Any) -> Any:
        if isinstance(value, time):
            return value
        if not isinstance(value, str) or len(value) != 5:
            raise ValueError('write a local time in quotes, as "09:00"; YAML reads it as a number without')
        return time() if value == "24:00" else value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in zones():
            raise ValueError(f"{value} is no IANA time zone; write one such as Europe/Berlin")
        return value

    @field_validator("country")
    @classmethod
    def _known_country(cls, value: str) -> str:
        try:
            public_holidays(value)
        except MissionError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("weekdays")
    @classmethod
    def _days(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(range(1, 8)):
            raise ValueError("weekdays are numbers from 1 (Monday) to 7, each once")
        return value

    @model_validator(mode="after")
    def _some_time(self) -> "Partner":
        if self.closes != time() and self.opens >= self.closes:
            raise ValueError('`opens` is not before `closes`; "24:00" is the end of the day')
        return self

    @property
    def terms(self) -> Terms:
        limits = [int(hours * HOUR_US) for hours in (self.response_hours, self.resolution_hours)]
        hours = Hours(self.zone, self.country, self.opens, self.closes, frozenset(self.weekdays))
        return Terms(self.partner_id, limits[0], limits[1], self.clock, hours, Fraction(self.at_risk_share))


class Tag(Declared):
    """A tag of feedback: it is given where a text has one of the words or phrases; `categories` narrows it, none is all of them.

    Words are compared whole after both sides are normalised (feedback.py); one that ends in * stands for every word that begins so.
    """

    tag: str = Field(pattern=ID)
    any_of: tuple[str, ...] = Field(min_length=1)
    categories: tuple[Category, ...] = ()

    @field_validator("any_of")
    @classmethod
    def _words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if blank := [each for each in value if not any(letter.isalnum() for letter in each)]:
            raise ValueError(f"{blank[0]!r} has no letter or digit to look for")
        return value


class Tagging(Declared):
    """Tags, and for how many days the same words of a partner in a category are one issue."""

    duplicate_days: int = Field(ge=0, le=366)
    tags: tuple[Tag, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _once(self) -> "Tagging":
        if twice := _twice([each.tag for each in self.tags]):
            raise ValueError(f"tag {twice} stands twice; keep one")
        return self


Form = Literal["id", "day", "instant", "digest", "number", "flag"]


class Rule(Declared):
    """What of one kind of record is shown. What stands nowhere here is withheld, its name too.

    `keep`: field -> the form that its value must have, else it is withheld. `words`: field -> the only texts that are shown. `hash`: fields
    shown as a keyed hash, so that equal ones stay equal. `withhold`: fields whose name is shown and whose value is not. `text`: fields whose
    free text is shown as it stands; whoever declares one answers for it.
    """

    keep: dict[str, Form] = Field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    hash: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()
    text: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> "Rule":
        if twice := _twice([*self.keep, *self.words, *self.hash, *self.withhold, *self.text]):
            raise ValueError(f"field {twice} stands twice; say one thing about it")
        return self


class Redaction(Declared):
    """By kind of record what an Ombuds export shows."""

    requests: Rule
    packets: Rule
    decisions: Rule
    demotions: Rule
    feedback: Rule


Kind = TypeVar("Kind", Source, Partner)


def _twice(names: Sequence[str]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def _folder(home: Home) -> Path:
    return home.reference / "marketplace"


def _once(path: Path, name: str, found: Sequence[Kind], key: str) -> tuple[Kind, ...]:
    own = [str(getattr(each, key)) for each in found]
    for place, each in enumerate(own):
        if each in own[:place]:
            raise MissionError(f"{path}:{line_of_item(path, name, place)}: {key} {each} stands twice. Keep one.")
    return tuple(sorted(found, key=lambda each: str(getattr(each, key))))


def read_partners(home: Home) -> tuple[Partner, ...]:
    """`partners.yaml`, in order of ids. MissionError names file, line, value and remedy, here and below."""
    path = _folder(home) / "partners.yaml"
    return _once(path, "partners", declared_list(path, "partners", Partner), "partner_id")


def read_sources(home: Home) -> tuple[Source, ...]:
    """`sources.yaml`, in order of ids; each names a declared partner."""
    path = _folder(home) / "sources.yaml"
    partners = {each.partner_id for each in read_partners(home)}
    found = declared_list(path, "sources", Source)
    for place, each in enumerate(found):
        if each.partner_id not in partners:
            line = line_of_item(path, "sources", place)
            raise MissionError(
                f"{path}:{line}: partner_id {each.partner_id} is not in partners.yaml. There are {', '.join(sorted(partners))}."
            )
    return _once(path, "sources", found, "source_id")


def read_tagging(home: Home) -> Tagging:
    """`tagging.yaml`."""
    return read_one(_folder(home) / "tagging.yaml", Tagging)


def read_redaction(home: Home) -> Redaction:
    """`redaction.yaml`."""
    return read_one(_folder(home) / "redaction.yaml", Redaction)
