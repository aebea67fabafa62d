"""How price books and subscriptions are read: strict text decimals, and errors that name file, line, value and remedy.

What may stand in them is declared in `book.py` and `subscriptions.py`.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.yamlread import StrictLoader, line_at, load_yaml, parsed

Where = tuple[int | str, ...]
"""The way to a node of a YAML file: keys and positions from the top."""


class _Plain(StrictLoader):
    """`yes`, `no`, `on` and `off` are texts (NO is Norway); only `true` and `false` are truth values, as in YAML 1.2."""


_Plain.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool"] for first, pairs in StrictLoader.yaml_implicit_resolvers.items()
}
_Plain.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), ["t", "f"])


def wrong(message: str, *at: int | str) -> PydanticCustomError:
    """An error of a validator that speaks about the node `at`, below the declaration that it validates."""
    return PydanticCustomError("declared", "{message}", {"message": message, "at": at})


class Priced(BaseModel):
    """A declaration: frozen, and a key that nobody knows is an error that lists those it knows."""

    model_config = ConfigDict(frozen=True, strict=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if isinstance(value, dict) and (odd := [key for key in value if key not in known]):
            raise wrong(f"unknown key {odd[0]!r}; known are {', '.join(known)}", str(odd[0]))
        return value


def within(least: Decimal | None, most: Decimal | None, key: str) -> None:
    """Refuse a lower bound above the upper one; `key` is the lower one's."""
    if least is not None and most is not None and least > most:
        raise wrong(f"{least} is above the maximum of {most}; lower it, or raise the maximum", key)


Kind = TypeVar("Kind", bound=Priced)


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise wrong(f"YAML reads this as {type(value).__name__}; write it as text, in quotes")


def _truth(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise wrong("write true or false")


def _count(value: Any) -> Any:
    if type(value) is int and value >= 0:
        return value
    raise wrong("write a whole number, 0 or more")


def _instant(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    raise wrong("write an instant with its zone, for example 2026-04-01T00:00:00Z")


def _day_or_instant(value: Any) -> Any:
    if type(value) is date or (isinstance(value, datetime) and value.tzinfo is not None):
        return value
    raise wrong("write a local day such as 2026-04-10, or an instant with its zone such as 2026-04-10T12:00:00Z")


def _decimal(whole: int, decimals: int, *, positive: bool = False, most: int | None = None) -> BeforeValidator:
    """Decimal text of at most `whole` digits before the point and `decimals` after it; never negative."""
    form = re.compile(rf"(0|[1-9][0-9]{{0,{whole - 1}}})(\.[0-9]{{1,{decimals}}})?")

    def parse(value: Any) -> Decimal:
        if not isinstance(value, str):
            raise wrong(f"YAML reads this as {type(value).__name__}; write it as text, in quotes, so that every digit counts")
        if not form.fullmatch(value):
            raise wrong(
                f"write plain digits, at most {whole} before the point and {decimals} after it, no sign, no exponent, no separators"
            )
        number = Decimal(value)
        if positive and not number:
            raise wrong("write more than 0")
        if most is not None and number > most:
            raise wrong(f"write {most} at most")
        return number

    return BeforeValidator(parse)


Text = Annotated[str, BeforeValidator(_text)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Count = Annotated[int, BeforeValidator(_count)]
Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]
DayOrInstant = Annotated[date | datetime, BeforeValidator(_day_or_instant)]
Price = Annotated[Decimal, _decimal(15, 12)]
Quantity = Annotated[Decimal, _decimal(29, 9)]
Positive = Annotated[Decimal, _decimal(29, 9, positive=True)]
Rate = Annotated[Decimal, _decimal(15, 10)]
"""Percent of an amount; ten decimals, so that as a price (rate / 100) it has twelve."""
Percent = Annotated[Decimal, _decimal(3, 10, most=100)]


def load(path: Path, text: str | None = None) -> Any:
    """What a YAML file holds, or `text` that stood in it. MissionError where it is absent, no YAML, or has a key twice."""
    return load_yaml(path, _Plain) if text is None else parsed(path, text, _Plain)


def line_of(path: Path, where: Sequence[int | str]) -> int:
    """The line of the deepest node of `where` that the file has; 1 where the file is not there, because its text was read from a table."""
    return line_at(path, where, _Plain) if there(path) else 1


def declare(path: Path, kind: type[Kind], item: Any, where: Where = ()) -> Kind:
    """`item`, found at `where` in `path`, as `kind`. MissionError with a line per problem."""
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        lines = []
        for each in error.errors():
            at = (*where, *each["loc"], *each.get("ctx", {}).get("at", ()))
            got = "" if isinstance(each["input"], dict | list) else f" (got {each['input']!r})"
            lines.append(f"{path}:{line_of(path, at)}: {'.'.join(map(str, at))}: {each['msg']}{got}.")
        raise MissionError("\n".join(lines)) from error
