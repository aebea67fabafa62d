"""Input made to break the door: no file stops the others, nothing is lost, cut, rounded or counted as another event in silence."""

import gzip
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import Bench

from mc_pipelines.cli import main
from mc_pipelines.errors import UNUSABLE, MissionError
from mc_pipelines.home import Home
from mc_pipelines.intake import try_rows
from mc_pipelines.lake import WHOLE
from mc_pipelines.landing import MOST_LINE, look, unchanged
from mc_pipelines.lint import problems
from mc_pipelines.runner import materialise
from mc_pipelines.starter import write_home

EVENT: Mapping[str, Any] = {
    "id": "e1",
    "source": "edge",
    "type": "http.request",
    "subject": "acme",
    "time": "2026-04-01T12:00:00+02:00",
    "ingested_at": "2026-04-01T10:00:01Z",
    "data": {"bytes": 12, "path": "/x"},
}
HEADER = "id,source,type,subject,time,ingested_at,data.bytes,data.path"
QUOTED = '"/say "'
"""Whole, or cut inside `"/say ""hi""\""`: a closing quote does not tell."""
Judged = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def event(**changes: Any) -> str:
    """One line of JSON: the good event with other values at its top or, for `data`, inside it."""
    return json.dumps({**EVENT, **changes, "data": {**EVENT["data"], **changes.get("data", {})}})


def csv_row(id: str, path: str = "/x") -> str:
    return f"{id},edge,http.request,acme,2026-04-01T12:00:00Z,2026-04-01T12:00:01Z,12,{path}"


def judged(folder: Path, content: str | bytes, name: str = "rows.ndjson", source: str = "usage_events") -> Judged:
    write_home(folder / "home")
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return try_rows(Home(folder / "home"), path, source)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["id"] for row in rows)


@pytest.mark.parametrize("key", ['a"b', "", "*", "$.id", "a.b", "a/b~c", "0", "\u00e9", "a\x00b"])
def test_an_unknown_field_of_any_name_is_kept(tmp_path: Path, key: str) -> None:
    (row,), refused = judged(tmp_path, event(**{key: "top"}, data={key: "inside"}) + "\n")
    assert json.loads(row["extras"]) == {key: "top", f"data.{key}": "inside"}
    assert refused == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (event()[:-1] + ',"q":1,"q":2}', "json:duplicate_key"),
        (event()[:-1] + ',"data.bytes":99}', "json:duplicate_key"),
        (event(data={"bytes": None})[:-1] + ',"data.bytes":12345678901234567890.123456789}', "bytes:precision"),
        (json.dumps({**EVENT, "data": "bytes=12"}), "json:not_an_object"),
        (json.dumps({**EVENT, "data": [{"bytes": 12}]}), "json:not_an_object"),
        (event(type="llm.completion", data={"blocks": "junk"}), "blocks:type"),
        (event(type="llm.completion", data={"blocks": "{}"}), "blocks:type"),
        (event(time="2026-04-01T12:00:00+25:00"), "occurred_at:type"),
        (event(time="2026-04-01T12:00:00+14:01"), "occurred_at:type"),
        (event(time="2026-04-01T12:00:00-05:75"), "occurred_at:type"),
        (event(source="a\x1fb", id="c"), "id:separator"),
        (event(source="a", id="b\x1fc"), "id:separator"),
        (event(id="\ud800"), "json:invalid"),
        (event(id={"a": 1}), "id:type"),
        (event(id=[]), "id:type"),
        (event(id=[1], data={"bytes": {"sent": 1}}), "id:type,bytes:type"),
        (event(data={"path": ["/x"]}), "path:type"),
        (event(data={"path": None})[:-1] + ',"data.path":{}}', "path:type"),
        (event(time="2026-04-01T24:00:00Z"), "occurred_at:type"),
        (event(time="2026-04-01T24:00:00"), "occurred_at:zone"),
    ],
)
def test_a_hostile_line_is_refused_alone(tmp_path: Path, line: str, reason: str) -> None:
    accepted, refused = judged(tmp_path, f"{event(id='before')}\n{line}\n{event(id='after')}\n")
    assert (ids(accepted), [row["reasons"] for row in refused]) == (["after", "before"], [reason])


@pytest.mark.parametrize(
    ("hour", "quantity", "reason"),
    [
        ("2026-04-01T12:00:00Z", "0", None),
        ("2026-04-01T17:45:00+05:45", "1", None),
        ("2026-04-01T12:00:00+05:45", "1", "hour:not_full"),
        ("2026-04-01T12:00:00.000001Z", "1", "hour:not_full"),
        ("2026-04-01T12:59:00Z", "-0.5", "quantity:minimum,hour:not_full"),
        ("2026-04-01T12:00:00Z", "-1", "quantity:minimum"),
    ],
)
def test_the_gateway_counts_full_hours_and_nothing_below_zero(tmp_path: Path, hour: str, quantity: str, reason: str | None) -> None:
    content = f"tenant_id,meter,hour,quantity\nacme,api_requests,{hour},{quantity}\n"
    accepted, refused = judged(tmp_path, content, "log.csv", "gateway_log")
    assert (len(accepted), [row["reasons"] for row in refused]) == ((0, [reason]) if reason else (1, []))


@pytest.mark.parametrize(("id", "kept"), [(7, "7"), (True, "true"), ("{}", "{}"), ("[1]", "[1]"), ("{not json", "{not json")])
def test_a_scalar_and_any_text_is_a_text(tmp_path: Path, id: object, kept: str) -> None:
    accepted, refused = judged(tmp_path, event(id=id) + "\n")
    assert (ids(accepted), refused) == ([kept], [])


def test_the_widest_offsets_on_earth_are_accepted(tmp_path: Path) -> None:
    lines = [event(id=offset, time=f"2026-04-01T12:00:00{offset}") for offset in ("+14:00", "-12:00", "+13:45", "-00:00")]
    accepted, _ = judged(tmp_path, "\n".join(lines) + "\n")
    assert {row["id"]: row["occurred_at"].isoformat() for row in accepted} == {
        "+14:00": "2026-03-31T22:00:00",
        "-12:00": "2026-04-02T00:00:00",
        "+13:45": "2026-03-31T22:15:00",
        "-00:00": "2026-04-01T12:00:00",
    }


@pytest.mark.parametrize("path", ["/" + "x" * MOST_LINE, '"/' + "x" * MOST_LINE + '"'])
def test_a_csv_line_that_is_too_long_is_never_cut_and_accepted(tmp_path: Path, path: str) -> None:
    rows = [csv_row("e1", '"/quoted, so that it is read by hand"'), csv_row("e2", path), csv_row("e3")]
    accepted, refused = judged(tmp_path, "\n".join([HEADER, *rows]) + "\n", "rows.csv")
    assert ids(accepted) == ["e1", "e3"]
    assert [row["reasons"] for row in refused] == ["line:too_long"]


@pytest.mark.parametrize(
    ("content", "accepted", "refused"),
    [
        (f"\n\n{HEADER}\n\n{csv_row('e1')}\n   \n\x0b\n{csv_row('e2')}\n", ["e1", "e2"], []),
        (f'\ufeff"id"{HEADER[2:]}\n{csv_row("e1")}\n', ["e1"], []),
        (f'{HEADER},"a""b",\n{csv_row("e1")},1,2\n', ["e1"], []),
        (f"{HEADER}\n{csv_row('e1')}\n{csv_row('e2')}\r{csv_row('e3')}\n", ["e1"], ["csv:unreadable"]),
        (f"{HEADER},position,landed_path,file,reject,whole,line\n{csv_row('e1')},A,B,C,D,E,F\n", ["e1"], []),
        ("", [], []),
    ],
)
def test_an_odd_csv_keeps_its_rows(tmp_path: Path, content: str, accepted: list[str], refused: list[str]) -> None:
    found = judged(tmp_path, content, "rows.csv")
    assert (ids(found[0]), [row["reasons"] for row in found[1]]) == (accepted, refused)


def test_a_csv_header_that_is_no_text_still_names_its_columns(tmp_path: Path) -> None:
    (row,), _ = judged(tmp_path, f"{HEADER},\u00e9\n{csv_row('e1')},q\n".encode("latin-1"), "rows.csv")
    assert json.loads(row["extras"]) == {"\\xe9": "q"}


@pytest.mark.parametrize("note", ["plain", '"read by hand"'])
def test_a_csv_column_named_like_an_object_is_refused_with_a_reason(tmp_path: Path, note: str) -> None:
    content = f"{HEADER},note,data\n{csv_row('e1')},{note},\n{csv_row('e2')},{note},bytes=12\n"
    accepted, refused = judged(tmp_path, content, "rows.csv")
    assert ids(accepted) == ["e1"]
    assert [(row["offset"], row["reasons"]) for row in refused] == [(2, "json:not_an_object")]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.ndjson.gz", b"", "no gzip stream"),
        ("a.csv.gz", gzip.compress(b"id\n", mtime=0)[:-6] + b"123456", "damaged"),
        ("a.parquet", b"PAR1PAR1", "not readable as Parquet"),
        ("a.parquet", b"PAR1\xff\xff\xff\xffPAR1", "not readable as Parquet"),
        ("a.csv", f"{HEADER}\r{csv_row('e1')}\r{csv_row('e2')}\r".encode(), "CR alone"),
        ("a.csv", f"{HEADER}\n{csv_row('e1')}\n{csv_row('e2', '/whole-or-cu')}".encode(), "no line end"),
        ("a.csv", f"{HEADER}\n{csv_row('e1', QUOTED)}".encode(), "no line end"),
        ("a.csv", f"{HEADER}\n{csv_row('e1')}\n".encode("utf-16"), "UTF-16"),
        ("a.ndjson", f"{event()}\n".encode("utf-16"), "UTF-16"),
        ("a.csv", HEADER[:-3].encode(), "no line end"),
        ("a.csv.gz", gzip.compress(f"{HEADER}\n{csv_row('e1')}".encode(), mtime=0), "no line end"),
    ],
)
def test_a_broken_file_is_left_with_the_reason_and_stops_nothing(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    folder = tmp_path / "landing" / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    (folder / "good.ndjson").write_text(event() + "\n")
    found, left = look(Home(tmp_path), "usage_events", "2026-04-01")
    assert [file.path.name for file in found] == ["good.ndjson"]
    assert [(name in line, why in line) for line in left] == [(True, True)]
    with pytest.raises(MissionError, match=why):
        judged(tmp_path, content, name)


@pytest.mark.parametrize(("name", "closing"), [("a.csv", b"\n"), ("a.csv", b"\r\n"), ("a.csv.gz", gzip.compress(b"\n", mtime=0))])
def test_a_csv_that_only_lacks_its_last_line_end_is_whole_once_it_has_it(tmp_path: Path, name: str, closing: bytes) -> None:
    content = f"{HEADER}\n{csv_row('e1')}\n{csv_row('e2')}".encode()
    content = gzip.compress(content) if name.endswith(".gz") else content
    accepted, refused = judged(tmp_path, content + closing, name)
    assert (ids(accepted), refused) == (["e1", "e2"], [])


def test_a_line_end_added_after_landing_changes_no_row_and_is_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    (folder / "a.ndjson").write_text(event())
    (first,), _ = look(Home(tmp_path), "usage_events", "2026-04-01")
    known = {first.name: (first.scan.sha256, first.bytes)}
    for added, allowed in (("\n", True), ("\r\n", True), ("\n\n", False), (f"\n{event(id='e2')}\n", False)):
        (folder / "a.ndjson").write_text(event() + added)
        (grown,), _ = look(Home(tmp_path), "usage_events", "2026-04-01")
        if allowed:
            unchanged([grown], known)
        else:
            with pytest.raises(MissionError, match="grew after landing"):
                unchanged([grown], known)


def parquet(folder: Path, **columns: Any) -> bytes:
    """A Parquet file of two good rows, with other columns."""
    flat = {**EVENT, "data.bytes": 12, "data.path": "/x", "id": ["e1", "e2"]}
    table = pa.table({name: value if isinstance(value, list) else [value] * 2 for name, value in flat.items() if name != "data"})
    for name, values in columns.items():
        table = table.drop_columns([name] if name in table.column_names else []).append_column(name, values)
    pq.write_table(table, folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def test_nanoseconds_with_a_zone_are_read_and_never_cut(tmp_path: Path) -> None:
    times = pa.array([1_775_044_800_123_456_000, 1_775_044_800_123_456_001], pa.timestamp("ns", "UTC"))
    accepted, refused = judged(tmp_path, parquet(tmp_path, time=times), "rows.parquet")
    assert [row["occurred_at"].isoformat() for row in accepted] == ["2026-04-01T12:00:00.123456"]
    assert [row["reasons"] for row in refused] == ["occurred_at:type"]


def test_a_decimal_with_more_places_is_accepted_where_it_is_exact(tmp_path: Path) -> None:
    numbers = pa.array([Decimal("1.5"), Decimal("1.000000000000000001")], pa.decimal128(38, 18))
    accepted, refused = judged(tmp_path, parquet(tmp_path, **{"data.bytes": numbers}), "rows.parquet")
    assert [row["bytes"] for row in accepted] == [Decimal("1.5")]
    assert [row["reasons"] for row in refused] == ["bytes:type"]


def test_a_line_of_many_unknown_fields_takes_no_more_than_its_share_of_memory(tmp_path: Path) -> None:
    many = {f"k{number:05}": number for number in range(10_000)}
    content = event(id="e1") + "\n" + event(id="e2", pad="x" * 300_000, **many, data=many) + "\n"
    accepted, refused = judged(tmp_path, content)
    assert (ids(accepted), refused) == (["e1", "e2"], [])
    extras = json.loads(next(row["extras"] for row in accepted if row["id"] == "e2"))
    assert (len(extras), extras["k09999"], extras["data.k00000"]) == (20_001, "9999", "0")


def test_a_gzip_file_that_only_one_reader_takes_is_left_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match=r"rows\.ndjson\.gz: cannot be read \(.*\); land a whole copy"):
        judged(tmp_path, gzip.compress(event().encode() + b"\n") + bytes(100), "rows.ndjson.gz")


@pytest.mark.parametrize(("names", "said"), [(["ID"], "ID, id"), (["data.bytes"], "data.bytes")])
def test_a_parquet_column_that_stands_twice_is_named(tmp_path: Path, names: list[str], said: str) -> None:
    table = pq.read_table(pa.BufferReader(parquet(tmp_path, **{"data.bytes": pa.array([1, 2])})))
    doubled = pa.Table.from_arrays([*table.columns, pa.array(["a", "b"])], names=[*table.column_names, *names])
    pq.write_table(doubled, tmp_path / "doubled.parquet")
    with pytest.raises(MissionError, match=f"column {said}: stands twice"):
        judged(tmp_path, (tmp_path / "doubled.parquet").read_bytes(), "rows.parquet")


def test_a_parquet_column_whose_name_is_no_text_is_left_with_a_reason(tmp_path: Path) -> None:
    content = parquet(tmp_path, colour=pa.array(["a", "b"])).replace(b"colour", b"c\xff\xfeour")
    with pytest.raises(MissionError, match="not readable as Parquet"):
        judged(tmp_path, content, "rows.parquet")


def test_a_field_inside_an_object_that_stands_twice_is_named(tmp_path: Path) -> None:
    nested = pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], names=["bytes", "Bytes"])
    with pytest.raises(MissionError, match=r"column data\.Bytes, data\.bytes: stands twice"):
        judged(tmp_path, parquet(tmp_path, data=nested), "rows.parquet")


@pytest.mark.parametrize("name", ["landed_path", "Landed_Row", "file_row_number"])
def test_a_parquet_column_with_a_reader_s_own_name_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissionError, match=rf"column {name}: .*another"):
        judged(tmp_path, parquet(tmp_path, **{name: pa.array(["a", "b"])}), "rows.parquet")


def test_a_column_that_stands_both_nested_and_flat_is_refused_where_the_two_differ(tmp_path: Path) -> None:
    nested = pa.array([{"bytes": 12, "path": "/x", "note": "a"}, {"bytes": 12, "path": "/x", "note": None}])
    rows = parquet(tmp_path, data=nested, **{"data.bytes": pa.array([12, 99]), "data.note": pa.array(["a", "b"])})
    accepted, refused = judged(tmp_path, rows, "rows.parquet")
    assert [(row["id"], row["bytes"], json.loads(row["extras"])) for row in accepted] == [("e1", 12, {"data.note": "a"})]
    assert [row["reasons"] for row in refused] == ["json:duplicate_key"]
    assert json.loads(refused[0]["raw"])["data.bytes"] == 99


def test_a_flat_column_beside_a_nested_one_fills_what_that_lacks(tmp_path: Path) -> None:
    nested = pa.array([{"path": "/x"}, {"path": None}])
    accepted, refused = judged(tmp_path, parquet(tmp_path, data=nested, **{"data.path": pa.array([None, "/y"])}), "rows.parquet")
    assert (sorted((row["id"], row["path"]) for row in accepted), refused) == ([("e1", "/x"), ("e2", "/y")], [])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("id", pa.array([{"a": 1}, None]), "id:type,id:missing"),
        ("id", pa.array([["a"], []]), "id:type"),
        ("data", pa.array(['{"bytes": 12}', "x"]), "json:not_an_object"),
    ],
)
def test_a_parquet_column_of_another_shape_is_refused(tmp_path: Path, name: str, value: Any, reason: str) -> None:
    accepted, refused = judged(tmp_path, parquet(tmp_path, **{name: value}), "rows.parquet")
    assert (accepted, ",".join(dict.fromkeys(row["reasons"] for row in refused))) == ([], reason)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_refused_row_shows_its_own_columns_and_no_others(tmp_path: Path, name: str) -> None:
    content: str | bytes = f"{HEADER}\n{csv_row('e1').replace('acme', 'nobody')}\n"
    if name.endswith("parquet"):
        content = parquet(tmp_path, subject=pa.array(["acme", "nobody"]))
    _, (refused,) = judged(tmp_path, content, name)
    assert set(json.loads(refused["raw"])) == {*(set(EVENT) - {"data"}), "data.bytes", "data.path"}


def test_a_parquet_file_with_damaged_pages_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match=r"rows\.parquet: cannot be read \((?!.*/).*\); land a whole copy"):
        judged(tmp_path, damaged(parquet(tmp_path)), "rows.parquet")


def damaged(content: bytes) -> bytes:
    """Its first page is no page any more; the footer is as it was."""
    return content[:4] + bytes(26) + content[30:]


def test_a_parquet_file_with_damaged_pages_is_left_and_the_others_and_their_days_go_on(bench: Bench) -> None:
    good = parquet(bench.home.root)
    for day, name, content in (
        ("2026-04-01", "a.parquet", damaged(good)),
        ("2026-04-01", "b.ndjson", event(id="e3").encode() + b"\n"),
        ("2026-04-02", "a.parquet", good),
    ):
        folder = bench.home.landing / "usage_events" / day
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    def staged() -> tuple[list[Any], list[Any]]:
        models = bench.shop.catalog.models
        materialise(bench.shop, models["staging.usage_events"], ["2026-04-01", "2026-04-02"])
        left = "SELECT CAST(landing_day AS VARCHAR), file, rows_in FROM landing.usage_events WHERE left_because LIKE 'cannot be read%'"
        rows = "SELECT CAST(landing_day AS VARCHAR), id FROM staging.usage_events ORDER BY ALL"
        return bench.rows(rows, "staging.usage_events"), bench.rows(left, "landing.usage_events")

    for key in ("reference.tenants", "reference.calendar"):
        materialise(bench.shop, bench.shop.catalog.models[key], [WHOLE])
    good_day = [("2026-04-02", "e1"), ("2026-04-02", "e2")]
    assert staged() == ([("2026-04-01", "e3"), *good_day], [("2026-04-01", "usage_events/2026-04-01/a.parquet", 0)])
    (bench.home.landing / "usage_events" / "2026-04-01" / "a.parquet").write_bytes(good)
    assert staged() == ([("2026-04-01", "e1"), ("2026-04-01", "e2"), ("2026-04-01", "e3"), *good_day], [])


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest_of_the_file(tmp_path: Path) -> None:
    rows = [csv_row("e1"), csv_row("e2", '"/open'), csv_row("e3"), csv_row("e4")]
    accepted, refused = judged(tmp_path, "\n".join([HEADER, *rows]) + "\n", "rows.csv")
    assert ids(accepted) == ["e1"]
    assert [(row["reasons"], row["raw"]) for row in refused] == [("csv:unreadable", row) for row in rows[1:]]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("meters", "meters: []\nmeters: []\n", r"meters\.yaml:2: .*key `meters` stands twice"),
        (
            "tenants",
            "tenants:\n  - tenant_id: a\n    name: A\n    name: B\n",
            r"tenants\.yaml:4: .*key `name` stands twice",
        ),
        (
            "tenants",
            "tenants:\n  - {tenant_id: a, name: A, zone: localtime, currency: EUR, plan: p, grace_days: 1}\n",
            r"tenants\.yaml:2: .*localtime is no IANA time zone",
        ),
        (
            "tenants",
            "tenants:\n  - {tenant_id: a, name: A, zone: UTC, currency: ZZZ, plan: p, grace_days: 1}\n",
            r"tenants\.yaml:2: .*ZZZ is no ISO 4217 currency.*EUR",
        ),
        (
            "tenants",
            "tenants:\n  - {tenant_id: a, name: A, zone: UTC, currency: EUR, plan: p, grace_days: yes}\n",
            r"tenants\.yaml:2: .*grace_days: .*a yes or no.*\(got True\)",
        ),
        ("tenants", "tenants:\n  - {tenant_id: no, name: A}\n", r"tenants\.yaml:2: .*tenant_id: .*a yes or no.*quotes.*\(got False\)"),
        ("calendar", "start: 20260101\nend: 2027-12-31\n", r"calendar\.yaml:1: start: .*a number.*YYYY-MM-DD.*\(got 20260101\)"),
        (
            "meters",
            "meters:\n  - {meter: m, type: usage.ok, aggregation: count, unit: u}\n  - {meter: k, type: usage.No, aggregation: count, unit: u}\n",
            r"meters\.yaml:3: meter k: .*'usage.No'.*usage_events\.odcs\.yaml",
        ),
        (
            "explained",
            "explained:\n  - {tenant_id: gone, meter: api_requests, period: 2026-04, reason: r, note: n, owner: o, expires: 2026-06-30}\n",
            r"explained\.yaml:2: tenant_id 'gone' .*tenants",
        ),
        (
            "explained",
            "explained:\n  - {tenant_id: acme, meter: gone, period: 2026-04, reason: r, note: n, owner: o, expires: 2026-06-30}\n",
            r"explained\.yaml:2: meter 'gone' .*meters",
        ),
        (
            "conflicts",
            "conflicts:\n  - {tenant_id: gone, source: s, id: i, choice: first, reason: r, owner: o}\n",
            r"conflicts\.yaml:2: tenant_id 'gone' .*tenants",
        ),
        (
            "retention",
            "evidence_years: yes\n",
            r"retention\.yaml:1: evidence_years: .*a yes or no.*\(got True\)\. Known keys: evidence_years",
        ),
        ("retention", "landing_days: 0\n", r"retention\.yaml:1: landing_days: .*greater than or equal to 1 \(got 0\)"),
        ("retention", "quarantine_days: no\n", r"retention\.yaml:1: quarantine_days: .*a yes or no"),
        ("retention", "\nevidence_year: 7\n", r"retention\.yaml:2: evidence_year: .*\(got 7\)"),
        ("sources", "sources:\n  1: {about: a, owner: b, start: 2026-01-01}\n", r"sources\.yaml:2: 1 is no name"),
        ("calendar", "start: 0001-01-01\nend: 9999-12-31\n", r"calendar\.yaml:1: start: .*greater than"),
        (
            "explained",
            "explained:\n  - {tenant_id: a, meter: m, period: 2026-13, reason: r, note: n, owner: o, expires: 2026-01-01}\n",
            r"explained\.yaml:2: .*2026-13",
        ),
        ("meters", "meters:\n  - {meter: m, type: http.request, aggregation: sum, value: path, unit: u}\n", r"meter m: sum .*'path'.*text"),
        (
            "meters",
            "meters:\n  - {meter: m, type: http.request, aggregation: unique_count, value: bytes, list: true, unit: u}\n",
            r"meter m: unique_count of a list .*'bytes'.*number",
        ),
    ],
)
def test_lint_names_what_a_run_would_stumble_over(tmp_path: Path, kind: str, text: str, said: str) -> None:
    write_home(tmp_path)
    (tmp_path / "reference" / f"{kind}.yaml").write_text(text)
    assert re.search(said, "\n".join(problems(Home(tmp_path))))


@pytest.mark.parametrize("name", ["usage_event/2026-04-01", "usage_events/20260401", "usage_events/2026-W14-3", "usage_events/2026-4-1"])
def test_lint_and_run_name_a_folder_that_nothing_reads(tmp_path: Path, name: str) -> None:
    write_home(tmp_path)
    (tmp_path / "landing" / name).mkdir(parents=True)
    (line,) = problems(Home(tmp_path))
    assert line.startswith(f"landing/{name.removesuffix('/2026-04-01')}: ")


def test_a_day_that_is_a_link_to_another_is_not_landed_twice(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "gateway_log"
    (folder / "2026-04-01").mkdir(parents=True)
    (folder / "2026-04-01" / "a.csv").write_text("tenant_id,meter,hour,quantity\n")
    (folder / "2026-04-02").symlink_to("2026-04-01")
    found, left = look(Home(tmp_path), "gateway_log", "2026-04-02")
    assert (found, len(left)) == ([], 1)
    assert "gateway_log/2026-04-02: a link" in left[0]


def test_a_replay_of_no_day_is_left_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    (folder / "replay-of-2026-13-99.ndjson").write_text(event() + "\n")
    found, left = look(Home(tmp_path), "usage_events", "2026-04-01")
    assert (found, len(left)) == ([], 1)
    assert "2026-13-99 is no day" in left[0]


@pytest.mark.parametrize("arguments", [["init", "a-file"], ["simulate", "made", "--start", "abc"]])
def test_what_cannot_be_carried_out_ends_with_two_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == UNUSABLE
    assert done.stderr.startswith("mission: ")


def test_ctrl_c_is_no_failed_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Path) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("mc_pipelines.starter.write_home", interrupted)
    done = CliRunner().invoke(main, ["init", "x"])
    assert done.exit_code == UNUSABLE
    assert "stopped" in done.stderr
