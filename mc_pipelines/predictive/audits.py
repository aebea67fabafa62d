"""Audit samples as tables: the plan's sizes, the reads that it asks for, and what came of them.

How a sample is sized is `sampling.py`'s, which decisions are drawn `audit_drawn.sql`'s, who reads them `readers.py`'s.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from math import floor, isqrt
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.predictive.declared import Settings, settings_of
from mc_pipelines.predictive.readers import agreement, assign, second_reads
from mc_pipelines.predictive.sampling import Ladder, lower_bound_of_agreement, neyman, proving_size, sample_size
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that plans and draws."""
    return package_digest("predictive")


def plan(work: "Work") -> "duckdb.DuckDBPyRelation":
    """(sprint, model_version, stratum, population, deviation, planned) for every stratum of the sprints of `work`."""
    settings = settings_of(work.con)
    counted = work.con.sql(
        "SELECT sprint, model_version, stratum, count(*) AS population FROM predictive.in_scope "
        "WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) GROUP BY ALL ORDER BY ALL",
        params=work.params,
    ).fetchall()
    history = {
        (sprint, stratum): (int(judged), int(overturned))
        for sprint, stratum, judged, overturned in work.con.sql(
            "SELECT sprint, stratum, judged, overturned FROM predictive.stratum_history"
        ).fetchall()
    }
    by_version: dict[tuple[date, str], dict[str, int]] = {}
    for sprint, version, stratum, population in counted:
        by_version.setdefault((sprint, version), {})[stratum] = int(population)
    schema = {
        "sprint": "DATE",
        "model_version": "VARCHAR",
        "stratum": "VARCHAR",
        "population": "BIGINT",
        "deviation": "DECIMAL",
        "planned": "BIGINT",
    }
    return relation_of(work, schema, _planned(settings, by_version, history))


def _planned(
    settings: Settings, by_version: Mapping[tuple[date, str], Mapping[str, int]], history: Mapping[tuple[date, str], tuple[int, int]]
) -> Iterator[tuple[Any, ...]]:
    for (sprint, version), sizes in by_version.items():
        deviations = {stratum: deviation(*history.get((sprint, stratum), (0, 0))) for stratum in sizes}
        known = {stratum: value for stratum, value in deviations.items() if value is not None}
        total = sample_size(settings.expected, settings.tolerable, settings.confidence, sum(sizes.values()))
        planned = neyman(sizes, known, total)
        for stratum, population in sizes.items():
            yield sprint, version, stratum, population, deviations[stratum], planned[stratum]


def deviation(judged: int, overturned: int) -> Decimal | None:
    """Standard deviation of a verdict, sqrt(p (1 - p)), rounded down at the ninth decimal; None where nothing was read.

    One verdict of either kind is added, so that a stratum without an overturned decision is not taken for one without risk
    (Laplace's rule of succession).
    """
    if judged == 0:
        return None
    return Decimal(isqrt((overturned + 1) * (judged - overturned + 1) * 10**18) // (judged + 2)).scaleb(-9)


def sample(work: "Work") -> "duckdb.DuckDBPyRelation":
    """The reads of what was drawn for the sprints of `work`: everything once, a share twice, each by a person drawn from the same seed."""
    settings = settings_of(work.con)
    seeded = work.con.sql(
        "SELECT seeds.sprint, seeds.model_version, seeds.seed, sprints.end_utc FROM predictive.seeds AS seeds JOIN reference.sprints AS sprints "
        "USING (sprint) WHERE seeds.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY ALL",
        params=work.params,
    ).fetchall()
    schema = {
        "sprint": "DATE",
        "decision_id": "VARCHAR",
        "reader": "VARCHAR",
        "model_version": "VARCHAR",
        "stratum": "VARCHAR",
        "tenant_id": "VARCHAR",
        "place": "BIGINT",
        "digest": "VARCHAR",
        "auditor": "VARCHAR",
        "due_at": "TIMESTAMP",
    }
    return relation_of(work, schema, (read for each in seeded for read in _reads(work.con, settings, *each)))


def _reads(
    con: "duckdb.DuckDBPyConnection", settings: Settings, sprint: date, version: str, seed: str, ends: datetime
) -> Iterator[tuple[Any, ...]]:
    """Every read of one version's sample, in the order of strata and places; of a decision the first read before the second."""
    drawn = con.sql(
        "SELECT stratum, decision_id, tenant_id, place, digest FROM predictive.audit_drawn "
        "WHERE sprint = $sprint AND model_version = $version ORDER BY stratum, place",
        params={"sprint": sprint, "version": version},
    ).fetchall()
    by_stratum: dict[str, list[str]] = {}
    for stratum, decision, *_ in drawn:
        by_stratum.setdefault(stratum, []).append(decision)
    twice = {decision for ids in by_stratum.values() for decision in second_reads(seed, ids, settings.second_share)}
    readers = assign([decision for _, decision, *_ in drawn], settings.auditors, seed)
    due_at = ends + timedelta(days=settings.due_days)
    for stratum, decision, *beside in drawn:
        yield sprint, decision, "first", version, stratum, *beside, readers[decision].first, due_at
        if decision in twice:
            yield sprint, decision, "second", version, stratum, *beside, readers[decision].second, due_at


def summary(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row a sprint: completion, agreement and its bound, and how far two readers agree."""
    settings = settings_of(work.con)
    counted = work.con.sql(
        """
        WITH decided AS (
            SELECT sprint, decision_id, count(*) AS reads, count(verdict) AS given, count(DISTINCT verdict) AS kinds,
                   count(*) FILTER (WHERE reader = 'first' AND verdict IS NOT NULL) AS firsts,
                   count(*) FILTER (WHERE verdict = 'overturned') AS overturned
            FROM predictive.audit_reads
            WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
            GROUP BY sprint, decision_id
        ),
        reads AS (
            SELECT sprint, count(*) AS selected, sum(in_time) AS completed, count(*) FILTER (WHERE status = 'overdue') AS overdue
            FROM predictive.audit_reads
            WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
            GROUP BY sprint
        )
        SELECT reads.sprint, reads.selected, CAST(reads.completed AS BIGINT), reads.overdue,
               count(*) FILTER (WHERE firsts = 1), count(*) FILTER (WHERE firsts = 1 AND overturned = 0),
               count(*) FILTER (WHERE given = 2), count(*) FILTER (WHERE given = 2 AND kinds = 1)
        FROM reads
        JOIN decided USING (sprint)
        GROUP BY reads.sprint, reads.selected, reads.completed, reads.overdue
        ORDER BY reads.sprint
        """,
        params=work.params,
    ).fetchall()
    schema = {
        "sprint": "DATE",
        "selected": "BIGINT",
        "completed": "BIGINT",
        "completion": "DECIMAL",
        "judged": "BIGINT",
        "upheld": "BIGINT",
        "agreement": "DECIMAL",
        "agreement_lower": "DECIMAL",
        "proving_size": "BIGINT",
        "second_reads": "BIGINT",
        "readers_agree": "BIGINT",
        "overdue": "BIGINT",
        "ladder": "VARCHAR",
        "kappa": "DECIMAL",
    }
    return relation_of(work, schema, ((*_summed(settings, *row), _ladder(work, settings, row[0]), _kappa(work, row[0])) for row in counted))


def _ladder(work: "Work", settings: Settings, sprint: date) -> str:
    """What the ladder says of the verdicts in the order of the sample, up to the first that is missing; empty where none was declared."""
    if not settings.ladder:
        return ""
    verdicts = work.con.sql(
        "SELECT reads.verdict FROM predictive.audit_reads AS reads JOIN predictive.audit_sample AS sample USING (sprint, decision_id, reader) "
        "WHERE reads.sprint = $sprint AND reads.reader = 'first' ORDER BY sample.digest, sample.decision_id",
        params={"sprint": sprint},
    ).fetchall()
    given = [verdict == "overturned" for (verdict,) in takewhile(lambda row: row[0] is not None, verdicts)]
    said = Ladder(settings.ladder, settings.tolerable, settings.confidence).decide(given)
    return f"{said.outcome} at step {said.step}" + (f", {said.more} more" if said.more else "")


def _kappa(work: "Work", sprint: date) -> Decimal | None:
    """Cohen's kappa of the decisions that were read twice, rounded down at the ninth decimal; None where both readers say one thing only."""
    pairs = work.con.sql(
        "SELECT first.verdict, second.verdict FROM predictive.audit_reads AS first JOIN predictive.audit_reads AS second "
        "USING (sprint, decision_id) WHERE sprint = $sprint AND first.reader = 'first' AND second.reader = 'second' "
        "AND first.verdict IS NOT NULL AND second.verdict IS NOT NULL",
        params={"sprint": sprint},
    ).fetchall()
    kappa = agreement(pairs).kappa
    return None if kappa is None else Decimal(floor(kappa * 10**9)).scaleb(-9)


def _summed(
    settings: Settings, sprint: date, selected: int, completed: int, overdue: int, judged: int, upheld: int, twice: int, alike: int
) -> tuple[Any, ...]:
    agreement = lower = None
    if judged:
        agreement = share(upheld, judged)
        lower = lower_bound_of_agreement(judged - upheld, judged, settings.confidence)
    proving = proving_size(settings.tolerable, settings.confidence)
    return sprint, selected, completed, share(completed, selected), judged, upheld, agreement, lower, proving, twice, alike, overdue


def share(part: int, whole: int) -> Decimal:
    """part / whole, rounded down at the ninth decimal: a share never looks better than it is."""
    return Decimal(part * 10**9 // whole).scaleb(-9)
