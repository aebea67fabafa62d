"""How long evidence is kept: declared, seven years by default, counted from the instant that a close speaks for."""

import re
from pathlib import Path

import pytest

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.retention import Retention, read_retention
from mc_pipelines.home import Home
from mc_pipelines.lint import problems
from mc_pipelines.starter import write_home


def test_seven_years_unless_the_home_says_otherwise(tmp_path: Path) -> None:
    assert read_retention(Home(tmp_path)).until("2026-05-02T23:59:59.999999Z") == "2033-05-02"
    write_home(tmp_path)
    assert read_retention(Home(tmp_path)).evidence_years == 7
    (tmp_path / "reference/retention.yaml").write_text("evidence_years: 10\n")
    assert read_retention(Home(tmp_path)).until("2026-05-02T23:59:59.999999Z") == "2036-05-02"


def test_the_29th_of_february_ends_on_the_first_of_march() -> None:
    assert Retention(evidence_years=7).until("2028-02-29T23:59:59.999999Z") == "2035-03-01"
    assert Retention(evidence_years=8).until("2028-02-29T23:59:59.999999Z") == "2036-02-29"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evidence_years: 0", "evidence_years: .*greater than or equal to 1 (got 0). Known keys: evidence_years"),
        ("evidence_years: '7'", "evidence_years: .*valid integer (got '7'). Known keys: evidence_years"),
        ("evidence_year: 7", "evidence_year: .*not permitted (got 7). Known keys: evidence_years"),
        ("- 7", "expected keys with their values, got [7]. Known keys: evidence_years"),
        (":", "not readable YAML: "),
        ("evidence_years: 1.5", "evidence_years: .*valid integer (got 1.5). Known keys: evidence_years"),
    ],
)
def test_anything_else_is_an_error_that_lint_shows_too(tmp_path: Path, text: str, said: str) -> None:
    write_home(tmp_path)
    (tmp_path / "reference/retention.yaml").write_text(text + "\n")
    pattern = rf"retention\.yaml:1: {re.escape(said).replace(re.escape('.*'), '.*')}"
    with pytest.raises(MissionError, match=pattern):
        read_retention(Home(tmp_path))
    (line,) = problems(Home(tmp_path))
    assert re.search(pattern, line)
