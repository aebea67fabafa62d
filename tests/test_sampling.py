"""How many decisions are audited, which, by whom, and what that proves. Expected values: the tables of the AICPA Audit Guide "Audit Sampling", or by hand."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from hashlib import sha256
from itertools import product
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipelines.catalog import read_catalog
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.predictive.readers import Agreement, agreement, assign, second_reads
from mc_pipelines.predictive.sampling import (
    Ladder,
    Verdict,
    lower_bound_of_agreement,
    neyman,
    proving_size,
    sample_size,
    upper_bound,
)

EXPECTED = [*(f"{n * 25 / 10000:.4f}" for n in range(17)), "0.05", "0.06", "0.07", "0.08", "0.09", "0.10", "0.125", "0.15", "0.175"]

# Audit Guide "Audit Sampling" (AICPA 2017), appendix A, as transcribed in the tests of the R package jfa, tables:
# tolerable rate in percent, then the size per expected rate.
A1 = """
2: 149 236 313 386 590 1030
3: 99 157 157 208 257 303 392 562 846 1466
4: 74 117 117 117 156 156 192 227 294 390 513 722 1098 1936
5: 59 93 93 93 93 124 124 153 181 208 234 286 361 458 624 877 1348
6: 49 78 78 78 78 78 103 103 127 127 150 173 195 238 280 341 421 1580
7: 42 66 66 66 66 66 66 88 88 88 109 109 129 148 167 185 221 478 1832
8: 36 58 58 58 58 58 58 77 77 77 77 95 95 112 112 129 146 240 532
9: 32 51 51 51 51 51 51 51 68 68 68 68 84 84 84 100 100 158 266 585
10: 29 46 46 46 46 46 46 46 46 61 61 61 61 61 76 76 89 116 179 298 649
15: 19 30 30 30 30 30 30 30 30 30 30 30 30 30 40 40 40 40 50 68 85 110 150 576
20: 14 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 30 30 37 37 44 50 88 193 720
"""
# The guide prints 112 for 7 % with 3.25 % and 3.5 %, at which the risk is 0.1007; 113 is the first size with no more than 0.10.
# Where jfa computes 423 (5 %, 3.5 %) and 1313 (8 %, 7 %), its doubles make ceil(14) = 15 and ceil(91) = 92; 400 and 1300 are by exact rates.
A2 = """
2: 114 194 194 265 398 708 1463
3: 76 129 129 129 176 221 265 390 590 974
4: 57 96 96 96 96 132 132 166 198 262 353 471 730 1258
5: 45 77 77 77 77 77 105 105 132 132 158 209 258 306 400 583 873
6: 38 64 64 64 64 64 64 88 88 88 110 132 132 153 194 235 274 1019
7: 32 55 55 55 55 55 55 55 75 75 75 94 94 113 113 131 149 318 1150
8: 28 48 48 48 48 48 48 48 48 65 65 65 65 82 82 98 98 160 349 1300
9: 25 42 42 42 42 42 42 42 42 42 58 58 58 58 73 73 73 115 182 385 1437
10: 22 38 38 38 38 38 38 38 38 38 38 52 52 52 52 52 65 78 116 199 424 1577
15: 15 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 25 34 43 52 60 77 100 368
20: 11 18 18 18 18 18 18 18 18 18 18 18 18 18 18 18 18 18 25 25 25 32 38 63 126 457
"""
# Tables: sample size, then the upper limit in percent, rounded up, for 0 to 10 deviations.
A3 = """
20: 14.0 21.7 28.3 34.4 40.2 45.6 50.8 55.9 60.7 65.4 69.9
60: 4.9 7.7 10.2 12.5 14.7 16.8 18.8 20.8 22.8 24.8 26.7
100: 3.0 4.7 6.2 7.6 9.0 10.3 11.5 12.8 14.0 15.2 16.4
500: 0.6 1.0 1.3 1.6 1.9 2.1 2.4 2.7 2.9 3.2 3.4
"""
A4 = """
20: 10.9 18.1 24.5 30.5 36.1 41.5 46.8 51.9 56.8 61.6 66.2
60: 3.8 6.4 8.7 10.8 12.9 15.0 16.9 18.9 20.8 22.7 24.6
100: 2.3 3.9 5.3 6.6 7.9 9.1 10.3 11.5 12.7 13.9 15.0
500: 0.5 0.8 1.1 1.4 1.6 1.9 2.1 2.4 2.6 2.9 3.1
"""


def rows(table: str) -> list[tuple[int, list[str]]]:
    return [(int(name), values.split()) for name, _, values in (line.partition(":") for line in table.split("\n") if line)]


@pytest.mark.parametrize(("table", "confidence"), [(A1, "0.95"), (A2, "0.90")], ids=["A-1", "A-2"])
def test_sizes_are_those_of_the_published_tables(table: str, confidence: str) -> None:
    for tolerable, sizes in rows(table):
        found = [sample_size(Decimal(EXPECTED[at]), Decimal(tolerable) / 100, Decimal(confidence)) for at in range(len(sizes))]
        assert found == [int(size) for size in sizes], f"tolerable {tolerable} %"


@pytest.mark.parametrize(("table", "confidence"), [(A3, "0.95"), (A4, "0.90")], ids=["A-3", "A-4"])
def test_upper_bounds_are_those_of_the_published_tables(table: str, confidence: str) -> None:
    for read, limits in rows(table):
        found = [upper_bound(errors, read, Decimal(confidence)) * 100 for errors in range(11)]
        assert [str(each.quantize(Decimal("0.1"), ROUND_CEILING)) for each in found] == limits, f"{read} read"


@pytest.mark.parametrize(
    ("expected", "tolerable", "confidence", "population", "size"),
    [
        ("0", "0.5", "0.95", None, 5),  # 1/2 ** 5 = 0.03125
        ("0", "0.5", "0.75", None, 2),  # 1/2 ** 2 = 0.25, which is allowed
        ("0", "0.01", "0.95", 100, 95),  # one error: (100 - n) / 100 <= 0.05
        ("0", "0.2", "0.95", 10, 8),  # two errors: (10 - n)(9 - n) / 90 is 2/90 at 8 and 6/90 at 7
        ("0.1", "0.5", "0.95", 20, 7),  # ten errors, one allowed: (120 + 10 * 210) / 77520 at 7, (210 + 10 * 252) / 38760 at 6
        ("0", "0.001", "0.95", 3, 3),  # never more than there are
        ("0.4", "0.5", "0.95", 3, 3),  # two errors, two allowed at 3: nothing less than all of them
        ("0", "0.01", "0.95", 0, 0),
    ],
)
def test_sizes_by_hand(expected: str, tolerable: str, confidence: str, population: int | None, size: int) -> None:
    assert sample_size(Decimal(expected), Decimal(tolerable), Decimal(confidence), population) == size


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 40), st.sampled_from(["0.8", "0.9", "0.95"]))
def test_a_known_population_needs_the_first_size_that_meets_the_risk(population: int, expected: int, more: int, confidence: str) -> None:
    from math import ceil, comb

    tolerable, wanted = Decimal(expected + more) / 100, 1 - Fraction(confidence)
    wrong = ceil(Fraction(tolerable) * population)

    def risk(size: int) -> Fraction:
        allowed = ceil(Fraction(expected, 100) * size)
        ways = sum(comb(wrong, bad) * comb(population - wrong, size - bad) for bad in range(min(allowed, wrong, size) + 1))
        return Fraction(ways, comb(population, size))

    first = next((size for size in range(1, population) if risk(size) <= wanted), population)
    assert sample_size(Decimal(expected) / 100, tolerable, Decimal(confidence), population) == first


@pytest.mark.parametrize(("expected", "tolerable", "confidence"), [("0.05", "0.05", "0.95"), ("0", "0", "0.95"), ("0", "0.01", "1")])
def test_what_no_sample_can_show_is_refused(expected: str, tolerable: str, confidence: str) -> None:
    with pytest.raises(MissionError, match="no sample shows that"):
        sample_size(Decimal(expected), Decimal(tolerable), Decimal(confidence))


@pytest.mark.parametrize("population", [None, 10_000_000])
def test_a_sample_that_nobody_could_read_is_refused(population: int | None) -> None:
    with pytest.raises(MissionError, match="more than 100000 would have to be read"):
        sample_size(Decimal("0.0099"), Decimal("0.01"), Decimal("0.95"), population)


def test_bounds_by_hand() -> None:
    assert proving_size(Decimal("0.01"), Decimal("0.95")) == 299
    assert upper_bound(0, 1, Decimal("0.95")) == Decimal("0.95")
    assert upper_bound(1, 2, Decimal("0.95")) == Decimal("0.974679435")  # 1 - p ** 2 = 0.05: the root of 0.95 is 0.97467943448
    without_error = 1 - (Decimal("0.05").ln() / 299).exp()
    assert upper_bound(0, 299, Decimal("0.95")) == without_error.quantize(Decimal("1e-9"), ROUND_CEILING) == Decimal("0.009969147")
    assert lower_bound_of_agreement(0, 299, Decimal("0.95")) == Decimal("0.990030853")
    assert lower_bound_of_agreement(0, 298, Decimal("0.95")) < Decimal("0.99")
    assert upper_bound(7, 7, Decimal("0.95")) == 1
    with pytest.raises(MissionError, match="8 errors of 7 read"):
        upper_bound(8, 7, Decimal("0.95"))


@pytest.mark.parametrize(
    ("sizes", "deviations", "total", "found"),
    [
        ({"a": 300, "b": 200, "c": 100}, {"a": "0.1", "b": "0.3", "c": "0.2"}, 22, {"a": 6, "b": 12, "c": 4}),  # 30 : 60 : 20
        ({"c": 100, "b": 100, "a": 100}, {}, 100, {"a": 34, "b": 33, "c": 33}),  # equal remainders: the first name
        ({"a": 1000, "b": 10}, {"a": "0.1", "b": "10"}, 50, {"a": 40, "b": 10}),  # 25 each, of which b has 10
        ({"a": 1000, "b": 10}, {"a": "0.5", "b": "0.01"}, 20, {"a": 19, "b": 1}),  # 500 : 0.1
        ({"a": 5, "b": 10, "c": 20}, {"a": "0.5", "b": "0", "c": "0"}, 20, {"a": 5, "b": 5, "c": 10}),  # what a cannot take, by size
        ({"a": 60, "b": 30, "c": 10}, {"a": "0", "b": "0"}, 10, {"a": 6, "b": 3, "c": 1}),
        ({"a": 100, "b": 100, "c": 100}, {"a": "0.1", "b": "0.3"}, 70, {"a": 10, "b": 30, "c": 30}),  # c unknown: as b
        ({"a": 9, "b": 9, "c": 9, "d": 0}, {}, 1, {"a": 1, "b": 1, "c": 1, "d": 0}),
        ({"a": 9, "b": 1}, {}, 99, {"a": 9, "b": 1}),
        ({}, {}, 5, {}),
    ],
)
def test_allocation_by_hand(sizes: dict[str, int], deviations: dict[str, str], total: int, found: dict[str, int]) -> None:
    assert list(neyman(sizes, {name: Decimal(each) for name, each in deviations.items()}, total).items()) == list(found.items())


STRATA = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 500), st.none() | st.integers(0, 50)))


@settings(max_examples=200, deadline=None)
@given(STRATA, st.integers(0, 900))
def test_allocation_adds_up_within_bounds_in_any_order(strata: Mapping[str, tuple[int, int | None]], total: int) -> None:
    sizes = {name: size for name, (size, _) in strata.items()}
    deviations = {name: Decimal(each) / 100 for name, (_, each) in strata.items() if each is not None}
    found = neyman(sizes, deviations, total)
    assert all(min(1, sizes[name]) <= each <= sizes[name] for name, each in found.items())
    assert sum(found.values()) == min(max(total, sum(size > 0 for size in sizes.values())), sum(sizes.values()))
    assert neyman(dict(reversed(sizes.items())), dict(reversed(deviations.items())), total) == found
    weights = {name: sizes[name] * deviations[name] for name in found if deviations.get(name)}
    between = {name for name in weights if 1 < found[name] < sizes[name]}
    if weights.keys() == {name for name, size in sizes.items() if size}:  # within a rounding the shares are in the ratio of the weights
        assert all((found[one] - 1) * weights[two] < (found[two] + 1) * weights[one] for one in between for two in between)


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(MissionError, match="none may be negative"):
        neyman({"a": -1}, {}, 1)


def test_a_ladder_by_hand() -> None:
    # At one in two: accepted at once with 1/2; otherwise one error, and two more without any, 1/2 * 1/4.
    ladder = Ladder(((1, 0), (3, 1)), Decimal("0.5"), Decimal("0.375"))
    assert ladder.risk == Fraction(5, 8)
    with pytest.raises(MissionError, match=r"probability 0\.625000, more than 0\.624\."):
        Ladder(((1, 0), (3, 1)), Decimal("0.5"), Decimal("0.376"))


def test_each_size_of_the_table_alone_is_no_ladder() -> None:
    # 59 without and 93 with one error each have 5 %; together 0.95 ** 59 + 59 * 0.05 * 0.95 ** 92 = 0.048495 + 0.026326
    with pytest.raises(MissionError, match=r"probability 0\.0748"):
        Ladder(((59, 0), (93, 1)), Decimal("0.05"), Decimal("0.95"))


LADDER = Ladder(((72, 0), (120, 1)), Decimal("0.05"), Decimal("0.95"))  # 0.95 ** 72 + 72 * 0.05 * 0.95 ** 119 = 0.0249 + 0.0080


@pytest.mark.parametrize(
    ("overturned", "verdict"),
    [
        ([], Verdict("go_on", 1, 72)),
        ([False] * 71, Verdict("go_on", 1, 1)),
        ([False] * 72, Verdict("stop_accept", 1)),
        ([False] * 72 + [True] * 9, Verdict("stop_accept", 1)),
        ([True] + [False] * 71, Verdict("go_on", 2, 48)),
        ([True] + [False] * 119, Verdict("stop_accept", 2)),
        ([True] + [False] * 118 + [True], Verdict("reject", 2)),
        ([True, True], Verdict("reject", 1)),
    ],
)
def test_a_ladder_decides(overturned: list[bool], verdict: Verdict) -> None:
    assert LADDER.decide(overturned) == verdict


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=3), st.integers(1, 9))
def test_the_risk_of_a_ladder_is_that_of_all_its_paths(rises: list[tuple[int, int]], wrong: int) -> None:
    steps, size, allowed = [], 0, -1
    for read, errors in rises:
        size, allowed = size + read + errors, allowed + errors
        steps.append((size, allowed))
    ladder, rate, risk = Ladder(tuple(steps), Decimal(wrong) / 10, Decimal("1e-12")), Fraction(wrong, 10), Fraction(0)
    for path in product([False, True], repeat=size):
        said = [ladder.decide(path[:read]).outcome for read in range(1, size + 1)]
        if next(outcome for outcome in said if outcome != "go_on") == "stop_accept":
            risk += rate ** sum(path) * (1 - rate) ** (size - sum(path))
    assert ladder.risk == risk


@pytest.mark.parametrize("steps", [(), ((5, 0), (5, 1)), ((5, 0), (9, 0)), ((1, 1),), ((0, -1),)])
def test_a_ladder_that_does_not_climb_is_refused(steps: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(MissionError, match=r"read more|at least one step"):
        Ladder(steps, Decimal("0.5"), Decimal("0.01"))


def test_a_ladder_whose_exact_risk_would_take_minutes_is_refused_at_once() -> None:
    # 100 has seven bits: 10,000 reads squared, ten counts of errors and seven bits are 7e9 of 2e10; ten times the reads are a hundred times that.
    Ladder(((3_000, 0), (10_000, 9)), Decimal("0.01"), Decimal("0.95"))
    for steps in (((100_000, 9),), ((90_000, 0), (99_999, 90_000)), ((10**30, 0),)):
        with pytest.raises(MissionError, match=r"its exact risk would take minutes\. Read fewer"):
            Ladder(steps, Decimal("0.01"), Decimal("0.95"))


IDS = st.lists(
    st.tuples(st.text(min_size=1, max_size=8), st.sampled_from(["high", "low", "mid"])), unique_by=lambda each: each[0], max_size=40
)


Drawn = list[tuple[str, str, int, str]]


@pytest.fixture(scope="module")
def sql() -> str:
    """The model that draws samples, which is run here as it stands."""
    text = read_catalog(Home(CHECKOUT)).models["predictive.audit_drawn"].sql
    assert text is not None
    return text


def connected(seed: str) -> duckdb.DuckDBPyConnection:
    """One sprint and version with this seed, and another model's version of the same name with another; no decisions yet, no plan."""
    con = duckdb.connect()
    con.execute("CREATE SCHEMA predictive")
    con.execute(
        "CREATE TABLE predictive.seeds AS SELECT DATE '2026-04-01' AS sprint, 'm' AS model, 'v' AS model_version, $seed AS seed",
        {"seed": seed},
    )
    con.execute("INSERT INTO predictive.seeds SELECT sprint, 'other', model_version, 'another' FROM predictive.seeds")
    con.execute(
        "CREATE TABLE predictive.in_scope (sprint DATE, model VARCHAR, model_version VARCHAR, decision_id VARCHAR, stratum VARCHAR, "
        "tenant_id VARCHAR, occurred_at TIMESTAMP)"
    )
    return con


def drawn(sql: str, con: duckdb.DuckDBPyConnection, sizes: Mapping[str, int]) -> Drawn:
    """(decision, stratum, place, digest) of the sample, by stratum and place."""
    con.execute(
        "CREATE OR REPLACE TABLE predictive.audit_plan AS "
        "SELECT DATE '2026-04-01' AS sprint, 'm' AS model, 'v' AS model_version, unnest($names) AS stratum, unnest($sizes) AS planned",
        {"names": list(sizes), "sizes": list(sizes.values())},
    )
    found = con.sql(sql, params={"first": "2026-04-01", "last": "2026-04-01"})
    return found.order("stratum, place").select("decision_id, stratum, place, digest").fetchall()


def by_hand(ids: list[tuple[str, str]], seed: str, sizes: Mapping[str, int]) -> Drawn:
    found = []
    for stratum in sorted(sizes):
        digests = sorted((sha256(f"{seed}\x1f{each}".encode()).hexdigest(), each) for each, its in ids if its == stratum)
        found += [(each, stratum, place, digest) for place, (digest, each) in enumerate(digests[: sizes[stratum]], 1)]
    return found


@settings(max_examples=60, deadline=None)
@given(IDS, st.text(max_size=5), st.tuples(*[st.integers(0, 12)] * 3))
def test_the_sample_is_that_of_hashlib_in_any_order_and_an_extension_keeps_it(
    sql: str, ids: list[tuple[str, str]], seed: str, counts: tuple[int, int, int]
) -> None:
    con, sizes = connected(seed), dict(zip(("high", "low", "mid"), counts, strict=True))
    if ids:
        con.executemany("INSERT INTO predictive.in_scope VALUES ('2026-04-01', 'm', 'v', ?, ?, 't', '2026-04-01')", ids)
    found = drawn(sql, con, sizes)
    con.execute("CREATE OR REPLACE TABLE predictive.in_scope AS FROM predictive.in_scope ORDER BY hash(decision_id)")
    assert found == by_hand(ids, seed, sizes) == drawn(sql, con, sizes)
    assert set(found) <= set(drawn(sql, con, {name: size + 3 for name, size in sizes.items()}))
    con.close()


def test_a_larger_total_can_take_a_read_from_a_stratum() -> None:
    # The Alabama paradox, as docs/predictive.md says it: shares of 10 are 4 2/7, 4 2/7, 1 3/7, of 11 they are 4 5/7, 4 5/7, 1 4/7.
    sizes = {"a": 60, "b": 60, "c": 20}
    assert neyman(sizes, {}, 10) == {"a": 4, "b": 4, "c": 2}
    assert neyman(sizes, {}, 11) == {"a": 5, "b": 5, "c": 1}


def test_the_split_into_files_does_not_matter(sql: str, tmp_path: Path) -> None:
    con, sizes = connected("seed"), {"s0": 2, "s1": 2500, "s2": 40}
    con.execute(
        "INSERT INTO predictive.in_scope SELECT '2026-04-01', 'm', 'v', 'd' || i, 's' || i % 3, 't', '2026-04-01' FROM range(5000) AS each (i)"
    )
    whole = drawn(sql, con, sizes)
    for part in range(4):
        con.execute(f"COPY (FROM predictive.in_scope WHERE hash(decision_id) % 4 = {part}) TO '{tmp_path}/{part}.parquet'")
    con.execute("DROP TABLE predictive.in_scope")
    con.execute(f"CREATE VIEW predictive.in_scope AS FROM read_parquet('{tmp_path}/*.parquet')")
    assert drawn(sql, con, sizes) == whole
    assert [sum(row[1] == name for row in whole) for name in sizes] == [2, 1667, 40]  # 5000 = 1667 + 1667 + 1666


def test_second_reads_have_the_declared_number_and_an_extension_keeps_them() -> None:
    ids = [f"d{n}" for n in range(100)]
    before: list[str] = []
    for size in range(101):
        found = second_reads("seed", ids[:size], Decimal("0.1"))
        assert len(found) == -(-size // 10)
        assert found[: len(before)] == before
        before = found
    # By hand: the first is all there is; at the 11th, the lowest digest of what remains among the first eleven.
    lowest = min((each for each in ids[:11] if each != "d0"), key=lambda each: sha256(f"seed\x1fsecond\x1f{each}".encode()).hexdigest())
    assert before[:2] == ["d0", lowest]
    assert second_reads("other", ids, Decimal("0.1")) != before
    assert second_reads("seed", ids, Decimal(1)) == ids
    assert second_reads("seed", ids, Decimal(0)) == []
    with pytest.raises(MissionError, match="share from 0 to 1"):
        second_reads("seed", ids, Decimal("1.1"))


def test_no_decision_has_one_reader_twice() -> None:
    ids, auditors = [f"d{n}" for n in range(600)], ["cara", "abe", "bo"]
    found = assign(ids, auditors, "seed")
    assert all(each.first != each.second for each in found.values())
    pairs = [(each.first, each.second) for each in found.values()]
    assert all(
        70 <= pairs.count((one, two)) <= 130 for one in auditors for two in auditors if one != two
    )  # six pairs, 100 each but for 3 sigma
    assert assign(ids[7:9], auditors[::-1], "seed") == {each: found[each] for each in ids[7:9]}
    with pytest.raises(MissionError, match=r"auditors \['abe'\]"):
        assign(ids, ["abe", "abe"], "seed")


def verdicts(both: int, first: int, second: int, neither: int) -> list[tuple[str, str]]:
    up, down = "upheld", "overturned"
    return [(up, up)] * both + [(up, down)] * first + [(down, up)] * second + [(down, down)] * neither


def test_readers_agree_as_the_encyclopaedia_computes_it() -> None:
    # Wikipedia, "Cohen's kappa": 0.40 in the first example; 0.1304 and 0.2593 for the two with the same percentage.
    assert agreement(verdicts(20, 5, 10, 15)) == Agreement(50, 35, Fraction(7, 10), Fraction(2, 5))
    assert agreement(verdicts(45, 15, 25, 15)) == Agreement(100, 60, Fraction(3, 5), Fraction(3, 23))
    assert agreement(verdicts(25, 35, 5, 35)) == Agreement(100, 60, Fraction(3, 5), Fraction(7, 27))


def test_agreement_without_anything_to_divide_by_is_none() -> None:
    assert agreement([]) == Agreement(0, 0, None, None)
    assert agreement(verdicts(9, 0, 0, 0)) == Agreement(9, 9, Fraction(1), None)
    assert agreement(verdicts(0, 9, 0, 0)) == Agreement(9, 0, Fraction(0), Fraction(0))
