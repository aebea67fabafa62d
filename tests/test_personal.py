"""Personal fields: a keyed hash in what is kept, nothing of them in what the quarantine shows, a key that stays where it is."""

import hashlib
import hmac
import json
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import Bench

from mc_pipelines.cli import main
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.intake import try_rows
from mc_pipelines.lake import WHOLE
from mc_pipelines.odcs import load_contract
from mc_pipelines.personal import UNREADABLE, WITHHELD, key
from mc_pipelines.runner import materialise
from mc_pipelines.starter import write_home

KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
MAIL = "Ada.Lovelace@example.org"
TEXT = "logicalType: string, physicalType: VARCHAR"
USER = f"      - {{name: user, physicalName: data.user, {TEXT}, classification: personal, logicalTypeOptions: {{maxLength: 40}}}}\n"
ACCOUNT = f"      - {{name: account, {TEXT}, classification: personal}}\n"
EVENT: dict[str, Any] = {
    "id": "e1",
    "source": "edge",
    "type": "http.request",
    "subject": "acme",
    "time": "2026-04-01T12:00:00Z",
    "ingested_at": "2026-04-01T12:00:01Z",
    "account": MAIL,
    "data": {"bytes": 12, "user": MAIL},
}
# Python's own HMAC, over the key's bytes and the value in UTF-8.
HASH = hmac.new(bytes.fromhex(KEY), MAIL.encode(), hashlib.sha256).hexdigest()


def declare(root: Path, fields: str = USER + ACCOUNT) -> Path:
    """A home whose contract of events has fields of its own."""
    write_home(root)
    own = root / "checks" / "contracts" / "usage_events.odcs.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text((CHECKOUT / "checks" / "contracts" / own.name).read_text(encoding="utf-8") + fields, encoding="utf-8")
    return own


def content(folder: Path, form: str, rows: list[dict[str, Any]]) -> bytes:
    """The rows as a file of a format; CSV and plain Parquet are flat."""
    if form.startswith("ndjson"):
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if form == "nested.parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / form)
        return (folder / form).read_bytes()
    flat = [
        {key: value for key, value in row.items() if key != "data"} | {f"data.{name}": each for name, each in row["data"].items()}
        for row in rows
    ]
    if form == "flat.parquet":
        pq.write_table(pa.Table.from_pylist(flat), folder / form)
        return (folder / form).read_bytes()
    cell = '"{}"' if form == "quoted.csv" else "{}"
    lines = [",".join(flat[0]), *(",".join(cell.format("" if each is None else each) for each in row.values()) for row in flat)]
    return ("\n".join(lines) + "\n").encode()


FORMS = ["ndjson", "plain.csv", "quoted.csv", "nested.parquet", "flat.parquet"]


@pytest.mark.parametrize("form", FORMS)
def test_an_accepted_row_keeps_the_hash_and_a_refused_one_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("MISSION_PERSONAL_KEY", KEY)
    declare(tmp_path / "home")
    rows = [EVENT, EVENT | {"id": "e2", "subject": "nobody"}, EVENT | {"id": "e3", "account": None, "data": {"bytes": -1, "user": None}}]
    file = tmp_path / f"rows.{form.rpartition('.')[2]}"
    file.write_bytes(content(tmp_path, form, rows))
    (accepted,), refused = try_rows(Home(tmp_path / "home"), file, "usage_events")
    assert (accepted["user"], accepted["account"], accepted["extras"]) == (HASH, HASH, None)
    first, second = sorted(refused, key=lambda row: str(row["offset"]))
    assert (first["reasons"], MAIL in str(first), first["raw"].count(WITHHELD)) == ("tenant_id:unknown_tenant", False, 2)
    assert json.loads(first["raw"])["id"] == "e2"
    assert (second["reasons"], MAIL in str(second)) == ("bytes:minimum", False)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (json.dumps(EVENT)[:-5], "json:invalid"),
        (json.dumps(EVENT)[:-1] + f',"account":"{MAIL}"}}', "json:duplicate_key"),
        (json.dumps([EVENT]), "json:not_an_object"),
        (json.dumps(EVENT | {"data": MAIL}), "json:not_an_object"),
        (json.dumps(EVENT) + "\0", "line:nul_byte"),
        (json.dumps(EVENT | {"note": "x" * (1 << 20)}), "line:too_long"),
    ],
)
def test_a_row_that_cannot_be_read_shows_nothing(tmp_path: Path, line: str, reason: str) -> None:
    declare(tmp_path / "home")
    (tmp_path / "rows.ndjson").write_text(line + "\n")
    accepted, (refused,) = try_rows(Home(tmp_path / "home"), tmp_path / "rows.ndjson", "usage_events")
    assert (accepted, refused["reasons"], refused["raw"]) == ([], reason, UNREADABLE)


@pytest.mark.parametrize(
    ("value", "reason"),
    [({"mail": MAIL}, "user:type"), ([MAIL], "user:type"), (MAIL * 2, "user:maxLength")],
)
def test_a_personal_value_that_is_refused_is_withheld_too(tmp_path: Path, value: object, reason: str) -> None:
    declare(tmp_path / "home")
    (tmp_path / "rows.ndjson").write_text(json.dumps(EVENT | {"data": {"data.user": 1, "user": value}}) + "\n")
    _, (refused,) = try_rows(Home(tmp_path / "home"), tmp_path / "rows.ndjson", "usage_events")
    assert (reason in refused["reasons"].split(","), MAIL in str(refused)) == (True, False)
    assert json.loads(refused["raw"])["data"]["user"] == WITHHELD


def stage(bench: Bench) -> None:
    for table, window in (("reference.tenants", WHOLE), ("reference.calendar", WHOLE), ("staging.usage_events", "2026-04-01")):
        materialise(bench.shop, bench.shop.catalog.models[table], [window])


def test_trying_a_file_makes_no_key_and_a_run_makes_one_that_stays(bench: Bench) -> None:
    declare(bench.home.root)
    folder = bench.home.landing / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    file = folder / "a.ndjson"
    file.write_bytes(content(folder, "ndjson", [EVENT, EVENT | {"id": "e2", "time": "late"}]))
    try_rows(bench.home, file, "usage_events")
    assert not bench.home.keys.exists()

    def staged() -> list[Any]:
        stage(bench)
        return bench.rows("SELECT user, account FROM staging.usage_events", "staging.usage_events")

    first = staged()
    path = bench.home.keys / "personal.key"
    made = key(bench.home)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode), len(made)) == (0o600, 0o700, 32)
    expected = hmac.new(made, MAIL.encode(), hashlib.sha256).hexdigest()
    assert first == [(expected, expected)]
    assert staged() == first
    tables = [f"{schema}.usage_events" for schema in ("staging", "quarantine", "landing")]
    assert MAIL not in str([bench.rows(f"FROM {table}", table) for table in tables])
    logs = [each.read_text() for each in bench.home.lake.rglob("_delta_log/*.json")]
    assert logs
    assert not any(made.hex() in log for log in logs)
    path.write_text(KEY + "\n")  # another key makes the day stale
    assert staged() == [(HASH, HASH)]


def test_a_field_that_comes_later_becomes_a_column(bench: Bench) -> None:
    folder = bench.home.landing / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    (folder / "a.ndjson").write_bytes(content(folder, "ndjson", [EVENT]))
    stage(bench)
    declare(bench.home.root)
    stage(bench)
    hashed = hmac.new(key(bench.home), MAIL.encode(), hashlib.sha256).hexdigest()
    assert bench.rows("SELECT id, user FROM staging.usage_events", "staging.usage_events") == [("e1", hashed)]


def test_rows_with_personal_fields_are_not_given_back_to_be_landed_again(bench: Bench, tmp_path: Path) -> None:
    declare(bench.home.root)
    folder = bench.home.landing / "usage_events" / "2026-04-01"
    folder.mkdir(parents=True)
    (folder / "a.ndjson").write_bytes(content(folder, "ndjson", [EVENT | {"time": "late"}]))
    stage(bench)
    out = tmp_path / "mend"
    done = CliRunner().invoke(main, ["quarantine", "2026-04-01", "--out", str(out)], env={"MISSION_HOME": str(bench.home.root)})
    assert "a.ndjson:1: its personal fields are withheld; take it from the landed file" in done.output
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("text", "mode", "said"), [("short\n", 0o600, "no key of 64 hex digits"), (KEY, 0o644, "chmod 600")])
def test_a_key_that_is_none_or_open_to_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int, said: str
) -> None:
    path = tmp_path / "personal.key"
    path.write_text(text)
    path.chmod(mode)
    monkeypatch.setenv("MISSION_PERSONAL_KEY", str(path))
    with pytest.raises(MissionError, match=rf"personal\.key: .*{said}"):
        key(Home(tmp_path))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("name: path, ", "name: path, classification: personal, ", "path: classification personal, but identity, tenants, time or meters"),
        ("name: tenant_id, ", "name: tenant_id, classification: personal, ", "tenant_id: classification personal, but"),
        (f"account, {TEXT}", 'account, logicalType: number, physicalType: "DECIMAL(38,9)"', "account: .*only a string"),
        (f"account, {TEXT}, classification: p", f"account, {TEXT}, classification: P", "'Personal' is not one of"),
        ("physicalName: data.user", "physicalName: data.user.mail", "physicalName 'data.user.mail' is no name, or object.name"),
    ],
)
def test_what_cannot_be_hashed_cannot_be_classed_as_personal(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = declare(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")
    with pytest.raises(MissionError, match=rf"usage_events\.odcs\.yaml:\d+: .*{said}"):
        load_contract(path)
