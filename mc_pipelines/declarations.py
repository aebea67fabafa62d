"""What may be declared under assets/: the header of a table, and how a deliverable ends. Strict: nothing else is taken.

How files are read and put together is `catalog.py`'s.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["same", "through", "inside", "all", "touched"]
"""Which windows of an upstream table a window depends on: its own, every one up to it, those inside it, all, or those that touched it."""


class Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Header(Declared):
    """What a table says of itself, in SQL comments or in `_deliverable.yaml`."""

    about: str
    grain: tuple[str, ...]
    every: Literal["day", "month", "sprint", "once"]
    window: str | None = None
    """The column that holds the window's key: the landing day, the local day, the period, the sprint's first day. None for `every: once`."""
    scope: Mapping[str, Scope] = Field(default_factory=dict)
    engine: Literal["portable", "duckdb"] = "duckdb"
    columns: Mapping[str, str] = Field(default_factory=dict)
    """What a column holds, for whoever reads the table. Shown, and like `about` without any part in what is computed."""
    compute: str | None = None
    deps: tuple[str, ...] = ()
    view: bool = False
    """Not stored: whoever reads it runs its SELECT over the tables that it reads, at the versions that the reader pins."""
    with_months: bool = False
    """A table that is built once, and again at the beginning of every close: it takes what is declared by then."""
    also: tuple[str, ...] = ()
    """Tables that the same computation writes beside this one, each committed before it."""


class Publication(Declared):
    """A document that people publish of a window."""

    draft: str
    """The table that makes it: a row a window, with `content` (canonical JSON) and `against` (why it is not fit; empty text where it is)."""
    pages: str | None = None
    """How it is drawn: (its bytes, window name) -> files of the site by path. Of two windows that draw one path the later one counts."""


class Exit(Declared):
    """How a deliverable ends: the windows that it is judged by, where its signed bundles lie, and what it shows."""

    every: Literal["month", "sprint"]
    evidence: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    """Folder below evidence/."""
    attempt: str | None = None
    """What attempts a window, where it has a life of its own after that: (home, window name, run id, progress, who asked) -> Attempt."""
    declared: str | None = None
    """What reads all that a home declares for it, so that `mission lint` finds what is wrong: (home) -> nothing, or MissionError."""
    report: str | None = None
    """What its bundles hold beside rows and gates: (connection with the window's tables, window) -> documents by path, JSON values or bytes."""
    pages: str | None = None
    """How they are drawn: (payload files by path, window name) -> files of the site by path."""
    publishes: Mapping[str, Publication] = Field(default_factory=dict)
    links: Mapping[str, str] = Field(default_factory=dict)
    """Label by path of the pages that the scoreboard leads to, `{window}` in both; the first is the report of its gates."""


class Deliverable(Declared):
    title: str
    about: str
    owner: str
    exit: Exit | None = None
    """None for what others rest on: reference data and staging are judged by nobody alone."""
    assets: Mapping[str, Header] = Field(default_factory=dict)
