"""What a home declares of its marketplace is read strictly; each fault names file, line, value and remedy."""

import shutil
from datetime import date, time
from fractions import Fraction
from pathlib import Path

import pytest

from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.marketplace.declared import read_partners, read_redaction, read_sources, read_tagging

HOUR = 3_600_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    shutil.copytree(CHECKOUT / "data" / "reference" / "marketplace", tmp_path / "reference" / "marketplace")
    return Home(tmp_path)


def test_the_samples_declare_eleven_live_sources_of_five_partners(home: Home) -> None:
    sources, partners = read_sources(home), read_partners(home)
    assert [each.status_on(date(2026, 5, 8)) for each in sources].count("live") == 11
    assert [each.partner_id for each in partners] == ["harbourlight", "meridian-maps", "monsoon-labs", "northgate", "southern-cross"]
    assert {each.partner_id for each in sources} == {each.partner_id for each in partners}


def test_a_source_is_what_its_newest_stage_of_the_day_says(home: Home) -> None:
    path = home.reference / "marketplace" / "sources.yaml"
    text = path.read_text(encoding="utf-8").replace(
        "{status: live, from: 2026-04-20}", "{status: live, from: 2026-04-20}, {status: retired, from: 2026-05-01}", 1
    )
    path.write_text(text, encoding="utf-8")
    source = read_sources(home)[0]
    days = ("2026-04-05", "2026-04-06", "2026-04-19", "2026-04-20", "2026-04-30", "2026-05-01")
    assert [source.status_on(date.fromisoformat(day)) for day in days] == [None, "candidate", "candidate", "live", "live", "retired"]
    assert source.offered == date(2026, 4, 20)


def test_terms_are_exact(home: Home) -> None:
    northgate = read_partners(home)[3].terms
    assert (northgate.response_us, northgate.resolution_us, northgate.at_risk) == (15 * HOUR // 2, 45 * HOUR // 2, Fraction(3, 4))
    assert (northgate.hours.opens, northgate.hours.closes, northgate.hours.weekdays) == (time(9), time(16, 30), frozenset({1, 2, 3, 4, 5}))


@pytest.mark.parametrize(
    ("file", "old", "new", "match"),
    [
        ("partners", 'opens: "09:00", closes: "17:00"', "opens: 09:00, closes: 17:00", r"partners\.yaml:4: .*write a local time in quotes"),
        ("partners", 'opens: "09:00", closes: "17:00"', 'opens: "17:00", closes: "09:00"', "`opens` is not before `closes`"),
        ("partners", "country: DE", "country: NO", "put a text in quotes"),
        ("partners", "country: DE", "country: XX", r"partners\.yaml:3: .*country 'XX': the holidays package"),
        ("partners", "zone: Europe/Berlin", "zone: Berlin", r"partners\.yaml:3: .*Berlin is no IANA time zone"),
        ("partners", 'response_hours: "8", resolution_hours: "24"', 'response_hours: "0", resolution_hours: "24"', "greater than 0"),
        ("partners", "weekdays: [1, 2, 3, 4, 5, 6]", "weekdays: [0, 1]", "weekdays are numbers from 1"),
        ("partners", "partner_id: northgate", "partner_id: harbourlight", r"partners\.yaml:9: partner_id harbourlight stands twice"),
        ("sources", "source_id: berth-times", "source_id: air-quality", r"sources\.yaml:4: source_id air-quality stands twice"),
        ("sources", "partner_id: monsoon-labs", "partner_id: nobody", r"sources\.yaml:6: partner_id nobody is not in partners\.yaml"),
        (
            "sources",
            "{status: candidate, from: 2026-05-04}",
            "{status: soon, from: 2026-05-04}",
            r"sources\.yaml:14: .*'live', 'candidate' or 'retired'",
        ),
        ("sources", "source_id: tide-tables", "source_id: ../tides", r"sources\.yaml:13: .*String should match pattern"),
        ("sources", "{status: candidate, from: 2026-05-04}", "", r"sources\.yaml:14: .*at least 1 item"),
        (
            "sources",
            "{status: live, from: 2026-04-27}",
            "{status: live, from: 2026-04-06}",
            r"sources\.yaml:5: .*stages: .*live from 2026-04-06 does not come after candidate from 2026-04-06",
        ),
        ("tagging", "tag: privacy", "tag: access", "tag access stands twice"),
        ("tagging", "[slow, timeout*, time out, latency]", '["*"]', "has no letter or digit"),
        ("redaction", "hash: [by]", "hash: [state]", "field state stands twice"),
        ("redaction", "request_id: id", "request_id: text", "Input should be"),
    ],
)
def test_a_fault_is_named_with_its_line(home: Home, file: str, old: str, new: str, match: str) -> None:
    path = home.reference / "marketplace" / f"{file}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    readers = {"partners": read_partners, "sources": read_sources, "tagging": read_tagging, "redaction": read_redaction}
    with pytest.raises(MissionError, match=match):
        readers[file](home)


def test_the_end_of_the_day_is_a_time_to_close(home: Home) -> None:
    path = home.reference / "marketplace" / "partners.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace('closes: "17:00"', 'closes: "24:00"'), encoding="utf-8")
    assert read_partners(home)[0].terms.hours.closes == time()
