"""Price books as files: what is refused with file and line, what only shows together with other declarations, and `mission rate`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Bench
from priced import text_of

from mc_pipelines.cli import main
from mc_pipelines.errors import MissionError
from mc_pipelines.lint import problems
from mc_pipelines.rating.book import read_book, read_books
from mc_pipelines.rating.subscriptions import read_credits, read_subscriptions

GOOD = """price_book: standard
version: "2026-1"
effective: 2026-01-01T00:00:00Z
currency: EUR
taxes: {vat: "19"}
plans:
  standard:
    tax: vat
    charges:
      - id: api
        meter: api_requests
        model: graduated
        tiers:
          - {up_to: "100", price: "0.10"}
          - {up_to: "200", price: "0.05"}
          - {price: "0.01"}
      - {id: fee, model: flat, price: "49", prorate: true}
"""


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        (
            "prorate: true",
            "prorated: true",
            17,
            "unknown key 'prorated'; known are id, about, tax, discount_percent, model, price, prorate",
        ),
        ("currency: EUR", "curency: EUR", 4, "unknown key 'curency'"),
        ("- {price: ", "- {prise: ", 16, "unknown key 'prise'; known are up_to, price, flat"),
        ('"49"', "49.10", 17, "YAML reads this as float; write it as text, in quotes"),
        ('"49"', "49", 17, "YAML reads this as int; write it as text, in quotes"),
        ('"49"', "1_000", 17, "YAML reads this as int"),
        ('"49"', "yes", 17, "write plain digits"),
        ('"49"', "true", 17, "YAML reads this as bool; write it as text"),
        ('"49"', '"-49"', 17, "no sign"),
        ('"49"', '"4e1"', 17, "no exponent"),
        ('"49"', '"1,000"', 17, "no separators"),
        ('"49"', '"0.1234567890123"', 17, "at most 15 before the point and 12 after it"),
        ("prorate: true", "prorate: yes", 17, "write true or false (got 'yes')"),
        ("prorate: true", "prorate: 1", 17, "write true or false (got 1)"),
        ('up_to: "200"', 'up_to: "100"', 15, "up_to 100 is not above 100, where this tier begins"),
        ('up_to: "200"', 'up_to: "99"', 15, "up_to 99 is not above 100"),
        ('{up_to: "200", price', "{price", 15, "only the last tier is open"),
        ('- {price: "0.01"}', '- {up_to: "300", price: "0.01"}', 16, "the last tier is open"),
        ("EUR", "EURO", 4, "'EURO' is no currency of ISO 4217"),
        ("EUR", "NO", 4, "'NO' is no currency"),  # Norway is a text here, not false
        ("EUR", "XAU", 4, "XAU has no minor units"),
        ("tax: vat", "tax: gst", 8, "tax 'gst' is not under taxes, which has vat"),
        ("model: flat,", "model: flat, tax: gst,", 17, "tax 'gst' is not under taxes"),
        ('vat: "19"', 'vat: "119"', 5, "write 100 at most"),
        ("2026-01-01T00:00:00Z", "2026-01-01", 3, "write an instant with its zone"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", 3, "write an instant with its zone"),
        ("2026-01-01T00:00:00Z", "20260101", 3, "write an instant with its zone"),
        ('version: "2026-1"', "version: 2026", 2, "YAML reads this as int; write it as text"),
        ("id: fee", "id: api", 17, "charge api stands twice in this plan"),
        (GOOD[GOOD.index("plans:") :], "plans: {}\n", 6, "a price book needs a plan"),
        (GOOD[GOOD.index("    charges:") :], "    charges: []\n", 9, "a plan needs a charge"),
        ("model: graduated", "model: gradual", 10, "graduated"),
        ("currency: EUR", "currency: EUR\ncurrency: USD", 5, "stands twice"),
        ("currency: EUR", "currency: EUR\npolicy: mine", 5, "no policy is called 'mine'; known are 2026-1"),
        (
            "meter: api_requests",
            "meter: api_requests\n        unit_conversion: {divide_by: '3', rounding: none}",
            12,
            "has no end in decimals",
        ),
        ("meter: api_requests", "meter: api_requests\n        unit_conversion: {rounding: ceil}", 12, "write divide_by or multiply_by"),
        ("    tax: vat", "    tax: vat\n    minimum: '2'\n    maximum: '1'", 9, "minimum: 2 is above the maximum of 1; lower it"),
        ("model: flat", "model: percentage, meter: m, rate: '1', event_minimum: '2', event_maximum: '1'", 17, "unknown key"),
    ],
)
def test_a_mistake_names_its_file_line_value_and_remedy(tmp_path: Path, before: str, after: str, line: int, said: str) -> None:
    assert before in GOOD
    path = tmp_path / "book.yaml"
    path.write_text(GOOD.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(MissionError) as error:
        read_book(path)
    first = next(each for each in str(error.value).splitlines() if said in each)
    assert first.startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("charge", "said"),
    [
        (
            "{id: c, model: percentage, meter: m, rate: '1', event_minimum: '2', event_maximum: '1'}",
            "event_minimum: 2 is above the maximum of 1; lower it",
        ),
        ("{id: c, model: per_unit, meter: m, price: '1', minimum: '2', maximum: '1'}", "minimum: 2 is above the maximum of 1; lower it"),
        ("{id: c, model: percentage, meter: m, rate: '1', allowance: '1'}", "unknown key 'allowance'"),
        ("{id: c, model: percentage, meter: m, rate: '1', free_events: true}", "write a whole number"),
        ("{id: c, model: graduated, meter: m, tiers: []}", "needs a tier"),
        ("{id: c, model: package, meter: m, size: '0', price: '1'}", "write more than 0"),
        ("{id: c, model: matrix, meter: m, dimensions: [a, b], prices: [{match: {a: x}, price: '1'}]}", "match names a; name a, b"),
        (
            "{id: c, model: matrix, meter: m, dimensions: [a], prices: [{match: {a: x}, price: '1'}, {match: {a: x}, price: '2'}]}",
            "x has a price already",
        ),
        (
            "{id: c, model: matrix, meter: m, dimensions: [a], prices: [{match: {a: no}, price: '1'}, {match: {a: 1}, price: '2'}]}",
            "YAML reads this as int",
        ),
        ("{id: c, model: matrix, meter: m, dimensions: [], prices: []}", "a matrix needs a dimension"),
        ("{id: C, model: flat, price: '1'}", "pattern"),
    ],
)
def test_a_charge_that_cannot_be_meant_is_refused(tmp_path: Path, charge: str, said: str) -> None:
    path = tmp_path / "book.yaml"
    path.write_text(text_of(f"- {charge}"), encoding="utf-8")
    with pytest.raises(MissionError, match=said) as error:
        read_book(path)
    assert str(error.value).startswith(f"{path}:10: ")


@pytest.mark.parametrize("text", ["", "[]", "price_book: [", "\ttab: 1", "a: 2026-13-01"])
def test_a_file_that_is_no_price_book_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "book.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MissionError, match=r"book\.yaml:\d+: "):
        read_book(path)


def home_with(bench: Bench, subscriptions: str = "", **books: str) -> Bench:
    folder = bench.home.reference / "price_books"
    folder.mkdir(exist_ok=True)
    for name, text in books.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    if subscriptions:
        bench.declare("subscriptions", subscriptions)
    return bench


def test_a_home_without_prices_has_no_problem(bench: Bench) -> None:
    assert (problems(bench.home), read_subscriptions(bench.home), read_credits(bench.home)) == ([], [], [])


def test_a_home_whose_declarations_agree_has_no_problem(bench: Bench) -> None:
    bench.declare("credits", "credits:\n  - {tenant_id: acme, amount: '100', currency: EUR}\n")
    rows = "subscriptions:\n  - {tenant_id: acme, plan: standard, price_book: standard, from: 2026-02-01}\n"
    assert problems(home_with(bench, rows, one=GOOD).home) == []


@pytest.mark.parametrize(
    ("book", "subscriptions", "credits", "expected"),
    [
        (
            GOOD.replace("api_requests", "api_request"),
            "",
            "",
            [
                "price_books/one.yaml:11: charge api: meter 'api_request' is not in meters.yaml. It has api_requests.",
                "meters.yaml:2: meter api_requests: no price book has a charge for it, so its usage blocks the close. Add one; its price may be 0.",
            ],
        ),
        (
            GOOD.replace("model: graduated", "filter: {region: [eu]}\n        model: graduated"),
            "",
            "",
            [
                "price_books/one.yaml:12: charge api: 'region' is no dimension of meter api_requests, which has none. Add it in meters.yaml, or take it out here."
            ],
        ),
        (
            GOOD.replace('model: flat, price: "49", prorate: true', "model: percentage, meter: api_requests, rate: '1'"),
            "",
            "",
            ["price_books/one.yaml:17: charge fee: meter api_requests has no value per event to take a percentage of. Name one that has."],
        ),
        (
            GOOD.replace("  standard:", "  gold:"),
            "",
            "",
            [
                "tenants.yaml:2: tenant acme: plan standard in EUR is offered by no price book. "
                "Offer it in one price book of this currency, or name the book in subscriptions.yaml."
            ],
        ),
        (
            GOOD,
            "{tenant_id: acme, plan: gold, price_book: standard, from: 2026-02-01}",
            "",
            [
                "subscriptions.yaml:2: standard 2026-1 offers no plan 'gold', which tenant acme has. It offers standard.",
                "tenants.yaml:2: tenant acme has plan standard here and gold in subscriptions.yaml. Name one of those here.",
            ],
        ),
        (
            GOOD,
            "{tenant_id: acme, plan: standard, price_book: none, from: 2026-02-01}",
            "",
            ["subscriptions.yaml:2: no price book is called 'none'; there are standard."],
        ),
        (
            GOOD.replace("EUR", "USD"),
            "{tenant_id: acme, plan: standard, price_book: standard, from: 2026-02-01}",
            "",
            ["subscriptions.yaml:2: standard is in USD, tenant acme in EUR. Name a book of that currency."],
        ),
        (
            GOOD,
            "{tenant_id: acme, plan: standard, price_book: standard, from: 2025-12-31}",
            "",
            [
                "subscriptions.yaml:2: no version of standard is in force at 2025-12-30T23:00:00Z. Begin later, or let a version begin earlier."
            ],
        ),
        (
            GOOD,
            "{tenant_id: acme, plan: standard, price_book: standard, from: 2026-02-01, until: 2026-01-01}",
            "",
            [
                "subscriptions.yaml:2: subscriptions of acme: standard from 2026-02-01 until 2026-01-01 is empty. Let each begin where the one before ends."
            ],
        ),
        (
            GOOD,
            "{tenant_id: acme, plan: standard, price_book: standard, from: 2026-02-01}\n  - {tenant_id: nobody, plan: standard, price_book: standard, from: 2026-02-01}",
            "",
            ["subscriptions.yaml:3: tenant 'nobody' is not declared. Add it to the tenants, or take this out."],
        ),
        (
            GOOD,
            "{tenant_id: acme, plan: standard, price_book: standard, from: 1}",
            "",
            [
                "subscriptions.yaml:2: subscriptions.0.from: write a local day such as 2026-04-10, or an instant with its zone such as 2026-04-10T12:00:00Z (got 1)."
            ],
        ),
        (
            GOOD,
            "",
            "{tenant_id: acme, amount: '10', currency: USD}",
            ["credits.yaml:2: a credit in USD for tenant acme, who is billed in EUR. Give it in EUR."],
        ),
        (
            GOOD,
            "",
            "{tenant_id: nobody, amount: '10', currency: USD}",
            ["credits.yaml:2: tenant 'nobody' is not declared. Add it to the tenants, or take this out."],
        ),
        (
            GOOD,
            "",
            "{tenant_id: acme, amount: '10.005', currency: EUR}",
            ["credits.yaml:2: credits.0.amount: EUR has 2 decimals; write an amount that can be paid."],
        ),
        (
            GOOD,
            "",
            "{tenant_id: acme, amount: 10.5, currency: EUR}",
            [
                "credits.yaml:2: credits.0.amount: YAML reads this as float; write it as text, in quotes, so that every digit counts (got 10.5)."
            ],
        ),
    ],
)
def test_what_shows_only_together_is_named_by_line(bench: Bench, book: str, subscriptions: str, credits: str, expected: list[str]) -> None:
    home_with(bench, f"subscriptions:\n  - {subscriptions}\n" if subscriptions else "", one=book)
    if credits:
        bench.declare("credits", f"credits:\n  - {credits}\n")
    assert problems(bench.home) == [f"{bench.home.reference}/{line}" for line in expected]


def test_versions_that_cannot_stand_side_by_side_are_named(bench: Bench) -> None:
    two = GOOD.replace("EUR", "USD")
    found = problems(home_with(bench, one=GOOD, two=two).home)
    folder = bench.home.reference / "price_books"
    assert found[:3] == [
        f"{folder}/two.yaml:3: one.yaml is effective at the same instant. Change one of the two.",
        f"{folder}/two.yaml:2: one.yaml is version 2026-1 too. Give this one another.",
        f"{folder}/two.yaml:4: one.yaml is in EUR. A price book keeps its currency; give this one another price_book.",
    ]


def test_a_version_that_drops_a_plan_is_named_while_somebody_has_it(bench: Bench) -> None:
    # midnight of 1 July in Berlin, where acme is
    later = GOOD.replace('"2026-1"', '"2026-2"').replace("2026-01-01T00", "2026-06-30T22").replace("  standard:", "  gold:")
    row = "subscriptions:\n  - {tenant_id: acme, plan: standard, price_book: standard, from: 2026-02-01%s}\n"
    home_with(bench, row % "", one=GOOD, two=later)
    said = "standard 2026-2 offers no plan 'standard', which tenant acme has. It offers gold."
    assert problems(bench.home) == [f"{bench.home.reference}/subscriptions.yaml:2: {said}"]
    assert problems(home_with(bench, row % ", until: 2026-07-01").home) == []
    moved = "  - {tenant_id: acme, plan: gold, price_book: standard, from: 2026-07-02}\n"
    assert problems(home_with(bench, row % "" + moved).home) == [f"{bench.home.reference}/subscriptions.yaml:2: {said}"]
    assert problems(home_with(bench, row % "" + moved.replace("07-02", "07-01")).home) == []


@pytest.mark.parametrize(
    ("meter", "before", "after", "said"),
    [
        ("unique_count, value: path", '"0.05"', '"0.06"', "the parts of a unique_count do not add up"),
        ("unique_count, value: path", '"49"', '"59"', ""),  # a fee changes, the charge on the meter does not
        ("unique_count, value: path", "continue", "restart", ""),
        ("sum, value: bytes", '"0.05"', '"0.06"', ""),
    ],
)
def test_a_changed_charge_whose_tiers_go_on_is_named_where_its_parts_do_not_add_up(
    bench: Bench, meter: str, before: str, after: str, said: str
) -> None:
    bench.declare("meters", f"meters:\n  - {{meter: api_requests, type: http.request, aggregation: {meter}, unit: one, floor: 1}}\n")
    one = GOOD.replace("currency: EUR", "currency: EUR\ncumulative_tiers: continue")
    two = one.replace("2026-01-01T", "2026-04-10T").replace('"2026-1"', '"2026-2"').replace(before, after)
    found = problems(home_with(bench, one=one, two=two).home)
    folder = bench.home.reference / "price_books"
    remedy = "Write cumulative_tiers: restart, or leave it as it is in 2026-1."
    assert found == ([f"{folder}/two.yaml:11: charge api changes, and {said}. {remedy}"] if said else [])


def test_every_broken_file_is_named_at_once(bench: Bench) -> None:
    home_with(bench, one=GOOD.replace("EUR", "EURO"), two=GOOD.replace("vat", "gst", 1))
    with pytest.raises(MissionError, match=r"one\.yaml:4: (.|\n)*two\.yaml:8: "):
        read_books(bench.home)
    assert len(problems(bench.home)) == 2


def mission_rate(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["rate", "--price", str(path), *arguments])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "book.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_mission_rate_shows_the_lines(good: Path) -> None:
    result = mission_rate(good, "--charge", "api", "--quantity", "250")
    assert result.output.splitlines() == [
        "api of plan standard, standard 2026-1",
        "kind   tier      quantity  unit price  amount  discount    net  tax",
        "usage  0..100         100         0.1   10.00      0.00  10.00  vat 19 %",
        "usage  100..200       100        0.05    5.00      0.00   5.00  vat 19 %",
        "usage  200..           50        0.01    0.50      0.00   0.50  vat 19 %",
        "net 15.50 EUR",
    ]


def test_mission_rate_gives_json_of_texts(good: Path) -> None:
    [line] = json.loads(mission_rate(good, "--charge", "fee", "--days", "10/30", "--json").output)
    assert {key: line[key] for key in ("kind", "amount", "net", "unit_price", "days", "line_discount", "tax_percent")} == {
        "kind": "flat",
        "amount": "16.33",
        "net": "16.33",
        "unit_price": "49",
        "days": [10, 30],
        "line_discount": "0.00",
        "tax_percent": "19",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quantity", "1"], "there are 2 charges. Name one with --charge: api, fee"),
        (["--charge", "apy", "--quantity", "1"], "plan standard has no charge 'apy'. Name one of api, fee"),
        (["--plan", "gold", "--quantity", "1"], "it has no plan 'gold'. Name one of standard"),
        (["--charge", "api"], "takes one quantity, for example --quantity 1500; 0 given"),
        (["--charge", "api", "--quantity", "1", "--quantity", "2"], "2 given"),
        (["--charge", "api", "--quantity", "1e3"], "--quantity 1e3: no plain decimal"),
        (["--charge", "api", "--event", "1"], "charge api is graduated: it takes --quantity"),
        (["--charge", "fee", "--quantity", "1"], "charge fee is flat: it takes no usage"),
        (["--charge", "fee", "--days", "31/30"], "--days 31/30: write days of the part"),
    ],
)
def test_mission_rate_says_what_it_needs(good: Path, arguments: list[str], said: str) -> None:
    result = mission_rate(good, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
