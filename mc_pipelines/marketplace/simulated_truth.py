"""What may be planted into a generated marketplace, and what is then true of it. How it is made stands in `simulate.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Troubles:
    """What makes a gate fail, each off in a plain marketplace; bad rows, copies and impossible transitions are in a plain one too."""

    backlog: bool = False
    """Four requests in ten wait for ever: of those connected the median stays below two days, of all it does not."""
    slow: bool = False
    """Nothing is connected before three days."""
    untracked: bool = False
    """Two tagged issues have no action."""


PLAIN = Troubles()


@dataclass(frozen=True)
class Request:
    """Where a request stands after its possible transitions; `state` is None where none of its events was possible.

    `connected_after` is the time from the first request to the first connection.
    """

    state: str | None
    requested: datetime | None
    connected_after: timedelta | None = None


@dataclass(frozen=True)
class Truth:
    """What the landed files hold, each identity once."""

    seed: int
    end: datetime
    """No event is later."""
    rows: Mapping[str, int]
    """Landed rows per source, refused ones among them."""
    malformed: Mapping[str, Mapping[str, int]]
    """Refused rows per source and reason."""
    requests: Mapping[str, Request]
    impossible: Mapping[tuple[str, str], str]
    """By request and state of an event that cannot have happened, why: transition, duplicate (was so before) or contradiction."""
    copies: Mapping[str, int]
    """Rows per source that say again, word for word, what another row says."""
    feedback: Mapping[str, str]
    """Category by feedback."""
    tags: Mapping[str, frozenset[str]]
    """Tags by feedback; most have none."""
    same_words: frozenset[frozenset[str]]
    """Feedback that says the same but for case, spaces and punctuation: groups of two."""
    other_words: frozenset[frozenset[str]]
    """Feedback that says the same in other words: groups of two, each with an action of its own."""
    untracked: frozenset[str]
    """The first feedback of tagged issues that have no action."""
    actions: Mapping[str, str]
    """Last state by action."""
    personal: frozenset[str]
    """Texts that may be shown nowhere: people's names, contacts, and what stands of them inside feedback."""
