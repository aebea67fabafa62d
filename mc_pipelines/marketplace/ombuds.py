"""The whole trail of one source or tenant for the Ombuds: what was asked, decided, demoted and said, with personal data left out.

What may be shown is an allow list (`Redaction` in declared.py). A field that is not on it is counted, not named, since its name may tell as
much as its value; a field on it whose value has another form than declared is withheld. Signing and bundling belong to the evidence.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Any, Literal

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, instant
from mc_pipelines.marketplace.declared import Form, Redaction, Rule

WITHHELD = "[withheld]"
KINDS = tuple(Redaction.model_fields)
"""requests, packets, decisions, demotions, feedback."""
KEY_BYTES = 32
MOST_NUMBER = 999_999
"""A longer number might be a telephone's."""
EARLIEST = "2020-01-01"
"""Nothing of the marketplace is older; an older day might be the one on which somebody was born."""
_ID = re.compile(r"(?=.{1,64}\Z)(?!.*[0-9]{7})[a-z][a-z0-9]*(?:[._/:-][a-z0-9]+)*")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """A redacted row. `at` is its first instant, empty without one; `unlisted` counts its fields that nobody declared."""

    kind: str
    at: str
    fields: Mapping[str, Any]
    unlisted: int

    def document(self) -> dict[str, Any]:
        return {"kind": self.kind, "fields": self.fields, "unlisted": self.unlisted}


@dataclass(frozen=True)
class Export:
    """A trail as JSON Lines (the first says what it is) and as a page of HTML; the same rows give the same bytes in any order."""

    lines: bytes
    page: bytes
    counts: Mapping[str, int]


def export(
    subject: Literal["source", "tenant"],
    subject_id: str,
    rows: Mapping[str, Iterable[Mapping[str, Any]]],
    rules: Redaction,
    key: bytes,
    as_of: datetime,
) -> Export:
    """The trail of a source or tenant at `as_of` (naive is UTC). `rows` by kind hold plain values: text, integers, booleans, dates, instants.

    `key` has 32 bytes and hashes what is declared so. MissionError for a row of another source or tenant, whose values are not repeated.
    """
    if not _ID.fullmatch(subject_id):
        raise MissionError(f"the id of a {subject} is lower-case letters and digits with . _ / : - between; this is none")
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
    if odd := sorted(set(rows) - set(KINDS)):
        raise ValueError(f"no kind of record is called {odd[0]!r}; there are {', '.join(KINDS)}")
    records = []
    for kind in KINDS:
        for number, row in enumerate(rows.get(kind, ()), 1):
            if row.get(f"{subject}_id", subject_id) != subject_id:
                raise MissionError(f"row {number} of {kind} is of another {subject} than {subject_id}. Give only rows of this one.")
            records.append(redacted(kind, row, getattr(rules, kind), key))
    records.sort(key=lambda each: (each.at, KINDS.index(each.kind), canonical(each.document())))
    counts = {kind: sum(each.kind == kind for each in records) for kind in KINDS}
    head = {"export": "ombuds", "subject": subject, "subject_id": subject_id, "as_of": instant(as_of), "records": counts}
    lines = b"".join(canonical(each) + b"\n" for each in [head, *(record.document() for record in records)])
    return Export(lines, _page(head, records), counts)


def redacted(kind: str, row: Mapping[str, Any], rule: Rule, key: bytes) -> Record:
    """What the rule lets through of a row; a declared field that is absent or null stays so."""
    declared = [*rule.keep, *rule.words, *rule.hash, *rule.withhold, *rule.text]
    fields = {name: _shown(name, row[name], rule, key) for name in declared if name in row}
    instants = (fields.get(name) for name, form in rule.keep.items() if form == "instant")
    at = next((each for each in instants if each and each != WITHHELD), "")
    return Record(kind, at, fields, len(row.keys() - set(declared)))


def _shown(name: str, value: Any, rule: Rule, key: bytes) -> Any:
    if value is None:
        return None
    if name in rule.keep:
        return _formed(value, rule.keep[name])
    if name in rule.hash:
        return _hashed(value, key)
    words = rule.words.get(name, ())
    return value if isinstance(value, str) and (value in words or name in rule.text) else WITHHELD


def _formed(value: Any, form: Form) -> Any:
    """The value where it has the form, as JSON has it; else that it is withheld. Nothing nested has a form."""
    if type(value) is bool:
        return value if form == "flag" else WITHHELD
    if type(value) is int:
        return value if form == "number" and abs(value) <= MOST_NUMBER else WITHHELD
    if type(value) is datetime:
        return _instant(instant(value)) if form == "instant" else WITHHELD
    if type(value) is date:
        return _formed(value.isoformat(), form)
    if type(value) is not str:
        return WITHHELD
    if form == "instant":
        return _instant(value)
    if form == "day" and value < EARLIEST:
        return WITHHELD
    pattern = {"id": _ID, "day": _DAY, "digest": _DIGEST}.get(form)
    return value if pattern and pattern.fullmatch(value) else WITHHELD


def _instant(text: str) -> str:
    if not _INSTANT.fullmatch(text):
        return WITHHELD
    try:
        found = instant(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return WITHHELD
    return found if found >= EARLIEST else WITHHELD


def _hashed(value: Any, key: bytes) -> str:
    """HMAC-SHA-256 (RFC 2104) of a text in UTF-8, of anything else in JSON."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return "hmac-sha256:" + hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _page(head: Mapping[str, Any], records: Sequence[Record]) -> bytes:
    title = f"Trail of {head['subject']} {head['subject_id']}"
    counted = ", ".join(f"{count} {kind}" for kind, count in head["records"].items())
    body = "".join(_row(each) for each in records)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n</head>\n<body>\n'
        f"<h1>{escape(title)}</h1>\n<p>As of {head['as_of']}: {counted}. {escape(WITHHELD)} stands for what may not be shown; "
        f"people are keyed hashes, equal ones the same person.</p>\n"
        f'<table>\n<tr><th scope="col">At</th><th scope="col">Record</th><th scope="col">What it says</th></tr>\n{body}</table>\n</body>\n</html>\n'
    ).encode()


def _row(record: Record) -> str:
    said = [f"{name}: {'none' if value is None else value}" for name, value in record.fields.items()]
    if record.unlisted:
        said.append(f"{record.unlisted} field(s) that are not shown")
    cells = (record.at, record.kind, "; ".join(said))
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>\n"
