"""The command line: help with examples, exit codes, JSON, and errors that say what to do."""

import json
import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mc_pipelines.cli import main

COMMANDS = sorted(main.commands)


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"MISSION_HOME": str(home)})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(tmp_path: Path, command: str) -> None:
    result = call(tmp_path, command, "--help")
    assert result.exit_code == 0
    assert "Example: mission" in " ".join(result.output.split())


def test_init_makes_a_home_that_lints_and_keeps_what_is_there(tmp_path: Path) -> None:
    assert call(tmp_path, "init", str(tmp_path)).exit_code == 0
    tenants = tmp_path / "reference" / "tenants.yaml"
    before = tenants.read_text(encoding="utf-8").replace("Acme", "Mine")
    tenants.write_text(before, encoding="utf-8")
    again = call(tmp_path, "init", str(tmp_path))
    assert "kept   reference/tenants.yaml" in again.output
    assert tenants.read_text(encoding="utf-8") == before
    assert call(tmp_path, "lint").exit_code == 0


@pytest.mark.parametrize("name", ["tenants.yaml", "tenants.csv"])
def test_init_gives_no_price_book_to_a_home_with_tenants_of_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / name).write_text("tenants: []\n", encoding="utf-8")
    assert call(tmp_path, "init", str(tmp_path)).exit_code == 0
    assert list((tmp_path / "reference" / "price_books").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("reference/tenants.yaml", "Europe/Berlin", "Europe/Berlinn", "Europe/Berlinn"),
        ("reference/meters.yaml", "aggregation: count", "aggregation: cuont", "cuont"),
        ("reference/sources.yaml", "start: 2026-01-01", "strat: 2026-01-01", "strat|start"),
        ("reference/price_books/example.yaml", "model: flat", "model: flatt", "flatt"),
    ],
)
def test_lint_names_file_line_and_value_and_ends_with_two(tmp_path: Path, file: str, before: str, after: str, expected: str) -> None:
    import re

    call(tmp_path, "init", str(tmp_path))
    path = tmp_path / file
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    result = call(tmp_path, "lint")
    assert result.exit_code == 2
    assert re.search(rf"{Path(file).name}:\d+: .*({expected})", result.stderr)


def test_lint_lists_what_a_home_replaces(tmp_path: Path) -> None:
    call(tmp_path, "init", str(tmp_path))
    (tmp_path / "checks").mkdir()
    from mc_pipelines.home import CHECKOUT

    text = (CHECKOUT / "checks" / "metering.yaml").read_text(encoding="utf-8").replace("0.0025", "0.005")
    (tmp_path / "checks" / "metering.yaml").write_text(text, encoding="utf-8")
    assert "checks/metering.yaml: the home's file replaces the checkout's" in call(tmp_path, "lint").output


def test_try_prints_accepted_and_refused_and_changes_nothing(tmp_path: Path) -> None:
    call(tmp_path, "init", str(tmp_path))
    good = {
        "id": "e1",
        "source": "s",
        "type": "http.request",
        "subject": "acme",
        "time": "2026-04-01T00:00:00Z",
        "ingested_at": "2026-04-01T00:00:00Z",
        "data": {},
    }
    file = tmp_path / "rows.ndjson"
    file.write_text(json.dumps(good) + "\n" + json.dumps(good | {"subject": "nobody"}) + "\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    result = call(tmp_path, "try", str(file), "--contract", "usage_events")
    assert result.exit_code == 1
    assert "accepted 1, refused 1" in result.output
    assert "tenant_id:unknown_tenant" in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("installed", [True, False])
def test_the_version_is_shown_whether_or_not_the_package_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    def version(name: str) -> str:
        if not installed:
            raise PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr("mc_pipelines.code.version", version)
    result = call(tmp_path, "--version")
    assert (result.exit_code, result.output) == (0, f"mission, version {'1.2.3' if installed else 'unreleased'}\n")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    call(tmp_path, "init", str(tmp_path))
    os.mkfifo(tmp_path / "rows.ndjson")
    result = call(tmp_path, "try", str(tmp_path / "rows.ndjson"), "--contract", "usage_events")
    assert (result.exit_code, "rows.ndjson: no plain file. Name a file." in result.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["close", "2026-13"], "no month"),
        (["run", "2026-04-02..2026-04-01"], "runs backwards"),
        (["run", "yesterday"], "yesterday is not how a day is written here. Write days as YYYY-MM-DD"),
        (["run", "2026-4-1"], "mission: 2026-4-1 is not how a day is written here. Write days as YYYY-MM-DD"),
        (["run", "20260401..2026-04-02"], "20260401 is not how a day is written"),
        (["run", "2026-04-01..2026-02-30"], "2026-02-30: there is no such day"),
        (["run", "2026-04-01.."], "nothing is not how a day is written"),
        (["run", "..2026-04-02"], "nothing is not how a day is written"),
        (["try", __file__, "--contract", "nope"], "no contract for source 'nope'. There are abuse_history,"),
        (["run", "2020-01-01"], "no such partition"),
        (["gates"], "no window of metering has been attempted"),
        (["sql", "SELECT 1", "--at", "metering.variance=3"], "no such table"),
        (["verify", "nowhere"], ""),
    ],
)
def test_what_cannot_be_done_says_why_and_does_not_end_with_zero(tmp_path: Path, arguments: list[str], expected: str) -> None:
    call(tmp_path, "init", str(tmp_path))
    result = call(tmp_path, *arguments)
    assert result.exit_code in {1, 2}
    assert expected in result.output
    assert "Traceback" not in result.output
