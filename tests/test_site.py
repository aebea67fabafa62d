"""The site against invented documents of realistic size: every figure on a page must equal the JSON at the path it names."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import pytest

from mc_pipelines.errors import MissionError
from mc_pipelines.site import charts
from mc_pipelines.site import format as fmt
from mc_pipelines.site.build import build_close, build_scoreboard

METERS = (
    ("api_requests", "request", "count"),
    ("egress_bytes", "byte", "sum"),
    ("unique_paths", "path", "unique_count"),
    ("requests", "request", "count"),
    ("context_tokens", "token", "sum"),
    ("generated_tokens", "token", "sum"),
    ("unique_blocks", "block", "unique_count"),
)
ODD_NAMES = (
    "<script>alert(1)</script> & Söhne",
    "Robert'); DROP TABLE tenants;--",
    "شركة الاختبار الدولية",
    "An Organisation With A Remarkably Long Registered Name That Nobody Ever Shortens, Incorporated In Delaware And Elsewhere",
    "Unbroken" * 14,
)
NAMES = (*ODD_NAMES, *(f"Organisation {index:02d}" for index in range(6, 41)))
DAYS = tuple(f"2026-04-{day:02d}" for day in range(1, 31))
GATE: dict[str, Any] = {
    "deliverable": "metering",
    "table": "metering.variance",
    "owner": "team:finance-data",
    "severity": "critical",
    "runbook": "variance",
    "unit": "ratio",
    "expectation": "expect_column_values_to_be_between",
    "column": "variance_ratio",
    "bound": "<=",
    "threshold": "0.0025",
    "status": "passed",
    "reason": "within the threshold",
    "rows": 280,
    "offending_count": 0,
    "offending": [],
    "evidence": "metering/2026-04.html",
    "waived": False,
    "waivers": [],
}


def gate(name: str, about: str, value: str | None, margin: str | None, **changed: Any) -> dict[str, Any]:
    """A gate with 14 periods of history that ends at its value."""
    history: list[dict[str, Any]] = [
        {"period": f"2025-{index:02d}", "value": str(Decimal(value or 0) * (80 + index * 7 % 30) / 100)} for index in range(1, 13)
    ]
    history += [{"period": "2026-03", "value": None}, {"period": "2026-04", "value": value}]
    return GATE | {"gate": name, "about": about, "value": value, "margin": margin, "history": history} | changed


def board() -> dict[str, Any]:
    """Nine gates: one failed, one without evidence, one warning."""
    breach = [
        {"tenant_id": f"t-{index:02d}", "meter": "api_requests", "data.bytes": str(index * 1000), "ratio": "0.0371", "id": 364}
        for index in range(7)
    ]
    metering = [
        gate("variance_total", "Metered against the gateway log, all tenants, worst meter", "0.0019", "0.0006"),
        gate(
            "variance_tenant",
            "Largest variance of one tenant and meter",
            "0.037037037037",
            "-0.034537037037",
            status="failed",
            reason="7 of 280 pairs lie above 0.25 %: the gateway counted lines that were sent twice.",
            offending_count=7,
            offending=breach,
        ),
        gate("conflicts_open", "Ids sent with two contents and not settled", "0", "0", unit="conflicts", bound="==", threshold="0", rows=3),
        gate("quarantine_share", "Rows in quarantine of rows in", "0.00021", "0.00479", threshold="0.005", rows=123456, offending_count=26),
        gate("rows_conserved", "Rows in = accepted + quarantined", "0", "0", unit="rows", bound="==", threshold="0", rows=123456),
    ]
    landing = [
        gate("landing_complete", "Expected landing days that landed", "60", "0", unit="days", bound=">=", threshold="60", rows=60),
        gate(
            "landing_lag",
            "Hours since the newest landing day",
            "30",
            "-6",
            unit="hours",
            threshold="24",
            severity="warning",
            status="failed",
        ),
        gate(
            "quarantine_value",
            "Value of the quantities in quarantine",
            None,
            None,
            status="no_evidence",
            reason="The table has no row for 2026-04, so nothing could be judged.",
            rows=0,
            runbook=None,
            column=None,
            evidence=None,
            history=[],
        ),
        gate("large", "A number of thirty digits", "123456789012345678901234567890", "-1", unit="", threshold="1E+3", history=[]),
    ]
    attempt = {
        "edition": 1,
        "verdict": "failed",
        "as_of": "2026-05-03T00:00:00.000000Z",
        "bundle": "finance/metering/close/2026-04/001-0123456789ab",
        "digest": "01" * 32,
        "failed": ["variance_tenant", "quarantine_value"],
    }
    bundle = "finance/metering/close/2026-04/002-ab' c"
    beside = {"as_of": "2026-05-03T06:00:00.000000Z", "code": "7f3c91e2aa01", "verdict": "failed", "released": False}
    return {
        "title": "Gate scoreboard",
        "verdict": "failed",
        "released": False,
        "counts": {"passed": 6, "failed": 1, "no_evidence": 1, "warning": 1, "waived": 0},
        "deliverables": [
            beside
            | {
                "name": "metering",
                "title": "Metering close",
                "about": "Usage counted and reconciled.",
                "window": "2026-04",
                "pages": [["metering/2026-04.html", "Metering 2026-04"]],
                "gates": metering,
                "lost": None,
                "attempts": [attempt, attempt | {"edition": 2, "bundle": bundle, "failed": []}],
                "bundle": bundle,
            },
            beside
            | {
                "name": "landing",
                "title": "Landing",
                "about": "What arrived, and whether all of it did.",
                "window": "Sprint 35",
                "pages": [],
                "gates": landing,
                "lost": None,
                "attempts": [],
                "bundle": None,
            },
        ],
    }


def build(
    folder: Path,
    scoreboard: Mapping[str, Any],
    metering: Mapping[str, Any],
    batch: Mapping[str, Any] = MappingProxyType({}),
    previews: Mapping[str, bytes] = MappingProxyType({}),
) -> list[Path]:
    """A whole site: the pages of a close, then the scoreboard."""
    return [*build_close(folder, metering, batch, previews), *build_scoreboard(folder, scoreboard)]


def pairs() -> list[dict[str, Any]]:
    """Every tenant and meter within the limit but one in breach, one explained, one unreferenced and one under the floor."""
    found: list[dict[str, Any]] = [
        {
            "tenant_id": f"tenant-{tenant:02d}",
            "name": name,
            "meter": meter,
            "metered": str(10_000 * (tenant + 1)),
            "reference": str(10_000 * (tenant + 1) + tenant % 3),
            "delta": str(-(tenant % 3)),
            "currency": "EUR" if tenant % 2 else None,
            "money": f"{tenant % 3}.5" if tenant % 2 else None,
            "ratio": "0" if tenant % 3 == 0 else "0.000099990001",
            "status": "within",
            "explanation": None,
            "causes": [{"cause": "missing", "rows": tenant % 3, "quantity": str(-(tenant % 3)), "sample": "e-1"}] if tenant % 3 else [],
        }
        for tenant, name in enumerate(NAMES)
        for meter, _, _ in METERS
    ]
    duplicate = [{"cause": "duplicate", "rows": 13, "quantity": "-13"}, {"cause": "missing", "rows": 1, "quantity": "-1.5"}]
    found[0] |= {"metered": "351", "reference": "364", "delta": "-13", "ratio": "0.037037037037", "status": "breach", "causes": duplicate}
    note = {
        "reason": "pilot",
        "note": "Billed by hand during the pilot; see <b>contract</b>.",
        "owner": "dana",
        "expires": "2026-06-30",
        "by": "erin",
    }
    found[9] |= {"delta": "-300", "ratio": "0.0146", "status": "explained", "explanation": note}
    found[15] |= {"reference": None, "delta": None, "ratio": None, "status": "unreferenced"}
    found[22] |= {"status": "within_floor", "delta": "1", "ratio": "0.5"}
    return found


def meter_days(scale: int) -> list[dict[str, Any]]:
    """29 days; the 19th is absent."""
    return [
        {"day": day, "quantity": str(scale * (900 + index * 37 % 211 - 350 * (index % 7 in (3, 4)))), "events": 900 + index}
        for index, day in enumerate(DAYS)
        if index != 18
    ]


def report() -> dict[str, Any]:
    """A month of 40 tenants and 7 meters."""
    compared = [
        {"metered": "10000123.5", "reference": "10000136.5", "absolute": "13", "net": "-13", "ratio": "0.0000013", "status": "within"}
        | {"meter": m}
        for m, _, _ in METERS
    ]
    compared[0] |= {"ratio": "0.0031", "status": "breach"}
    return {
        "period": "2026-04",
        "as_of": "2026-05-03T06:00:00.000000Z",
        "meters": [
            {"meter": meter, "unit": unit, "aggregation": how, "total": str(1234567 * 10**place), "days": meter_days(10**place)}
            for place, (meter, unit, how) in enumerate(METERS)
        ],
        "top_tenants": [
            {
                "tenant_id": f"tenant-{index:02d}",
                "name": NAMES[index],
                "meter": meter,
                "quantity": str(900_000 - index),
                "share": "0.123456789",
            }
            for meter, _, _ in METERS
            for index in range(8)
        ],
        "variance": {
            "counts_repeats": True,
            "counts_repeats_why": "It writes one line per request it served, so a request sent twice stands twice.",
            "meters": compared,
            "currencies": [
                {"currency": "EUR", "tenants": 20, "reference": "120000.5", "absolute": "301.25", "net": "-300", "explained": "300"}
                | {"ratio": "0.002510406", "status": "breach"}
            ],
            "pairs": pairs(),
        },
        "causes": [{"cause": "duplicate", "meter": "api_requests", "rows": 1913, "quantity": "-1913"}],
        "quarantine": {
            "rows_in": 123456,
            "accepted": 123430,
            "quarantined": 26,
            "share": "0.000210601348",
            "reasons": [
                {
                    "source": "usage_events",
                    "reason": "data.bytes:number",
                    "rows": 26,
                    "first_day": "2026-04-02",
                    "last_day": "2026-04-29",
                    "sample": '{"id":"x","data":{"bytes":"<img src=x onerror=alert(1)>"}}' * 3,
                }
            ],
        },
        "conflicts": [{"tenant_id": "tenant-02", "source": "edge", "id": "e" * 64, "kind": "payload", "status": "open"}],
        "late": [
            {
                "tenant_id": "tenant-04",
                "meter": "egress_bytes",
                "landing_day": "2026-05-02",
                "day": "2026-04-29",
                "events": 4,
                "quantity": "4096.5",
            }
        ],
        "landing": [
            {"source": source, "day": day, "rows_in": 2000, "accepted": 1999, "quarantined": 1, "status": "landed"}
            for source in ("gateway_log", "usage_events")
            for day in DAYS[:-1]
        ]
        + [{"source": "usage_events", "day": DAYS[-1], "rows_in": 0, "accepted": 0, "quarantined": 0, "status": "missing"}],
    }


def bare() -> tuple[dict[str, Any], dict[str, Any]]:
    """A month in which nothing was declared and nothing arrived."""
    empty_board = board() | {"deliverables": []}
    empty_board["counts"] = dict.fromkeys(empty_board["counts"], 0)
    empty_report = report() | {"meters": [], "top_tenants": [], "causes": [], "conflicts": [], "late": [], "landing": []}
    empty_report["variance"] = {"counts_repeats": False, "counts_repeats_why": "", "meters": [], "currencies": [], "pairs": []}
    empty_report["quarantine"] = {"rows_in": 0, "accepted": 0, "quarantined": 0, "share": None, "reasons": []}
    return empty_board, empty_report


class Page(HTMLParser):
    """What a test asks of a page: its figures, links, headings, tags and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.figures: dict[str, str] = {}
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if path := given.get("data-path"):
            assert self.figures.setdefault(path, given["data-value"] or "") == (given["data-value"] or "")
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "th":
            assert given.get("scope") in {"row", "col"}
        assert not any(name.startswith("on") or name == "src" for name in given)

    def handle_data(self, data: str) -> None:
        self.text += data


NUMBERS = frozenset(
    (
        "value",
        "threshold",
        "margin",
        "rows",
        "offending_count",
        "edition",
        "passed",
        "failed",
        "no_evidence",
        "warning",
        "total",
        "quantity",
        "events",
        "share",
        "metered",
        "reference",
        "delta",
        "absolute",
        "net",
        "ratio",
        "rows_in",
        "accepted",
        "quarantined",
    )
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, key, value) of every leaf of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = f"{path}.{fmt.step(key)}" if path else fmt.step(key)
        if isinstance(item, (dict, list)):
            yield from leaves(item, here)
        else:
            yield here, str(key), item


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder, board(), report())
    return folder


@pytest.mark.parametrize(("page", "document"), [("index.html", "scoreboard.json"), ("metering/2026-04.html", "metering/2026-04.json")])
def test_every_figure_equals_the_json_and_none_is_missing(site: Path, page: str, document: str) -> None:
    figures = Page(site / page).figures
    content = json.loads((site / document).read_text(encoding="utf-8"))
    known = {path: "" if value is None else str(value) for path, _, value in leaves(content)}
    assert figures == {path: known[path] for path in figures}
    # A gate that nothing offends shows no empty list of offending rows, hence no zero either.
    expected = {
        path
        for path, key, value in leaves(content)
        if key in NUMBERS
        and isinstance(value, (int, str))
        and fmt.exact(value) is not None
        and not (key == "offending_count" and value == 0)
    }
    assert expected <= figures.keys()
    assert len(figures) > 100


def test_same_input_same_bytes_and_only_changed_paths_are_returned(tmp_path: Path) -> None:
    written = build(tmp_path, board(), report())
    names = ["metering/2026-04.json", "metering/2026-04.html", "scoreboard.json", "index.html"]
    assert written == [tmp_path / name for name in names]
    before = {path: path.read_bytes() for path in written}
    assert build(tmp_path, board(), report()) == []
    changed = board()
    changed["deliverables"][0]["code"] = "000000000000"
    assert build(tmp_path, changed, report()) == [tmp_path / "scoreboard.json", tmp_path / "index.html"]
    build(tmp_path, board(), report())
    assert {path: path.read_bytes() for path in written} == before
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(path.name for path in written)


def test_key_order_of_the_input_does_not_reach_the_files(tmp_path: Path) -> None:
    build(tmp_path, board(), report())
    assert build(tmp_path, dict(reversed(board().items())), dict(reversed(report().items()))) == []


def test_pages_hold_no_script_and_no_address_outside(site: Path) -> None:
    for name in ("index.html", "metering/2026-04.html"):
        page = Page(site / name)
        assert "http://" not in page.source
        assert "https://" not in page.source
        assert not page.tags & {"script", "img", "iframe", "object", "form"}
        assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page.source


def test_every_link_resolves(site: Path) -> None:
    for name in ("index.html", "metering/2026-04.html"):
        page = Page(site / name)
        for link in page.links:
            file, _, anchor = link.partition("#")
            target = ((site / name).parent / file).resolve() if file else site / name
            assert target.is_file(), link
            assert not anchor or f'id="{anchor}"' in target.read_text(encoding="utf-8"), link


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metering_variance", "metering_<wbr>variance"),
        ("close/2026-04/001-748fb299f9b8", "close/<wbr>2026-<wbr>04/<wbr>001-<wbr>748fb299f9b8"),
        ("0123456789abcdef01234567", "01234567<wbr>89abcdef<wbr>01234567"),
        ("_a__b_", "_<wbr>a__<wbr>b_"),
        ("<b>&_x", "&lt;b&gt;&amp;_<wbr>x"),
        ("", ""),
    ],
)
def test_a_name_may_break_after_its_separators(text: str, expected: str) -> None:
    assert fmt.breaks(text) == expected


def test_hostile_names_are_shown_as_text(site: Path) -> None:
    page = Page(site / "metering" / "2026-04.html")
    for name in ODD_NAMES:
        assert name in page.text
    assert "bdi" in page.tags


def test_scoreboard_says_what_stands_in_the_way(site: Path) -> None:
    text = Page(site / "index.html").text
    assert "Not ready: 1 gate failed and 1 gate without evidence" in text
    assert "No evidence" in text
    assert "7 of 280 pairs lie above 0.25 %" in text
    assert "7 offending rows" in text
    assert "26 offending rows" in text
    assert "The gate names no single row." in text
    assert "mission verify 'evidence/finance/metering/close/2026-04/002-ab'\"'\"' c'" in text


def test_a_bundle_that_cannot_be_read_is_named_beside_the_gates_of_the_others(tmp_path: Path) -> None:
    lost = board()
    lost["deliverables"][1] |= {"gates": [], "lost": "evidence/x/data/gates.json: No such file or directory"}
    build_scoreboard(tmp_path, lost)
    text = Page(tmp_path / "index.html").text
    assert "Not ready: 1 signed bundle that cannot be read, 1 gate failed and 1 gate without evidence" in text
    assert "nothing of it counts: evidence/x/data/gates.json: No such file or directory" in text


def test_explained_is_never_shown_as_passed(site: Path) -> None:
    source = (site / "metering" / "2026-04.html").read_text(encoding="utf-8")
    row = source.split('<tbody class="explained">')[1].split("</tbody>")[0]
    assert 'class="pill explained"' in row
    assert 'class="pill passed"' not in row
    assert "expires 2026-06-30" in row
    assert "dana" in row


@pytest.mark.parametrize("counts", [True, False])
def test_report_states_whether_repeats_count(tmp_path: Path, counts: bool) -> None:
    document = report()
    document["variance"] |= {"counts_repeats": counts, "counts_repeats_why": "Because."}
    build(tmp_path, board(), document)
    text = Page(tmp_path / "metering" / "2026-04.html").text
    assert f"The gateway {'counts' if counts else 'does not count'} repeated lines. Because." in text


def test_empty_documents_are_pages_that_say_so(tmp_path: Path) -> None:
    build(tmp_path, *bare())
    assert "Not ready: no gate was judged" in Page(tmp_path / "index.html").text
    text = Page(tmp_path / "metering" / "2026-04.html").text
    for told in ("No meter has usage", "No pair was compared", "Nothing differs", "No row is in quarantine", "Nothing arrived late"):
        assert told in text


def test_a_deliverable_without_gates_and_a_ready_verdict(tmp_path: Path) -> None:
    document = board() | {"verdict": "passed", "released": True, "counts": dict.fromkeys(board()["counts"], 0) | {"passed": 1}}
    document["deliverables"][0]["gates"] = document["deliverables"][0]["gates"][:1]
    document["deliverables"][1]["gates"] = []
    build(tmp_path, document, report())
    text = Page(tmp_path / "index.html").text
    assert "Ready: the one gate passed" in text
    assert "No gate is declared for this deliverable" in text


def test_what_is_waived_shows_who_why_and_until_and_never_as_passed(tmp_path: Path) -> None:
    document = board() | {"released": True, "counts": {"passed": 6, "failed": 0, "no_evidence": 0, "warning": 1, "waived": 2}}
    said: dict[str, Any] = {
        "gate": "variance_tenant",
        "tenants": None,
        "rationale": "<b>agreed</b> with them",
        "owner": "team:sre",
        "expires": "2026-05-31",
    }
    said |= {"person": "dana", "entry": 7, "failure": "f1" * 32, "state": "stands"}
    failed = next(gate for gate in document["deliverables"][0]["gates"] if gate["status"] == "failed")
    expired = said | {"tenants": ["acme"], "state": "expired", "expires": "2026-05-01"}
    failed |= {"waived": True, "waivers": [said, expired]}
    build(tmp_path, document, report())
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    row = source.split('<tbody class="waived">')[1].split("</tbody>")[0]
    assert 'class="pill waived"' in row
    assert "Passed" not in row
    text = Page(tmp_path / "index.html").text
    assert "Not passed, but waived: 2 gates with a signed rationale" in text
    assert "Waived through 2026-05-31: <b>agreed</b> with them Owner team:sre · signed by dana · entry 7" in text
    assert "Was waived, expired: for acme through 2026-05-01" in text


def test_a_missing_field_is_an_error_and_leaves_the_pages_as_they_were(tmp_path: Path) -> None:
    build(tmp_path, board(), report())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    broken = copy.deepcopy(report())
    del broken["variance"]["meters"][0]["net"]
    with pytest.raises((jinja2.UndefinedError, KeyError), match="net"):
        build(tmp_path, board(), broken)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("period", ["../../etc", "2026-13", "2026", "2026-04\n"])
def test_a_period_that_is_no_month_is_refused(tmp_path: Path, period: str) -> None:
    with pytest.raises(MissionError, match="give it as YYYY-MM"):
        build(tmp_path, board(), report() | {"period": period})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1234567.50", "1,234,567.50"),
        ("-13", "\u221213"),
        ("-0", "0"),
        ("1E+3", "1,000"),
        (1204, "1,204"),
        ("123456789012345678901234567890.000000001", "123,456,789,012,345,678,901,234,567,890.000000001"),
        ("n/a", "n/a"),
        ("NaN", "NaN"),
    ],
)
def test_numbers_keep_every_digit(value: str | int, shown: str) -> None:
    assert fmt.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1.25", "1.25"), ("1.500000000", "1.5"), ("0.833333334", "≈0.83"), ("1234.567", "≈1,234.57"), ("-0.001", "≈0.00"), ("7", "7")],
)
def test_a_number_cut_to_places_says_so(value: str, shown: str) -> None:
    assert fmt.number(value, places=2) == shown


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        ("0.0025", None, "0.25"),
        ("1", None, "100"),
        ("0", 4, "0"),
        ("0.037037037037", None, "3.7037037037"),
        ("0.037037037037", 4, "≈3.7037"),
        ("0.0000000001", 4, "≈0.0000"),
        ("-0.5", 4, "\u221250"),
        ("0.12345678901234567890123456789012345678", None, "12.345678901234567890123456789012345678"),
    ],
)
def test_percent_never_shortens_in_silence(value: str, places: int | None, shown: str) -> None:
    assert fmt.percent(value, places=places) == f"{shown}\u202f%"


def test_moments_and_days_are_read_in_utc() -> None:
    assert fmt.moment("2026-05-03T06:00:00.000000Z") == "2026-05-03 06:00 UTC"
    assert fmt.moment("2026-05-03T02:00:07-04:00") == "2026-05-03 06:00:07 UTC"
    assert fmt.moment("2026-05-12T23:59:59.999999Z") == "2026-05-12 23:59:59 UTC"  # the exact instant stands in the markup
    assert fmt.moment("soon") == "soon"
    assert fmt.day_label("2026-04-14") == "14\u202fApr"


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        ("0", "9", ["0", "2.5", "5", "7.5", "10"]),
        ("0", "2000000", ["0", "500k", "1M", "1.5M", "2M"]),
        ("0", "0", ["0", "1"]),
        ("-3", "5", ["\u22124", "\u22122", "0", "2", "4", "6"]),
        ("0", "4e24", ["0", "1E+24", "2E+24", "3E+24", "4E+24"]),
    ],
)
def test_axis_is_round_and_holds_zero(low: str, high: str, shown: list[str]) -> None:
    assert [fmt.compact(tick) for tick in charts.axis(Decimal(low), Decimal(high))] == shown


def test_a_missing_day_breaks_the_line_and_is_counted() -> None:
    values = charts.decimals(["1", "2", None, "4"])
    days = ["2026-04-01", "2026-04-02", "2026-04-03", "2026-04-04"]
    drawn = charts.daily(days, values, "line", "said")
    assert drawn.count("<polyline") == 1
    assert drawn.count('class="dot"') == 1
    assert (
        charts.finding(days, values, "request") == "Busiest on 4\u202fApr with 4 requests, quietest on 1\u202fApr with 1; 1 day has none."
    )


def test_the_bad_part_of_a_week_stands_at_its_foot() -> None:
    drawn = charts.weekly(
        ["2026-W14", "2026-W15", "2026-W16"], [Decimal(4), Decimal(0), Decimal(2)], [Decimal(1), Decimal(0), Decimal(2)], "said"
    )
    bars = re.findall(r'class="(bar(?: bad)?)" x="([0-9.]+)" y="([0-9.]+)" width="[0-9.]+" height="([0-9.]+)"', drawn)
    # 156 px of plot from y 10 to 166 for 4: 39 px each. W14 has 1 of 4 bad, W15 nothing, W16 is bad altogether.
    assert [(kind, float(y), float(height)) for kind, _, y, height in bars] == [
        ("bar", 10.0, 117.0),
        ("bar bad", 127.0, 39.0),
        ("bar bad", 88.0, 78.0),
    ]
    assert bars[0][1] == bars[1][1] != bars[2][1]
    assert all(f">{week}<" in drawn for week in ("W14", "W15", "W16"))


def test_sparkline_of_nothing_one_and_huge() -> None:
    assert "no history" in charts.sparkline([], Decimal(1), "x")
    assert "<polyline" not in charts.sparkline([Decimal(1)], None, "x")
    assert "nan" not in charts.sparkline([Decimal("1e400"), Decimal(0)], Decimal("0.5"), 'a "quoted" <name>')


@pytest.mark.parametrize(("value", "unit", "shown"), [("1", "byte", "byte"), ("2", "byte", "bytes"), ("2", "GB", "GB"), ("2", "ms", "ms")])
def test_units_are_plural_where_they_are_words(value: str, unit: str, shown: str) -> None:
    assert charts.unit_of(value, unit) == shown
