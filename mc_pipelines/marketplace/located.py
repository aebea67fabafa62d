"""JSON that a partner wrote, read strictly, with the line of every value: so that each fault is named where it stands, not only the first.

What a document must say belongs to its schema; here it only has to be JSON without doubt: bounded, no key twice, integers and text.
"""

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Where = tuple[str | int, ...]
MOST_DEPTH, MOST_VALUES = 16, 20_000
_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"-?[A-Za-z]+")
_WORDS = {"true": True, "false": False, "null": None}
_STRING = json.JSONDecoder()


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place, and what to do. `line` counts from 1; None where the fault has no line."""

    where: str
    line: int | None
    message: str
    remedy: str

    def text(self, path: Path | str) -> str:
        place = f"{path}:{self.line}" if self.line else str(path)
        return f"{place}: {self.where}: {self.message}. {self.remedy}"


@dataclass(frozen=True)
class Located:
    """A document with the line of each of its values. With `problems` it may lack what was wrong; `broken` is one that could not be read on."""

    value: Any
    lines: dict[Where, int]
    problems: tuple[Problem, ...]
    broken: bool = False

    def line(self, where: Where) -> int | None:
        """The line of a value, or of the nearest thing around it that is there."""
        return next((self.lines[where[:size]] for size in range(len(where), -1, -1) if where[:size] in self.lines), None)


def shown(where: Where) -> str:
    """A JSON path such as $.risks[0].severity; odd keys are quoted."""
    steps = (
        f"[{step}]" if isinstance(step, int) else f".{step}" if re.fullmatch(r"\w+", step) else f"[{json.dumps(step[:80])}]"
        for step in where
    )
    return "$" + "".join(steps)


def located(data: bytes, most_values: int = MOST_VALUES) -> Located:
    """A document from its bytes. Never raises for what they hold: every fault is a problem."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Located(None, {}, (Problem("$", line, f"byte {error.start} is no UTF-8", "Save the file as UTF-8"),), True)
    reader = _Reader(text, most_values)
    try:
        value, end = reader.value(0, ())
        if end := reader.blank(end) - len(text):
            raise _BrokenError(len(text) + end, "something stands after the end of the document")
    except _BrokenError as broken:
        problem = Problem("$", reader.line_of(broken.at), broken.message, "Mend the file; nothing after this place was read.")
        return Located(None, reader.lines, (*reader.problems, problem), True)
    return Located(value, reader.lines, tuple(reader.problems))


class _BrokenError(Exception):
    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at, self.message = at, message


@dataclass
class _Reader:
    text: str
    most_values: int
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    ends: list[int] = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.ends = [found.start() for found in re.finditer("\n", self.text)]

    def line_of(self, at: int) -> int:
        return bisect_right(self.ends, at - 1) + 1

    def blank(self, at: int) -> int:
        found = _BLANK.match(self.text, at)
        return found.end() if found else at

    def fault(self, where: Where, at: int, message: str, remedy: str) -> None:
        self.problems.append(Problem(shown(where), self.line_of(at), message, remedy))

    def value(self, at: int, where: Where) -> tuple[Any, int]:
        """(value, where it ends) of what begins at or after `at`."""
        at = self.blank(at)
        self.count += 1
        if self.count > self.most_values:
            raise _BrokenError(at, f"more than {self.most_values} values")
        if len(where) > MOST_DEPTH:
            raise _BrokenError(at, f"nested deeper than {MOST_DEPTH} levels")
        self.lines.setdefault(where, self.line_of(at))
        first = self.text[at : at + 1]
        if first == "{":
            return self.mapping(at, where)
        if first == "[":
            return self.sequence(at, where)
        return self.string(at, where) if first == '"' else self.plain(at, where)

    def string(self, at: int, where: Where) -> tuple[str, int]:
        try:
            text, end = _STRING.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise _BrokenError(error.pos, error.msg) from error
        if any("\ud800" <= each <= "\udfff" for each in text):
            self.fault(where, at, "half a surrogate pair is no text", "Write the character itself.")
            text = text.encode("utf-8", "replace").decode()
        return text, end

    def plain(self, at: int, where: Where) -> tuple[Any, int]:
        word = _WORD.match(self.text, at)
        if word:
            if word.group() not in _WORDS:
                self.fault(where, at, f"{word.group()[:20]} is no JSON value", "Write text in quotes, an integer, true, false or null.")
            return _WORDS.get(word.group()), word.end()
        number = _NUMBER.match(self.text, at)
        if number is None:
            raise _BrokenError(at, "a value is missing here" if at >= len(self.text) else f"no value begins with {self.text[at]!r}")
        if number.group(1) or number.group(2) or len(number.group().lstrip("-")) > 18:
            self.fault(where, at, f"number {number.group()[:40]} is no integer of at most 18 digits", "Write quantities as text.")
            return 0, number.end()
        return int(number.group()), number.end()

    def sequence(self, at: int, where: Where) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self.blank(at + 1)
        if self.text[at : at + 1] == "]":
            return found, at + 1
        while True:
            item, at = self.value(at, (*where, len(found)))
            found.append(item)
            at, ended = self.next(at, "]")
            if ended:
                return found, at

    def mapping(self, at: int, where: Where) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self.blank(at + 1)
        if self.text[at : at + 1] == "}":
            return found, at + 1
        while True:
            begins = self.blank(at)
            if self.text[begins : begins + 1] != '"':
                raise _BrokenError(begins, "the name of a member is missing here")
            name, at = self.string(begins, where)
            if name in found:
                self.fault((*where, name), begins, "this name stands twice in one object", "Keep one of them.")
            at = self.blank(at)
            if self.text[at : at + 1] != ":":
                raise _BrokenError(at, "a colon is missing here")
            found[name], at = self.value(at + 1, (*where, name))
            at, ended = self.next(at, "}")
            if ended:
                return found, at

    def next(self, at: int, closing: str) -> tuple[int, bool]:
        at = self.blank(at)
        first = self.text[at : at + 1]
        if first not in {",", closing} or not first:
            raise _BrokenError(at, f"a comma or {closing} is missing here")
        return at + 1, first == closing
