"""Calendars against hand-calculated instants, and reference files read strictly."""

import os
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import Bench, instant
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipelines import calendars, lint, reference
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT
from mc_pipelines.yamlread import load_yaml

ZONES = [
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Europe/Berlin",
    "America/Havana",  # falls back at 01:00 to midnight: the day begins twice
    "Africa/Cairo",  # springs forward at midnight: the day begins at 01:00
    "America/St_Johns",
    "Pacific/Kiritimati",
    "America/Nuuk",
]


def spans(zone: str, start: date, end: date) -> dict[date, tuple[datetime, datetime]]:
    return {day: (begins, ends) for _, _, day, begins, ends, _ in calendars.local_day_rows(zone, start, end)}


@pytest.mark.parametrize(
    ("zone", "day", "begins", "hours"),
    [
        # Offsets from the tz database: New York -5/-4 (2026-03-08, 2026-11-01), Kathmandu +5:45,
        # Lord Howe +11/+10:30 (2026-04-05, 2026-10-04).
        ("America/New_York", "2026-03-07", "2026-03-07T05:00:00", 24),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00:00", 25),
        ("Asia/Kathmandu", "2026-04-01", "2026-03-31T18:15:00", 24),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00", 23.5),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00", 23),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00", 25),
    ],
)
def test_a_local_day_is_half_open_between_local_midnights(zone: str, day: str, begins: str, hours: float) -> None:
    at = date.fromisoformat(day)
    assert spans(zone, at, at)[at] == (instant(begins), instant(begins) + timedelta(hours=hours))


def test_apia_skipped_a_day() -> None:
    # Samoa went from UTC-10 to UTC+14 at the end of 2011-12-29; 2011-12-30 did not happen there.
    found = spans("Pacific/Apia", date(2011, 12, 28), date(2012, 1, 1))
    assert date(2011, 12, 30) not in found
    assert found[date(2011, 12, 29)] == (instant("2011-12-29T10:00:00"), instant("2011-12-30T10:00:00"))
    assert found[date(2011, 12, 31)] == (instant("2011-12-30T10:00:00"), instant("2011-12-31T10:00:00"))


@pytest.mark.parametrize("zone", ZONES)
def test_days_leave_no_gap_and_do_not_overlap(zone: str) -> None:
    found = spans(zone, date(2011, 12, 1), date(2012, 1, 31)) | spans(zone, date(2026, 1, 1), date(2027, 1, 1))
    for (day, (_, ends)), (following, (begins, _)) in pairwise(sorted(found.items())):
        if following - day < timedelta(days=300):
            assert ends == begins


@settings(max_examples=200, deadline=None)
@given(zone=st.sampled_from(ZONES), at=st.datetimes(datetime(2026, 1, 3), datetime(2026, 12, 29)))  # noqa: DTZ001  # naive UTC, as staged
def test_every_instant_falls_on_the_local_day_its_zone_says(zone: str, at: datetime) -> None:
    local = at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date()
    rows = calendars.local_day_rows(zone, at.date() - timedelta(days=3), at.date() + timedelta(days=3))
    hits = [(day, ends, end_us) for _, utc_day, day, begins, ends, end_us in rows if utc_day == at.date() and begins <= at < ends]
    assert [day for day, _, _ in hits] == [local]
    assert hits[0][2] == calendars.microseconds(hits[0][1])


def test_microseconds_are_counted_from_the_epoch() -> None:
    assert calendars.microseconds(instant("2026-04-01T00:00:00.000001")) == 1_775_001_600_000_001  # date -u -d 2026-04-01 +%s


TENANTS = """tenants:
  - {tenant_id: ktm, name: K, zone: Asia/Kathmandu, currency: NPR, plan: p, grace_days: 2}
  - {tenant_id: ny, name: N, zone: America/New_York, currency: USD, plan: p, grace_days: 2}
  - {tenant_id: utc, name: U, zone: UTC, currency: EUR, plan: p, grace_days: 0}
"""


def test_periods_are_instants_with_a_cut_off_day(bench: Bench) -> None:
    bench.declare("tenants", TENANTS)
    found = {
        (tenant, period.isoformat()[:7]): (begins, ends, cutoff.isoformat())
        for tenant, period, begins, ends, cutoff in calendars.period_rows(bench.home)
    }
    assert found["ny", "2026-03"] == (instant("2026-03-01T05:00:00"), instant("2026-04-01T04:00:00"), "2026-04-03")  # 743 hours
    assert found["ny", "2026-11"] == (instant("2026-11-01T04:00:00"), instant("2026-12-01T05:00:00"), "2026-12-03")  # 721 hours
    assert found["ktm", "2026-04"] == (instant("2026-03-31T18:15:00"), instant("2026-04-30T18:15:00"), "2026-05-02")
    assert found["utc", "2026-12"] == (instant("2026-12-01T00:00:00"), instant("2027-01-01T00:00:00"), "2027-01-01")
    assert {period for _, period in found} == {f"{year}-{month:02}" for year in (2026, 2027) for month in range(1, 13)}


TENANT = "  - {tenant_id: a, name: A, zone: UTC, currency: EUR, plan: p, grace_days: 2}\n"
METER = "  - {meter: m, type: t, aggregation: count, unit: u}\n"
SOURCE = "  a: {about: a, owner: o, start: 2026-01-01}\n"


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        (
            "tenants",
            f"tenants:\n{TENANT}{TENANT.replace('UTC', 'Europe/Atlantis').replace('id: a', 'id: b')}",
            3,
            "Europe/Atlantis is no IANA time zone",
        ),
        ("tenants", f"tenants:\n{TENANT}{TENANT.replace('EUR', 'euro').replace('id: a', 'id: b')}", 3, "euro"),
        ("tenants", f"tenants:\n{TENANT}{TENANT.replace('days: 2', 'days: 99')}", 3, "99"),
        ("tenants", f"tenants:\n{TENANT}{TENANT.replace('grace_days', 'grace')}", 3, "grace: Extra inputs"),
        ("tenants", f"tenants:\n{TENANT}{TENANT}", 3, "declared twice"),
        ("tenants", "tenants:\n  - tenant_id: a\n    stages:\n      - product: p\n        stage: beta\n", 5, "beta"),
        ("tenants", "tenants:\n  - just text\n", 2, "just text"),
        ("tenants", "tenant: []\n", 1, "expected one key `tenants`"),
        ("tenants", "", 1, "expected one key `tenants`"),
        ("meters", f"meters:\n{METER}{METER.replace('count', 'median')}", 3, "median"),
        ("meters", f"meters:\n{METER}{METER.replace('meter: m', 'meter: M 1')}", 3, "M 1"),
        ("meters", f"meters:\n{METER.replace('}', ', floor: 0}')}", 2, "greater than 0"),
        ("meters", f"meters:\n{METER.replace('}', ', flor: 1}')}", 2, "flor"),
        (
            "explained",
            "explained:\n  - {tenant_id: a, meter: m, period: April, reason: r, note: n, owner: o, expires: 2026-06-30}\n",
            2,
            "April",
        ),
        ("conflicts", "conflicts:\n  - {tenant_id: a, source: s, id: i, choice: last, reason: r, owner: o}\n", 2, "last"),
        ("sources", f"sources:\n{SOURCE}{SOURCE.replace('a:', 'b:', 1).replace('start', 'begin')}", 3, "begin"),
        ("sources", "sources: []\n", 1, "expected one key `sources`"),
        ("sources", "source: {}\n", 1, "expected one key `sources`"),
        ("calendar", "start: 2026-01-01\nend: soon\n", 2, "soon"),
        ("calendar", "start: 2026-01-01\nend: 2025-01-01\n", 2, "before start"),
    ],
)
def test_a_mistake_names_file_line_and_value(bench: Bench, name: str, text: str, line: int, said: str) -> None:
    bench.declare(name, text)
    with pytest.raises(MissionError, match=re.escape(f"{bench.home.reference / name}.yaml:{line}: ")) as error:  # noqa: PT012  # one of three readers
        if name == "sources":
            reference.read_sources(bench.home)
        elif name == "calendar":
            reference.read_calendar(bench.home)
        else:
            reference.read(bench.home, name)
    assert said in str(error.value)


def test_unreadable_yaml_names_its_line(bench: Bench) -> None:
    bench.declare("meters", "meters:\n  - {meter: [}\n")
    with pytest.raises(MissionError, match=r"meters\.yaml:2: not readable YAML"):
        reference.read(bench.home, "meters")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-02-30", "'2026-02-30' is no day or instant that exists"),
        ("2026-13-45", "'2026-13-45' is no day"),
        ("!!timestamp abc", "'abc' is no day"),
        ("!!int abc", "'abc' is no whole number"),
        ("0x_", "'0x_' is no whole number"),
        ("9" * 5_000, "is no whole number"),
        ("0x" + "f" * 5_000, "is no whole number"),  # Python reads it and will not print it
        (":".join(["59"] * 200_000), "is no whole number"),  # base 60
        ("!!bool perhaps", "'perhaps' is no yes or no"),
        ("!!binary ä", "base64"),
        ("{? [a] : 1}", "unhashable"),
        ("[" * 3_000, "nested deeper than 40 levels"),
        ("[" * 100_000, "nested deeper than 40 levels"),
        ("&a [*a]", "alias *a stands inside what it names"),
        ("*nowhere", "undefined alias"),
        ("\x07", "not allowed"),
    ],
)
def test_what_yaml_cannot_make_a_value_of_names_its_line(bench: Bench, value: str, said: str) -> None:
    bench.declare("meters", f"meters:\n  - x: {value}\n")
    with pytest.raises(MissionError, match=r"meters\.yaml:[1-3]: not readable YAML: ") as error:
        reference.read(bench.home, "meters")
    assert said in str(error.value)
    assert len(str(error.value)) < 600


def test_aliases_repeat_a_bounded_number_of_values(tmp_path: Path) -> None:
    # Ten values and their list are 11; ten lists of them and theirs 111, then 1,111: aliases repeat 10 * 11, 10 * 111, and 10 * 1,111 are too many.
    file = tmp_path / "laughs.yaml"
    lines = [f"a: &a [{', '.join('0' * 10)}]", *(f"{each}: &{each} [{', '.join([f'*{before}'] * 10)}]" for before, each in pairwise("abc"))]
    file.write_text("\n".join(lines))
    assert load_yaml(file)["c"] == [[[0] * 10] * 10] * 10
    file.write_text("\n".join([*lines, f"d: [{', '.join(['*c'] * 10)}]"]))
    with pytest.raises(MissionError, match=r"laughs\.yaml:4: .*its aliases repeat more than 10000 values; write them out"):
        load_yaml(file)


def test_forty_levels_are_read(tmp_path: Path) -> None:
    found, levels = "[" * 40 + "]" * 40, 0
    (tmp_path / "deep.yaml").write_text(found)
    inner = load_yaml(tmp_path / "deep.yaml")
    while inner:
        (inner,), levels = inner, levels + 1
    assert (inner, levels) == ([], 39)  # the fortieth list is empty


def test_what_is_no_plain_file_is_said_and_not_waited_for(bench: Bench) -> None:
    file = bench.home.reference / "sprints.yaml"
    for make, said in (
        (os.mkfifo, "no plain file"),
        (Path.mkdir, "no plain file|Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
    ):
        make(file)
        with pytest.raises(MissionError, match=rf"sprints\.yaml: ({said})"):
            reference.read_sprints(bench.home)
        file.rmdir() if file.is_dir() else file.unlink()
    assert reference.read_sprints(bench.home) == []


@pytest.mark.parametrize("name", ["people", "subscriptions", "credits", "corrections", "retention", "accounts"])
def test_an_optional_file_that_cannot_be_read_is_not_taken_for_none(bench: Bench, name: str) -> None:
    file = bench.home.reference / f"{name}.yaml"
    file.unlink(missing_ok=True)
    file.symlink_to(file)
    assert any(f"{file}: Too many levels of symbolic links" in line for line in lint.problems(bench.home))


SPRINT = "  - {sprint: '35', first: 2026-04-27, last: 2026-05-08, zone: Asia/Tokyo}\n"


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("last: 2026-05-08", "last: 9999-12-31", 2, "less than 2200-01-01"),
        ("first: 2026-04-27", "first: 0001-01-01", 2, "greater than or equal to 1970-01-01"),
        ("'35'", "'2026-05-06'", 2, "a sprint may be named by its first day too"),
        ("'35'", "'36-drills'", 2, "begins with sprint 36's name and a dash"),
    ],
)
def test_a_sprint_that_no_run_could_use_is_refused(bench: Bench, before: str, after: str, line: int, said: str) -> None:
    later = SPRINT.replace("'35'", "'36'").replace("2026-04-27", "2026-05-11").replace("2026-05-08", "2026-05-22")
    bench.declare("sprints", f"sprints:\n{SPRINT}{later}")
    assert [each.sprint for each in reference.read_sprints(bench.home)] == ["35", "36"]
    bench.declare("sprints", f"sprints:\n{SPRINT.replace(before, after)}{later}")
    with pytest.raises(MissionError, match=rf"sprints\.yaml:{line}: ") as error:
        reference.read_sprints(bench.home)
    assert said in str(error.value)


def test_lint_names_a_sprint_outside_the_calendar(bench: Bench) -> None:
    bench.declare("sprints", f"sprints:\n{SPRINT}")
    end = reference.read_calendar(bench.home).end
    assert not [line for line in lint.problems(bench.home) if "outside the calendar" in line]
    bench.declare(
        "sprints",
        f"sprints:\n{SPRINT}{SPRINT.replace('35', '99').replace('2026-04-27', '2026-05-11').replace('2026-05-08', f'{end.year + 1}-01-01')}",
    )
    assert any(
        f"sprints.yaml:3: sprint 99: 2026-05-11..{end.year + 1}-01-01 lies outside the calendar" in line
        for line in lint.problems(bench.home)
    )


def test_a_declaration_in_order_of_its_key_with_exact_floors(bench: Bench) -> None:
    bench.declare("meters", f"meters:\n{METER.replace('meter: m', 'meter: z').replace('}', ', floor: 0.1}')}{METER}")
    assert [(row.meter, row.floor) for row in reference.read(bench.home, "meters")] == [("m", Decimal(1)), ("z", Decimal("0.1"))]


CSV = "tenant_id,name,zone,currency,plan,grace_days,stages\n"
ACME = 'acme,"Acme, Inc.",Europe/Berlin,EUR,growth,2,"[{""product"": ""api"", ""stage"": ""ga"", ""from"": ""2026-01-01T00:00:00Z""}]"\n'


def csv_tenants(bench: Bench, text: str) -> None:
    (bench.home.reference / "tenants.yaml").unlink()
    (bench.home.reference / "tenants.csv").write_text(text, encoding="utf-8")


def test_tenants_may_be_a_csv_file(bench: Bench) -> None:
    csv_tenants(bench, CSV + ACME + "zed,Zed,UTC,USD,starter,0,\n")
    acme, zed = reference.read(bench.home, "tenants")
    assert (acme.name, acme.zone, acme.grace_days, acme.stages[0].stage) == ("Acme, Inc.", "Europe/Berlin", 2, "ga")
    assert (zed.tenant_id, zed.stages) == ("zed", ())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (CSV + ACME + ACME, 3, "declared twice"),
        (CSV + "a,A,Europe/Atlantis,EUR,p,2,\n", 2, "Europe/Atlantis is no IANA time zone"),
        (CSV + ACME + "a,A,UTC,EUR,p\n", 3, "5 cells, the header has 7"),
        (CSV + "a,A,UTC,EUR,p,2,not json\n", 2, "is no JSON"),
        (CSV.replace("plan", "name"), 1, "a column is there twice"),
        (CSV.replace("plan", "plam") + ACME, 2, "plam"),
        (CSV + f"{'x' * 201},A,UTC,EUR,p,2,\n", 2, "tenant_id:maxLength"),
    ],
)
def test_a_mistake_in_the_csv_file_names_its_line(bench: Bench, text: str, line: int, said: str) -> None:
    csv_tenants(bench, text)
    with pytest.raises(MissionError, match=re.escape(f"tenants.csv:{line}: ")) as error:
        reference.read(bench.home, "tenants")
    assert said in str(error.value)


def test_two_files_of_tenants_are_one_too_many(bench: Bench) -> None:
    (bench.home.reference / "tenants.csv").write_text(CSV, encoding="utf-8")
    with pytest.raises(MissionError, match="Keep one of the two files"):
        reference.read(bench.home, "tenants")


def test_a_home_may_ask_more_of_its_tenants(bench: Bench) -> None:
    own = bench.home.root / "checks" / "contracts" / "tenants.odcs.yaml"
    own.parent.mkdir(parents=True)
    text = (CHECKOUT / "checks" / "contracts" / own.name).read_text(encoding="utf-8")
    own.write_text(
        text.replace(
            "name: plan, logicalType: string, physicalType: VARCHAR, required: true, logicalTypeOptions: {minLength: 1}",
            "name: plan, logicalType: string, physicalType: VARCHAR, required: true, logicalTypeOptions: {pattern: 'gold|silver'}",
        )
    )
    bench.declare("tenants", f"tenants:\n{TENANT}")
    with pytest.raises(MissionError, match=r"tenants\.yaml:2: plan:pattern \(refused by tenants\.odcs\.yaml\)"):
        reference.read(bench.home, "tenants")


def test_a_missing_file_is_named_with_its_remedy(bench: Bench) -> None:
    (bench.home.reference / "meters.yaml").unlink()
    with pytest.raises(MissionError, match=r"meters\.yaml: missing\. `mission init DIR`"):
        reference.read(bench.home, "meters")
