"""How long evidence is kept: declared, seven years by default, counted from the instant that a close speaks for."""

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


@pytest.mark.parametrize("text", ["evidence_years: 0", "evidence_years: '7'", "evidence_year: 7", "- 7", ":", "evidence_years: 1.5"])
def test_anything_else_is_an_error_that_lint_shows_too(tmp_path: Path, text: str) -> None:
    write_home(tmp_path)
    (tmp_path / "reference/retention.yaml").write_text(text + "\n")
    with pytest.raises(MissionError, match=r"retention.yaml:1: (.|\n)*evidence_years: 7"):
        read_retention(Home(tmp_path))
    assert any("retention.yaml:1" in line for line in problems(Home(tmp_path)))
