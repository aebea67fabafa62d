"""YAML that people wrote, read strictly and within bounds: whatever a file holds, its reader ends in a value or in a MissionError.

What a declaration must say belongs to its reader. Here it only has to be YAML without doubt: a plain file, no key twice, not nested without end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mc_pipelines.disk import read_bounded, there
from mc_pipelines.errors import MissionError

Where = Sequence[int | str]
"""The way to a node: keys and positions from the top."""
MOST_BYTES, MOST_DEPTH, MOST_REPEATED, LONGEST = 64 << 20, 40, 10_000, 100
"""The largest file; levels of nesting; values that aliases repeat, all together; characters of a number or an instant."""
_WORDS = {"int": "whole number", "float": "number", "timestamp": "day or instant that exists", "bool": "yes or no", "binary": "base64"}


# The C parser reads what SafeLoader reads, ten times as fast; it is there wherever PyYAML's wheel is.
class StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # whichever of the two there is
    """Refuses a key that stands twice, of which YAML's own loader takes the last in silence, and names the line of what is no value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key `{key.value}` stands twice; keep one", key.start_mark)
            seen.add(str(key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML lets what int() and date() say of a bad value escape as it is."""
        kind = node.tag.rpartition(":")[2]
        try:
            if isinstance(node, yaml.ScalarNode) and kind in {"int", "float", "timestamp"} and len(node.value) > LONGEST:
                raise ValueError("longer than any number")  # one in base 60 takes the square of its length, and Python prints no long one
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            written = repr(node.value[:LONGEST]) if isinstance(node, yaml.ScalarNode) else "this"
            said = f"{written} is no {_WORDS.get(kind, kind)}; mend it, or put a text in quotes"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error


def load_yaml(path: Path, loader: type[yaml.SafeLoader] = StrictLoader) -> Any:
    """What a file holds. MissionError names file, line, value and remedy."""
    return parsed(path, text_of(path), loader)


def parsed(path: Path, text: str, loader: type[yaml.SafeLoader] = StrictLoader) -> Any:
    """What a text holds that stands at the head of `path`."""
    try:
        _bound(text, loader)
        return yaml.load(text, loader)
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = min(mark.line, text.count("\n")) + 1 if mark else 1  # where nothing follows, the mark lies behind the last line
        parts = (getattr(error, "context", None), getattr(error, "problem", None) or error)
        said = " ".join(" ".join(str(part).split()) for part in parts if part)
        raise MissionError(f"{path}:{line}: not readable YAML: {said}.") from error


def bytes_of(path: Path) -> bytes:
    """The bytes of a plain file of bounded size, be it YAML or the CSV that may stand in its place. MissionError for anything else."""
    if not there(path):
        raise MissionError(f"{path}: missing. Name a file that exists; `mission init DIR` writes those to start from.")
    return read_bounded(path, MOST_BYTES)


def text_of(path: Path) -> str:
    """The text of a plain file of bounded size. MissionError where there is none, or it is not UTF-8."""
    try:
        return bytes_of(path).decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise MissionError(f"{path}:{line}: not readable YAML: byte {error.start} is no UTF-8. Save the file as UTF-8.") from error


def line_at(path: Path, where: Where, loader: type[yaml.SafeLoader] = StrictLoader) -> int:
    """The line of the deepest node of `where` that the file has; the file has been read before, so that it can be."""
    return line_in(text_of(path), where, loader)


def line_in(text: str, where: Where, loader: type[yaml.SafeLoader] = StrictLoader) -> int:
    """The same of a text. Steps that are not in it, such as the name of a model, are skipped."""
    node, line = yaml.compose(text, loader), 1
    for step in where:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode) and step in (found := {key.value: (key, value) for key, value in node.value}):
            key, node = found[str(step)]
            line = key.start_mark.line + 1
    return line


def _bound(text: str, loader: type[yaml.SafeLoader]) -> None:
    """Refuse what the composer, or whoever walks its result, would not come back from. The parser's events need no stack of ours."""
    opened: list[tuple[str | None, int]] = []
    sizes: dict[str | None, int] = {}
    values = repeated = 0
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in opened):
                _refuse(event, f"alias *{event.anchor} stands inside what it names; write the value out")
            repeated += sizes.get(event.anchor, 0)
            values += sizes.get(event.anchor, 0)
            if repeated > MOST_REPEATED:
                _refuse(event, f"its aliases repeat more than {MOST_REPEATED} values; write them out")
        elif isinstance(event, yaml.CollectionStartEvent):
            values += 1
            opened.append((event.anchor, values))
            if len(opened) > MOST_DEPTH:
                _refuse(event, f"nested deeper than {MOST_DEPTH} levels; no declaration is")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = values - before + 1
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor:
                sizes[event.anchor] = 1


def _refuse(event: Any, why: str) -> None:
    raise yaml.composer.ComposerError(None, None, why, event.start_mark)
