"""The misuse sandbox: declared abuse rules, judged on labelled history before they go live. Nothing here blocks anybody."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mc_pipelines.errors import MissionError
from mc_pipelines.reference import Declared, declared_list, line_of_item

if TYPE_CHECKING:
    import duckdb

Measure = Literal["requests_per_minute", "distinct_inputs_share", "probe_share", "payload_kb"]
Values = Mapping[Measure, Decimal]
TOGETHER = "together"
"""The name under which all rules are judged as one: a case is refused where any of them refuses it."""


class Condition(Declared):
    """One measure of a case against one limit, which itself fulfils the condition."""

    field: Measure
    at_least: Decimal | None = Field(default=None, max_digits=38, decimal_places=9)
    at_most: Decimal | None = Field(default=None, max_digits=38, decimal_places=9)

    @model_validator(mode="after")
    def _one_limit(self) -> "Condition":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("write either at_least or at_most")
        return self

    def holds(self, value: Decimal) -> bool:
        return value >= self.at_least if self.at_least is not None else value <= self.at_most  # type: ignore[operator]  # one of both is set


class Rule(Declared):
    """Refuses a case for which all conditions hold; shows one case that it lets through and one that it refuses."""

    rule: str = Field(pattern="^[a-z][a-z0-9_]*$")
    about: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    all: tuple[Condition, ...] = Field(min_length=1)
    example_allowed: Values
    example_refused: Values

    @field_validator("rule")
    @classmethod
    def _not_taken(cls, value: str) -> str:
        if value == TOGETHER:
            raise ValueError(f"{TOGETHER} is what all rules are called as one; choose another name")
        return value

    @field_validator("example_allowed", "example_refused")
    @classmethod
    def _comes_out(cls, values: Values, info: ValidationInfo) -> Values:
        conditions: Sequence[Condition] = info.data.get("all", ())
        if missing := sorted({each.field for each in conditions} - set(values)):
            raise ValueError(f"the example says nothing of {', '.join(missing)}; give every measure that the rule asks for")
        refused = all(each.holds(values[each.field]) for each in conditions)
        if conditions and refused != (info.field_name == "example_refused"):
            raise ValueError(f"the rule {'refuses' if refused else 'allows'} this example; change the example or the limits")
        return values


def read_rules(path: Path) -> list[Rule]:
    """The rules of an `abuse_rules.yaml`, in its order. MissionError with file, line, value and remedy, also where an example does not come out."""
    rules = declared_list(path, "abuse_rules", Rule)
    for place, each in enumerate(rules):
        if each.rule in [earlier.rule for earlier in rules[:place]]:
            raise MissionError(f"{path}:{line_of_item(path, 'abuse_rules', place)}: rule {each.rule} is declared twice. Keep one.")
    return rules


def judge(con: "duckdb.DuckDBPyConnection", history: str, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """What each rule, and then all together, would have done to labelled cases: one row each, in order of the rules.

    `history` is a table of case_id, tenant_id, label (abuse or good) and the measures; a measure that is NULL fulfils no condition. A good
    tenant has no abuse case; it is blocked where one of its cases is refused. Shares have nine decimals and are None where there is
    nothing to divide by.
    """
    conditions = [(each.rule, one) for each in rules for one in each.all]
    bound = {
        "rule": [rule for rule, _ in conditions],
        "field": [one.field for _, one in conditions],
        "at_least": [_text(one.at_least) for _, one in conditions],
        "at_most": [_text(one.at_most) for _, one in conditions],
        "together": TOGETHER,
    }
    found = con.sql(JUDGED.format(history=history), params=bound)
    rows = {row[0]: dict(zip(found.columns, row, strict=True)) for row in found.fetchall()}
    return [_shares(rows[name]) for name in (*(each.rule for each in rules), TOGETHER)]


JUDGED = """
WITH conditions AS (
    SELECT unnest(CAST($rule AS VARCHAR[])) AS rule, unnest(CAST($field AS VARCHAR[])) AS measure,
        unnest(CAST($at_least AS DECIMAL(38, 9)[])) AS at_least, unnest(CAST($at_most AS DECIMAL(38, 9)[])) AS at_most
),
cases AS (
    SELECT case_id, tenant_id, label = 'abuse' AS abuse, bool_or(label = 'abuse') OVER (PARTITION BY tenant_id) AS abuser,
        MAP {{
            'requests_per_minute': CAST(requests_per_minute AS DECIMAL(38, 9)),
            'distinct_inputs_share': CAST(distinct_inputs_share AS DECIMAL(38, 9)),
            'probe_share': CAST(probe_share AS DECIMAL(38, 9)),
            'payload_kb': CAST(payload_kb AS DECIMAL(38, 9))
        }} AS measures
    FROM {history}
),
judged AS (
    SELECT rule, case_id, tenant_id, abuse, abuser,
        bool_and(coalesce(measures[measure] >= at_least OR measures[measure] <= at_most, false)) AS refused
    FROM cases CROSS JOIN conditions GROUP BY ALL
),
together AS (
    SELECT $together AS rule, case_id, tenant_id, abuse, abuser, coalesce(bool_or(refused), false) AS refused
    FROM cases LEFT JOIN judged USING (case_id, tenant_id, abuse, abuser) GROUP BY ALL
),
named AS (SELECT DISTINCT rule FROM conditions UNION ALL SELECT $together)
SELECT rule, count(case_id) AS cases,
    count(*) FILTER (refused AND abuse) AS true_positives, count(*) FILTER (refused AND NOT abuse) AS false_positives,
    count(*) FILTER (NOT refused AND abuse) AS false_negatives, count(*) FILTER (NOT refused AND NOT abuse) AS true_negatives,
    count(DISTINCT tenant_id) FILTER (NOT abuser) AS good_tenants,
    count(DISTINCT tenant_id) FILTER (NOT abuser AND refused) AS good_tenants_blocked
FROM named LEFT JOIN (FROM judged UNION ALL FROM together) USING (rule) GROUP BY rule"""


def _text(limit: Decimal | None) -> str | None:
    return None if limit is None else str(limit)


def _shares(row: dict[str, Any]) -> dict[str, Any]:
    hits, refused = row["true_positives"], row["true_positives"] + row["false_positives"]
    return row | {
        "precision": _ratio(hits, refused),
        "recall": _ratio(hits, hits + row["false_negatives"]),
        "good_tenants_blocked_share": _ratio(row["good_tenants_blocked"], row["good_tenants"]),
    }


def _ratio(part: int, whole: int) -> Decimal | None:
    return (Decimal(part) / whole).quantize(Decimal("1e-9"), ROUND_HALF_EVEN) if whole else None
