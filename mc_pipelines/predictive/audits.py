"""Audit samples as tables: the plan's sizes, the reads that it asks for, and what came of them, by the settings that stand with the seed.

How a sample is sized is `sampling.py`'s, which decisions are drawn `audit_drawn.sql`'s, who reads them `readers.py`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from math import floor, isqrt
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.invoicing.documents import guarded
from mc_pipelines.predictive.declared import Settings
from mc_pipelines.predictive.readers import agreement, assign, second_reads
from mc_pipelines.predictive.sampling import Ladder, lower_bound_of_agreement, neyman, proving_size, sample_size
from mc_pipelines.predictive.seeds import Registered, Version, registered
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that plans and draws."""
    return package_digest("predictive")


def plan(work: "Work") -> "duckdb.DuckDBPyRelation":
    """(sprint, model, model_version, stratum, population, deviation, planned) for every stratum of the sprints of `work` that have a seed."""
    counted = work.con.sql(
        "SELECT sprint, model, model_version, stratum, count(*) AS population FROM predictive.in_scope "
        "WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) GROUP BY ALL ORDER BY ALL",
        params=work.params,
    ).fetchall()
    history = {
        (sprint, stratum): (int(judged), int(overturned))
        for sprint, stratum, judged, overturned in work.con.sql(
            "SELECT sprint, stratum, judged, overturned FROM predictive.stratum_history"
        ).fetchall()
    }
    by_version: dict[Version, dict[str, int]] = {}
    for *version, stratum, population in counted:
        by_version.setdefault(Version(*version), {})[stratum] = int(population)
    texts = dict.fromkeys(("model", "model_version", "stratum"), "VARCHAR")
    schema = {"sprint": "DATE", **texts, "population": "BIGINT", "deviation": "DECIMAL", "planned": "BIGINT"}
    return relation_of(work, schema, _planned(registered(work.con), by_version, history))


def _planned(
    stands: Mapping[Version, Registered],
    by_version: Mapping[Version, Mapping[str, int]],
    history: Mapping[tuple[date, str], tuple[int, int]],
) -> Iterator[tuple[Any, ...]]:
    """Nothing for a version of which nothing is registered that a plan could rest on."""
    for version in sorted(by_version.keys() & stands.keys()):
        settings, sizes = stands[version].settings, by_version[version]
        deviations = {stratum: deviation(*history.get((version.sprint, stratum), (0, 0))) for stratum in sizes}
        known = {stratum: value for stratum, value in deviations.items() if value is not None}
        total = sample_size(settings.expected, settings.tolerable, settings.confidence, sum(sizes.values()))
        planned = neyman(sizes, known, total)
        for stratum, population in sizes.items():
            yield *version, stratum, population, deviations[stratum], planned[stratum]


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
    ends = dict(
        work.con.sql(
            "SELECT sprint, end_utc FROM reference.sprints WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)",
            params=work.params,
        ).fetchall()
    )
    schema = {
        "sprint": "DATE",
        **dict.fromkeys(("decision_id", "reader", "listed_as", "model", "model_version", "stratum", "tenant_id"), "VARCHAR"),
        "occurred_at": "TIMESTAMP",
        "place": "BIGINT",
        "digest": "VARCHAR",
        "auditor": "VARCHAR",
        "due_at": "TIMESTAMP",
    }
    seeded = ((version, each) for version, each in registered(work.con).items() if version.sprint in ends)
    return relation_of(work, schema, (read for version, each in seeded for read in _reads(work.con, version, each, ends[version.sprint])))


def _reads(con: "duckdb.DuckDBPyConnection", version: Version, stands: Registered, ends: datetime) -> Iterator[tuple[Any, ...]]:
    """Every read of one version's sample, in the order of strata and places; of a decision the first read before the second."""
    settings, seed = stands.settings, stands.seed
    drawn = con.sql(
        "SELECT stratum, decision_id, tenant_id, occurred_at, place, digest FROM predictive.audit_drawn "
        "WHERE sprint = $sprint AND model = $model AND model_version = $model_version ORDER BY stratum, place",
        params=version._asdict(),
    ).fetchall()
    by_stratum: dict[str, list[str]] = {}
    for stratum, decision, *_ in drawn:
        by_stratum.setdefault(stratum, []).append(decision)
    twice = {decision for ids in by_stratum.values() for decision in second_reads(seed, ids, settings.second_share)}
    readers = assign([decision for _, decision, *_ in drawn], settings.auditors, seed)
    due_at = ends + timedelta(days=settings.due_days)
    sprint, *of = version
    for stratum, decision, *beside in drawn:
        yield sprint, decision, "first", guarded(decision), *of, stratum, *beside, readers[decision].first, due_at
        if decision in twice:
            yield sprint, decision, "second", guarded(decision), *of, stratum, *beside, readers[decision].second, due_at


def summary(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row a sprint, which has one live version: completion, agreement and its bound, and how far two readers agree."""
    counted = work.con.sql(
        """
        WITH reads AS (
            SELECT sprint, model, model_version, count(*) AS selected, CAST(sum(in_time) AS BIGINT) AS completed,
                   count(*) FILTER (WHERE status = 'overdue') AS overdue
            FROM predictive.audit_reads
            WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
            GROUP BY ALL
        ),
        judged AS (
            SELECT sprint, model, model_version, count(*) AS judged, count(*) FILTER (WHERE overturned = 0) AS upheld,
                   count(*) FILTER (WHERE first_verdict IS NOT NULL AND second_verdict IS NOT NULL) AS twice,
                   count(*) FILTER (WHERE first_verdict = second_verdict) AS alike
            FROM predictive.judged
            GROUP BY ALL
        )
        SELECT sprint, model, model_version, selected, completed, overdue,
               coalesce(judged, 0), coalesce(upheld, 0), coalesce(twice, 0), coalesce(alike, 0)
        FROM reads
        LEFT JOIN judged USING (sprint, model, model_version)
        ORDER BY ALL
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
    return relation_of(work, schema, _summed(work.con, counted))


def _summed(con: "duckdb.DuckDBPyConnection", counted: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    stands = registered(con)
    for *version, selected, completed, overdue, judged, upheld, twice, alike in counted:
        sprint, settings = version[0], stands[Version(*version)].settings
        agreed = _agreed(judged, upheld, settings.confidence)
        proving = proving_size(settings.tolerable, settings.confidence)
        counts = (selected, completed, share(completed, selected), judged, upheld, *agreed, proving, twice, alike, overdue)
        yield sprint, *counts, _ladder(con, settings, sprint), _kappa(con, sprint)


def strata(work: "Work") -> "duckdb.DuckDBPyRelation":
    """(sprint, stratum, judged, overturned, agreement, agreement_lower) of every stratum of which a decision is judged."""
    counted = work.con.sql(
        "SELECT sprint, model, model_version, stratum, count(*), CAST(sum(overturned) AS BIGINT) FROM predictive.judged "
        "WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) GROUP BY ALL ORDER BY ALL",
        params=work.params,
    ).fetchall()
    counts, shares = dict.fromkeys(("judged", "overturned"), "BIGINT"), dict.fromkeys(("agreement", "agreement_lower"), "DECIMAL")
    stands = registered(work.con)
    rows = (
        (version[0], stratum, judged, overturned, *_agreed(judged, judged - overturned, stands[Version(*version)].settings.confidence))
        for *version, stratum, judged, overturned in counted
    )
    return relation_of(work, {"sprint": "DATE", "stratum": "VARCHAR", **counts, **shares}, rows)


def _agreed(judged: int, upheld: int, confidence: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """The share of upheld decisions and its one-sided lower bound; None where nothing is judged."""
    return (share(upheld, judged), lower_bound_of_agreement(judged - upheld, judged, confidence)) if judged else (None, None)


def _ladder(con: "duckdb.DuckDBPyConnection", settings: Settings, sprint: date) -> str:
    """What the ladder says of the decisions in the order of the sample, up to the first that is not judged; empty where none is registered."""
    if not settings.ladder:
        return ""
    judged = con.sql(
        "SELECT judged.overturned FROM predictive.audit_sample AS sample LEFT JOIN predictive.judged AS judged USING (sprint, decision_id) "
        "WHERE sample.sprint = $sprint AND sample.reader = 'first' ORDER BY sample.digest, sample.decision_id",
        params={"sprint": sprint},
    ).fetchall()
    given = [overturned == 1 for (overturned,) in takewhile(lambda row: row[0] is not None, judged)]
    said = Ladder(settings.ladder, settings.tolerable, settings.confidence).decide(given)
    return f"{said.outcome} at step {said.step}" + (f", {said.more} more" if said.more else "")


def _kappa(con: "duckdb.DuckDBPyConnection", sprint: date) -> Decimal | None:
    """Cohen's kappa of the decisions that were read twice, rounded down at the ninth decimal; None where both readers say one thing only."""
    pairs = con.sql(
        "SELECT first_verdict, second_verdict FROM predictive.judged "
        "WHERE sprint = $sprint AND first_verdict IS NOT NULL AND second_verdict IS NOT NULL",
        params={"sprint": sprint},
    ).fetchall()
    kappa = agreement(pairs).kappa
    return None if kappa is None else Decimal(floor(kappa * 10**9)).scaleb(-9)


def share(part: int, whole: int) -> Decimal:
    """part / whole, rounded down at the ninth decimal: a share never looks better than it is."""
    return Decimal(part * 10**9 // whole).scaleb(-9)
