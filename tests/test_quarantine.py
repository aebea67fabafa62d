"""Refused rows given back, mended, landed again: they count once, on the day they happened, and leave the quarantine's value."""

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_month import event, land, lay, plain, quantity

from mc_pipelines.cli import main
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake
from mc_pipelines.quarantine import refused


def value(home: Home) -> tuple[object, ...]:
    con = connect()
    Lake(str(home.lake)).view(con, "metering.quarantine_value")
    query = "SELECT quarantined_events, counted_events FROM metering.quarantine_value WHERE meter = 'api_requests'"
    row: tuple[object, ...] = con.sql(query).fetchall()[0]
    return row


def test_a_mended_row_counts_where_it_belongs_and_leaves_the_value_of_the_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lay(tmp_path)
    day = date(2026, 4, 10)
    wrong = [event(5000 + each, day, time=f"{day}T12:00:00") for each in range(3)]  # no zone
    land(home, "usage_events", day, "wrong.ndjson", wrong)
    plain(home)
    assert quantity(home) == 300
    assert value(home) == (3, 300)

    monkeypatch.setenv("MISSION_HOME", str(home.root))
    listed = CliRunner().invoke(main, ["quarantine", "2026-04-01..2026-04-30", "--json"])
    assert [(row["file"], row["offset"], row["reasons"]) for row in json.loads(listed.output)] == [
        ("usage_events/2026-04-10/wrong.ndjson", offset, "occurred_at:zone") for offset in (1, 2, 3)
    ]
    other = CliRunner().invoke(main, ["quarantine", "2026-04-10", "--source", "gateway_log"])
    assert (other.exit_code, other.output) == (0, "0 row(s) refused\n")
    written = CliRunner().invoke(main, ["quarantine", "2026-04-10", "--reason", "occurred_at:zone", "--out", str(tmp_path / "mend")])
    assert written.exit_code == 0
    (file,) = (tmp_path / "mend" / "usage_events").iterdir()
    mended = file.read_text(encoding="utf-8").replace('T12:00:00"', 'T12:00:00+02:00"')
    # Two are mended, one still is not; the day is one before the cut-off.
    lines = mended.splitlines()
    again = home.landing / "usage_events" / "2026-05-01" / file.name
    again.parent.mkdir(parents=True)
    again.write_text("\n".join([*lines[:2], json.dumps(wrong[2])]) + "\n", encoding="utf-8")
    plain(home)
    assert quantity(home) == 302
    assert value(home) == (2, 302)  # one of the tenth of April, and the one refused again on the first of May


def test_a_row_too_long_to_keep_is_named_and_not_given_back(tmp_path: Path) -> None:
    home = lay(tmp_path)
    day = date(2026, 4, 10)
    land(home, "usage_events", day, "long.ndjson", [event(6000, day, kind="x" * 3000)])
    plain(home)
    result = CliRunner().invoke(main, ["quarantine", "2026-04-10", "--out", str(tmp_path / "mend")], env={"MISSION_HOME": str(home.root)})
    assert "long.ndjson:1: too long to be kept whole" in result.output
    assert list((tmp_path / "mend").iterdir()) == []


def test_a_home_without_rows_says_what_to_run(tmp_path: Path) -> None:
    home = lay(tmp_path)
    with pytest.raises(MissionError, match="mission run DAY"):
        refused(home, "usage_events", ["2026-04-01"], None)
    with pytest.raises(MissionError, match=r"invoices: no such source is declared in .*There are: gateway_log, usage_events"):
        refused(home, "invoices", ["2026-04-01"], None)
