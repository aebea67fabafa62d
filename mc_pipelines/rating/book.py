"""Price books: one version of one, and how `reference/price_books/*.yaml` is read. What a plan holds stands in `plans.py`.

One file is one version; the version in force at an instant is the one that became effective last.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.rating.declared import Instant, Percent, Priced, Text, declare, load, wrong
from mc_pipelines.rating.money import minor_units
from mc_pipelines.rating.plans import Plan
from mc_pipelines.rating.policy import DEFAULT, POLICIES


class Book(Priced):
    """One version of a price book, in force from `effective` until the next one."""

    price_book: Annotated[Text, Field(pattern="^[a-z0-9][a-z0-9_-]*$")]
    version: Annotated[Text, Field(min_length=1)]
    about: Text = ""
    effective: Instant
    currency: Text
    policy: Text = DEFAULT
    tax_rounding: Literal["line", "document"] = "line"
    cumulative_tiers: Literal["restart", "continue"] = "restart"
    taxes: Mapping[Text, Percent] = Field(default_factory=dict)
    plans: Mapping[Text, Plan]

    @field_validator("currency")
    @classmethod
    def _paid_in(cls, value: str) -> str:
        try:
            minor_units(value)
        except MissionError as error:
            raise wrong(str(error).removesuffix(".")) from error
        return value

    @field_validator("policy")
    @classmethod
    def _named(cls, value: str) -> str:
        if value not in POLICIES:
            raise wrong(f"no policy is called {value!r}; known are {', '.join(POLICIES)}")
        return value

    @model_validator(mode="after")
    def _plans_agree(self) -> "Book":
        if not self.plans:
            raise wrong("a price book needs a plan; write one", "plans")
        for name, plan in self.plans.items():
            named = [(plan.tax, ("tax",)), *((charge.tax, ("charges", place, "tax")) for place, charge in enumerate(plan.charges))]
            for tax, at in named:
                if tax is not None and tax not in self.taxes:
                    raise wrong(f"tax {tax!r} is not under taxes, which has {', '.join(self.taxes) or 'none'}", "plans", name, *at)
        return self

    @property
    def since(self) -> datetime:
        """The instant from which it is in force, as naive UTC."""
        return naive(self.effective)


def naive(moment: datetime) -> datetime:
    """An aware instant as naive UTC, as everywhere behind staging."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def read_book(path: Path) -> Book:
    """One version of a price book. MissionError with file, line, value and remedy for everything that is wrong."""
    return parse_book(path)


def parse_book(path: Path, text: str | None = None) -> Book:
    """As `read_book`; `text` is what stood in the file when it was recorded."""
    loaded: Any = load(path, text)
    if not isinstance(loaded, dict):
        raise MissionError(
            f"{path}:1: expected keys such as price_book, version, effective, currency and plans. docs/price-book.md shows a file."
        )
    return declare(path, Book, loaded)


def book_files(home: Home) -> list[Path]:
    return sorted((home.reference / "price_books").glob("*.yaml"))


def read_books(home: Home) -> dict[Path, Book]:
    """Every version of every price book by its file. MissionError lists the problems of all files."""
    books, problems = {}, []
    for path in book_files(home):
        try:
            books[path] = read_book(path)
        except MissionError as error:
            problems.append(str(error))
    if problems:
        raise MissionError("\n".join(problems))
    return books
