"""Digests written out here were made with coreutils: `printf '...' | sha256sum`."""

import hashlib
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from mc_pipelines.evidence.canonical import canonical, decimal_text, instant, parse, parse_instant, rows_bytes, rows_digest

NAIVE = datetime(2026, 4, 1)  # noqa: DTZ001 - DuckDB hands instants over like this, in UTC


def test_keys_are_sorted_and_text_is_utf8() -> None:
    assert canonical({"b": [1, True, None, ""], "a": "é"}) == '{"a":"é","b":[1,true,null,""]}'.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.500"), b'"1.500"'),
        (Decimal("-0.00"), b'"0.00"'),
        (Decimal("1E+3"), b'"1000"'),
        (Decimal("1E-9"), b'"0.000000001"'),
        (Decimal("12345678901234567890123456789.123456789"), b'"12345678901234567890123456789.123456789"'),
        (NAIVE, b'"2026-04-01T00:00:00.000000Z"'),
        (datetime(2026, 4, 1, 2, tzinfo=timezone(timedelta(hours=2))), b'"2026-04-01T00:00:00.000000Z"'),
        (NAIVE.replace(year=1, microsecond=7), b'"0001-04-01T00:00:00.000007Z"'),
        (date(2026, 4, 1), b'"2026-04-01"'),
        ((1, (2,)), b"[1,[2]]"),
        (10**40, b"1" + b"0" * 40),
    ],
)
def test_each_type_has_one_text(value: Any, text: bytes) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize("value", [1.0, {"a": [0.5]}, {1: "a"}, b"bytes", {1, 2}, timedelta(1), object()])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="canonical"):
        canonical(value)


def test_subclasses_that_hold_more_are_refused() -> None:
    class Nanoseconds(datetime):
        pass

    with pytest.raises(TypeError, match="Nanoseconds"):
        canonical(Nanoseconds(2026, 4, 1))


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_decimals_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        decimal_text(Decimal(text))


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates"):
        canonical("\ud800")


def test_instants_read_back() -> None:
    moment = datetime(2026, 4, 30, 23, 59, 59, 999999, tzinfo=UTC)
    assert parse_instant(instant(moment)) == moment
    for text in (
        "2026-04-30T23:59:59Z",
        "2026-04-30T23:59:59.000000",
        "2026-04-30T23:59:59.000000+00:00",
        "0001-01-01T00:00:00.000000+14:00",
    ):
        with pytest.raises(ValueError, match="not an instant"):
            parse_instant(text)


COLUMNS = ["tenant_id", "meter", "quantity"]
ROWS = [("b", "api", Decimal("2.00")), ("a", "api", Decimal("10.00")), ("a", None, None)]
# printf '["a","api","10.00"]\n["a",null,null]\n["b","api","2.00"]\n' | sha256sum
ROWS_SHA256 = "826ca363805cff09b897b9b9aae846d9a33b3b48f1c74a92aa10cc41e8855d72"


def test_rows_are_digested_in_the_order_of_their_grain() -> None:
    found = rows_digest(COLUMNS, ROWS, ["tenant_id", "meter"])
    assert found == hashlib.sha256(b'["a","api","10.00"]\n["a",null,null]\n["b","api","2.00"]\n').hexdigest() == ROWS_SHA256
    assert rows_digest(COLUMNS, reversed(ROWS), ["tenant_id", "meter"]) == found


def test_null_is_not_the_empty_string() -> None:
    assert rows_digest(["a"], [(None,)], ["a"]) != rows_digest(["a"], [("",)], ["a"])


def test_tables_without_a_grain_or_a_scale_are_refused() -> None:
    with pytest.raises(ValueError, match=r"share the grain \(tenant_id\) = \[\"a\"\]"):
        rows_digest(COLUMNS, ROWS, ["tenant_id"])
    with pytest.raises(ValueError, match="'quantity' mixes decimals of scale 2 and 1"):
        rows_digest(COLUMNS, [("a", "x", Decimal("1.00")), ("b", "x", Decimal("1.0"))], ["tenant_id"])
    with pytest.raises(ValueError, match="1 values for 3 columns"):
        rows_digest(COLUMNS, [("a",)], ["tenant_id"])
    with pytest.raises(TypeError, match="float"):
        rows_digest(["a"], [(0.1,)], ["a"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b"1.5", "no integer"),
        (b"NaN", "no integer"),
        (b"1e400", "no integer"),
        (b"[" * 100000, "deeper than 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32"),
        (b"9" * 5000, "digits"),
        (b"{", "Expecting"),
        (b'"\xff"', "decode"),
        (b" " * 101, "larger than the 100"),
    ],
)
def test_hostile_json_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(data, limit=100 if data.startswith(b" ") else 1 << 20)


def test_brackets_in_text_are_not_depth() -> None:
    assert parse(canonical({"a": "[" * 100 + '\\"' + "{" * 100})) == {"a": "[" * 100 + '\\"' + "{" * 100}


def test_rows_digest_is_that_of_the_rows_as_written() -> None:
    written = rows_bytes(COLUMNS, ROWS, ["tenant_id", "meter"])
    assert written == b'["a","api","10.00"]\n["a",null,null]\n["b","api","2.00"]\n'
    assert hashlib.sha256(written).hexdigest() == rows_digest(COLUMNS, ROWS, ["tenant_id", "meter"])
    assert rows_bytes(COLUMNS, [], ["tenant_id"]) == b""
