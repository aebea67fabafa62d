"""Bad rows of every kind, each with the reason that a contract must give: what `simulate` plants, as bytes of JSON Lines.

Only the making of rows belongs here; how a row is judged stands in `contracts.py` and `staging.py`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Event = Mapping[str, Any]
Spoil = Callable[[Event], bytes]
TOO_LONG = (1 << 20) + 1
"""Bytes of a line that is longer than any row may be."""


def line(event: Event) -> bytes:
    """An event as one line of JSON, without the line end."""
    return json.dumps(event, separators=(",", ":")).encode()


def _with(**changes: Any) -> Spoil:
    return lambda event: line({**event, **changes})


def _bytes(value: Any) -> Spoil:
    return lambda event: line({**event, "data": {**event["data"], "bytes": value}})


def _raw_number(text: bytes) -> Spoil:
    return lambda event: _bytes("@")(event).replace(b'"@"', text)


def _without(name: str) -> Spoil:
    return lambda event: line({key: value for key, value in event.items() if key != name})


def _again(event: Event) -> bytes:
    return line(event)[:-1] + b',"id":"again"}'


def _at(form: str) -> Spoil:
    return lambda event: line({**event, "time": form.format(time=event["time"][:26], day=event["time"][:10])})


KINDS: tuple[tuple[str, Spoil], ...] = (
    ("tenant_id:unknown_tenant", _with(subject="nobody")),
    ("tenant_id:unknown_tenant", _with(subject="<script>alert(1)</script>'; DROP TABLE tenants; --")),
    ("tenant_id:missing", _without("subject")),
    ("id:missing", _without("id")),
    ("id:maxLength", _with(id="x" * 501)),
    ("type:pattern", _with(type="http.teapot")),
    ("occurred_at:zone", _at("{time}")),
    ("occurred_at:type", _at("{day}T23:59:60Z")),
    ("occurred_at:type", _at("{day}")),
    ("occurred_at:range", _with(time="0001-01-01T00:00:00Z")),
    ("occurred_at:range", _with(time="9999-12-31T23:59:59Z")),
    ("occurred_at:outside_calendar", _with(time="1999-12-31T23:59:59Z")),
    ("bytes:minimum", _bytes(-1)),
    ("bytes:type", _bytes({"sent": 12})),
    ("bytes:type", _bytes(True)),
    ("bytes:type", _bytes("NaN")),
    ("bytes:type", _raw_number(b"NaN")),
    ("bytes:type", _raw_number(b"1e400")),
    ("bytes:type", _bytes("-Infinity")),
    ("bytes:type", _bytes("9" * 30)),
    ("bytes:precision", _raw_number(b"12345678901234567890.123456789")),
    ("amends:missing", _with(kind="void")),
    ("json:duplicate_key", _again),
    ("json:invalid", lambda event: line(event)[:-3]),
    ("json:not_an_object", lambda event: b"[" + line(event) + b"]"),
    ("line:nul_byte", lambda event: line(event)[:20] + b"\0" + line(event)[20:]),
    ("line:not_utf8", lambda event: line(event)[:20] + b"\xff\xfe" + line(event)[20:]),
)
"""(reason, how a good event is spoilt so that exactly this reason holds)."""


def spoilt(event: Event, number: int) -> tuple[str, bytes]:
    """The reason and the line of the `number`-th bad row: number 0 is too long, the others go through every kind in turn."""
    if number == 0:
        return "line:too_long", line({**event, "note": "x" * TOO_LONG})
    reason, spoil = KINDS[number % len(KINDS)]
    return reason, spoil(event)
