"""Rows at the door: every bad row ends in quarantine with its reason, every format gives the same rows, nothing vanishes."""

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.intake import try_rows
from mc_pipelines.landing import landing_days, look, single, unchanged
from mc_pipelines.odcs import load_contract
from mc_pipelines.starter import write_home

BASE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "edge",
    "type": "http.request",
    "subject": "acme",
    "time": "2026-04-01T12:00:00+02:00",
    "ingested_at": "2026-04-01T10:00:01Z",
    "data": {"bytes": 12, "path": "/x", "status": "200"},
}


def changed(**changes: Any) -> bytes:
    event = json.loads(json.dumps(BASE))
    event["data"] |= changes.pop("data", {})
    return json.dumps({key: value for key, value in (event | changes).items() if value is not ...}).encode()


def judged(tmp_path: Path, content: bytes, name: str = "rows.ndjson") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    write_home(tmp_path / "home")
    path = tmp_path / name
    path.write_bytes(content)
    return try_rows(Home(tmp_path / "home"), path, "usage_events")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"\x00\x01binary\x00", "line:nul_byte"),
        (b'{"id": "\xff\xfe"}', "line:not_utf8"),
        (b"no json at all", "json:invalid"),
        (b"[1, 2]", "json:not_an_object"),
        (b'{"id": "a", "id": "b"}', "json:duplicate_key"),
        (changed(data={"bytes": {"nested": 1}}), "bytes:type"),
        (changed(data={"bytes": [1]}), "bytes:type"),
        (changed(data={"bytes": True}), "bytes:type"),
        (changed(data={"bytes": "NaN"}), "bytes:type"),
        (changed().replace(b'"bytes": 12', b'"bytes": NaN'), "bytes:type"),
        (changed(data={"bytes": "Infinity"}), "bytes:type"),
        (changed().replace(b'"bytes": 12', b'"bytes": 1e400'), "bytes:type"),
        (changed(data={"bytes": -1}), "bytes:minimum"),
        (changed(data={"bytes": "1" * 30}), "bytes:type"),
        (changed(data={"bytes": "0.1234567891"}), "bytes:type"),
        (changed().replace(b'"bytes": 12', b'"bytes": 12345678901234567890.123456789'), "bytes:precision"),
        (changed(time="2026-04-01T12:00:00"), "occurred_at:zone"),
        (changed(time="2026-04-01"), "occurred_at:type"),
        (changed(time="0001-01-01T00:00:00Z"), "occurred_at:range"),
        (changed(time="9999-12-31T00:00:00Z"), "occurred_at:range"),
        (changed(time="2016-12-31T23:59:60Z"), "occurred_at:type"),
        (changed(subject="nobody"), "tenant_id:unknown_tenant"),
        (changed(subject="'; DROP TABLE tenants; --"), "tenant_id:unknown_tenant"),
        (changed(id=...), "id:missing"),
        (changed(type="http.other"), "type:pattern"),
        (changed(kind="void"), "amends:missing"),
        (changed(id="x" * 501), "id:maxLength"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason_and_its_neighbours_are_kept(tmp_path: Path, row: bytes, reason: str) -> None:
    accepted, refused = judged(tmp_path, changed(id="before") + b"\n" + row + b"\n" + changed(id="after") + b"\n")
    assert sorted(each["id"] for each in accepted) == ["after", "before"]
    assert len(refused) == 1
    assert reason in refused[0]["reasons"].split(",")
    assert refused[0]["offset"] == 2
    assert refused[0]["raw"]


@pytest.mark.parametrize(
    "row",
    [
        changed(id="'; DROP TABLE usage; --", data={"path": "<script>alert(1)</script>"}),
        changed(data={"bytes": "12345678901234567890123456789.123456789"}),
        changed(data={"bytes": 0}),
        changed(time="2026-04-01T12:00:00.123456+05:45"),
        changed(data={"unheard_of": {"deep": [1]}}),
    ],
)
def test_an_odd_but_right_row_is_accepted(tmp_path: Path, row: bytes) -> None:
    accepted, refused = judged(tmp_path, row + b"\n")
    assert (len(accepted), refused) == (1, [])


def test_unknown_fields_are_kept(tmp_path: Path) -> None:
    (row,), _ = judged(tmp_path, changed(colour="red", data={"depth": 3}) + b"\n")
    assert json.loads(row["extras"]) == {"colour": "red", "data.depth": "3"}


def test_a_line_of_a_hundred_megabytes_is_quarantined_and_its_neighbours_are_kept(tmp_path: Path) -> None:
    content = gzip.compress(changed(id="before") + b"\n" + b"x" * 100_000_000 + b"\n" + changed(id="after") + b"\n", compresslevel=1)
    accepted, refused = judged(tmp_path, content, "rows.ndjson.gz")
    assert len(accepted) == 2
    assert [each["reasons"] for each in refused] == ["line:too_long"]
    assert len(refused[0]["raw"]) <= 2000


TEXT = "logicalType: string, physicalType: VARCHAR"
CSV = (
    b"specversion,id,source,type,subject,time,ingested_at,data.bytes,data.path,data.status\n"
    b"1.0,e1,edge,http.request,acme,2026-04-01T12:00:00+02:00,2026-04-01T10:00:01Z,12,/x,200\n"
)


def as_parquet(folder: Path) -> bytes:
    path = folder / "made.parquet"
    connect().execute(
        f"""COPY (SELECT '1.0' AS specversion, 'e1' AS id, 'edge' AS source, 'http.request' AS "type", 'acme' AS subject,
        TIMESTAMPTZ '2026-04-01 10:00:00Z' AS "time", TIMESTAMPTZ '2026-04-01 10:00:01Z' AS ingested_at,
        CAST(12 AS BIGINT) AS "data.bytes", '/x' AS "data.path", '200' AS "data.status") TO '{path}' (FORMAT parquet)"""
    )
    return path.read_bytes()


def test_a_bound_is_exact_whatever_its_size(tmp_path: Path) -> None:
    own = tmp_path / "home" / "checks" / "contracts" / "usage_events.odcs.yaml"
    own.parent.mkdir(parents=True)
    text = (CHECKOUT / "checks" / "contracts" / own.name).read_text(encoding="utf-8")
    own.write_text(text.replace("minimum: 0", "minimum: 0.0000001, maximum: 1234567", 1), encoding="utf-8")
    lines = [changed(id=value, data={"bytes": value}) for value in ("1234567", "1234567.000000001", "0.0000001", "0.000000099")]
    accepted, refused = judged(tmp_path, b"\n".join(lines) + b"\n")
    assert sorted(row["id"] for row in accepted) == ["0.0000001", "1234567"]
    assert [row["reasons"] for row in refused] == ["bytes:maximum", "bytes:minimum"]


def test_every_format_gives_the_same_row(tmp_path: Path) -> None:
    plain = changed() + b"\n"
    forms = {
        "a.ndjson": plain,
        "b.ndjson": b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"),
        "c.ndjson.gz": gzip.compress(plain),
        "d.ndjson": plain.rstrip(),
        "e.csv": CSV,
        "f.csv.gz": gzip.compress(CSV.replace(b"\n", b"\r\n")),
        "g.csv": CSV.replace(b"/x", b'"/x"'),
        "h.parquet": as_parquet(tmp_path),
    }
    rows = {name: judged(tmp_path, content, name) for name, content in forms.items()}
    expected = rows["a.ndjson"]
    assert len(expected[0]) == 1
    assert {name: found for name, found in rows.items() if found != expected} == {}


def test_a_csv_row_of_another_width_is_quarantined(tmp_path: Path) -> None:
    accepted, refused = judged(tmp_path, CSV + b"1.0,e2,edge\n", "rows.csv")
    assert (len(accepted), [each["reasons"] for each in refused]) == (1, ["csv:columns"])


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: bytes) -> None:
    assert judged(tmp_path, content) == ([], [])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.ndjson", changed() + b"\n" + changed()[:40], "mid-row"),
        ("a.ndjson.gz", gzip.compress(changed() * 50)[:-20], "gzip"),
        ("a.parquet", b"PAR1 half", "footer"),
        ("a.ndjson.tmp", changed(), "half written"),
        (".a.ndjson", changed(), "half written"),
        ("a.xlsx", b"x", "unknown format"),
    ],
)
def test_a_file_that_is_not_whole_is_left_and_said(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    folder = tmp_path / "landing" / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    found, left = look(Home(tmp_path), "usage_events", "2026-04-01")
    assert found == []
    assert len(left) == 1
    assert why in left[0]
    assert name in left[0]


def test_a_file_that_still_grows_is_left_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    path = folder / "a.ndjson"
    path.write_bytes(changed() + b"\n")
    stop = threading.Event()

    def write() -> None:
        with path.open("ab") as stream:
            while not stop.wait(0.05):
                stream.write(changed(id="more") + b"\n")
                stream.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found, left = look(Home(tmp_path), "usage_events", "2026-04-01")
    finally:
        stop.set()
        writer.join()
    assert found == []
    assert "still growing" in left[0]
    again, _ = look(Home(tmp_path), "usage_events", "2026-04-01")
    assert [file.name for file in again] == ["usage_events/2026-04-01/a.ndjson"]


def test_a_file_that_grew_after_landing_is_an_error_that_says_where_to_cut(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    path = folder / "a.ndjson"
    path.write_bytes(changed() + b"\n")
    (first,), _ = look(Home(tmp_path), "usage_events", "2026-04-01")
    known = {first.name: (first.scan.sha256, first.bytes)}
    unchanged([first], known)
    path.write_bytes(path.read_bytes() + changed(id="more") + b"\n")
    (grown,), _ = look(Home(tmp_path), "usage_events", "2026-04-01")
    with pytest.raises(
        MissionError, match=rf"a\.ndjson: grew after landing, from {first.bytes} to {grown.bytes} bytes.*truncate -s {first.bytes}"
    ):
        unchanged([grown], known)


def test_a_folder_that_is_no_day_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "landing" / "usage_events" / "april").mkdir(parents=True)
    with pytest.raises(MissionError, match=r"april: a landing folder is named by its day"):
        landing_days(Home(tmp_path), "usage_events")


def test_a_file_of_unknown_format_cannot_be_tried(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(MissionError, match="unknown format"):
        single(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("logicalType: number", "logicalType: numbr", "numbr"),
        ('physicalType: "DECIMAL(38,9)"', "physicalType: DOUBLE", "DOUBLE"),
        ("minLength: 1", "minLenght: 1", "minLenght"),
        ("pattern: '[1-5][0-9][0-9]'", "pattern: '[1-5'", "pattern"),
        ("pattern: '[1-5][0-9][0-9]'", "pattern: '(?=a)b'", "pattern .*RE2"),
        ("pattern: '[1-5][0-9][0-9]'", "pattern: 5", "pattern 5: write a regular expression in quotes"),
        ("minimum: 0", "minimum: abc", "minimum 'abc': write a number"),
        ("minimum: 0", "minimum: yes", "minimum True: write a number"),
        ("minimum: 0", "minimum: .inf", "minimum inf: write a number"),
        ("minimum: 0", f"minimum: {10**29}", "minimum 1000.*: write a number of at most 29 digits"),
        ("maxLength: 500", "maxLength: -1", "maxLength -1: write a whole number"),
        ("maxLength: 500", "maximum: 500", "unknown key.* maximum. Options of a string"),
        ("name: path,", "name: id,", "its name.* stands twice"),
        ("physicalName: data.path", "physicalName: data.bytes", "path: .*its place data.bytes, stands twice"),
        ("physicalName: data.path", "physicalName: id.path", "id.path stands inside a field"),
        ("physicalName: data.path", "physicalName: 'a b'", "physicalName 'a b' is no name"),
        ("name: path,", "name: 'Pa\"th',", "is no name of a column"),
        ("name: path,", "name: bad,", "'bad' is taken for a column"),
        ("name: path,", "name: way,", "path has to be there as a string: "),
        ("name: id, logicalType: string, physicalType: VARCHAR, required: true", f"name: id, {TEXT}", "id has to be there.*required"),
        ("version: 1.0.0", "version: 1", "version: Input should be a valid string .got 1."),
        ("required: true", "required: true, required: true", "key `required` stands twice"),
    ],
)
def test_a_contract_that_cannot_be_read_names_file_line_and_value(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = (CHECKOUT / "checks" / "contracts" / "usage_events.odcs.yaml").read_text(encoding="utf-8")
    path = tmp_path / "usage_events.odcs.yaml"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(MissionError, match=rf"usage_events\.odcs\.yaml:\d+: .*{message}"):
        load_contract(path)
