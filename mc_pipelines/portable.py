"""The rules for `-- engine: portable` models: one text that DuckDB and Spark both run as written and that gives the same rows on either.

A function is allowed when it is known to behave the same on both; everything else is refused by name, with what to write instead.
sqlglot only reads the text here. It never writes what runs.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mc_pipelines.catalog import Model

if TYPE_CHECKING:
    from sqlglot import exp

_NAMES = (
    "ABS CEIL FLOOR ROUND SIGN LN COALESCE NULLIF GREATEST LEAST COUNT SUM MIN MAX BOOL_OR BOOL_AND LOGICAL_OR LOGICAL_AND LEAD LAG "
    "ROW_NUMBER RANK DENSE_RANK PERCENTILE_DISC MD5 SHA2 LENGTH LOWER UPPER TRIM SUBSTRING CHR DATE_TRUNC TIMESTAMP_TRUNC "
    "CAST TRY_CAST CASE IF EXISTS AND OR XOR"
)
SAME_ON_BOTH = frozenset(_NAMES.split())
"""Functions known to give the same rows on both engines; `CASE`, `AND` and the like are functions to the parser."""
INSTEAD = {
    "CONCAT": "DuckDB skips NULL and Spark returns NULL. Join text with || over coalesce(..., '')",
    "CONCAT_WS": "join text with || over coalesce(..., '')",
    "DATEDIFF": "the engines count boundaries differently. Compare instants, or add an INTERVAL",
    "EXPLODE": "only one of the engines has this. Take lists apart once, in staging",
    "AVG": "its type differs. Keep the sum and the count, and divide in Python",
    "ARG_MAX": "a tuple orders NULL differently. Join with the maximum, then take CAST(row_number() ... AS BIGINT) = 1",
    "ARG_MIN": "a tuple orders NULL differently. Join with the minimum, then take CAST(row_number() ... AS BIGINT) = 1",
    "ANY_VALUE": "which value is left open. Say min or max",
    "FIRST": "which value is left open. Say min or max",
    "STR_TO_TIME": "time is parsed once, in staging",
    "TIME_TO_STR": "time is written as text in staging or on the page",
    "PERCENTILE_CONT": "a float. Evidence takes percentile_disc",
    "QUANTILE": "a float. Evidence takes percentile_disc",
    "RAND": "not repeatable. Sample by the order of sha256 text",
}
WHOLE = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
_TYPES = "INT128 INT256 UTINYINT USMALLINT UINT UBIGINT UINT128 TIME INTERVAL LIST ARRAY STRUCT MAP JSON UNION ENUM BIT"
ENGINE_OWN = frozenset(_TYPES.split())
DIGITS = 38
MARK = "or mark the model `-- engine: duckdb` and say why"


def problems(model: Model) -> list[str]:
    """Every breach of the portable rules in one model, each with file, line, what stands there and what to write instead."""
    if model.header.engine != "portable" or model.sql is None:
        return []
    before = model.path.read_text(encoding="utf-8").partition(model.sql)[0].count("\n")
    tree = _dialect().parse(model.sql)[0]
    breaches = [*_spelling(model.sql), *(breach for rule in RULES for breach in rule(tree))]
    found = {(before + 1 + model.sql[:at].count("\n"), what, remedy) for at, what, remedy in breaches}
    return [f"{model.path}:{line}: {what}: {remedy}, {MARK}." for line, what, remedy in sorted(found)]


Breach = tuple[int, str, str]
"""Offset in the SQL (sqlglot's own line numbers go wrong after parameters), what stands there, what to write instead."""


def _spelling(sql: str) -> Iterator[Breach]:
    """The parser takes these words for one type, and Spark does not."""
    for token, following in pairwise(_dialect().tokenize(sql)):
        if token.text.upper() in {"VARCHAR", "TEXT"} and following.text == ")":  # a column may have such a name
            yield token.start, f"`{token.text}`", "Spark has no such type without a length. Write STRING"


def _division(tree: "exp.Query") -> Iterator[Breach]:
    from sqlglot import exp

    for node in tree.find_all(exp.Div, exp.IntDiv):
        yield _breach(node, "scale and rounding differ. Keep numerator and denominator, and divide in Python's Decimal")


def _multiplication(tree: "exp.Query") -> Iterator[Breach]:
    """A product is exact on both engines where both factors say how many digits they have and all of these fit."""
    from sqlglot import exp

    for node in tree.find_all(exp.Mul):
        digits = [_digits(factor) for factor in (node.left, node.right)]
        if None in digits or sum(each or 0 for each in digits) > DIGITS:
            yield _breach(
                node, f"CAST both factors to DECIMALs of at most {DIGITS} digits together; money is multiplied in Python's Decimal"
            )


def _digits(node: "exp.Expr") -> int | None:
    from sqlglot import exp

    node = node.unnest()
    if isinstance(node, exp.Literal) and not node.is_string:
        return len(str(node.this).replace(".", ""))
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DECIMAL and node.to.expressions:
        return int(node.to.expressions[0].name)
    return None


def _sort_keys(tree: "exp.Query") -> Iterator[Breach]:
    """Inside a window the order decides which row is taken, so each key says where its NULLs go."""
    from sqlglot import exp

    for window in tree.find_all(exp.Window):
        order = window.args.get("order")
        for key in order.expressions if order else ():
            if not key.meta.get("says_nulls"):
                yield _breach(key, "the engines put NULL at opposite ends. Write NULLS FIRST or NULLS LAST")


def _ranking(tree: "exp.Query") -> Iterator[Breach]:
    from sqlglot import exp

    for window in tree.find_all(exp.Window):
        if isinstance(window.this, exp.RowNumber | exp.Rank | exp.DenseRank) and not isinstance(window.parent, exp.Cast):
            yield _breach(window, "INT on one engine, BIGINT on the other. Write CAST(... AS BIGINT)")


def _casts(tree: "exp.Query") -> Iterator[Breach]:
    from sqlglot import exp

    exact = (exp.Floor, exp.Ceil, exp.Round, exp.Count, exp.Literal, exp.RowNumber, exp.Rank, exp.DenseRank)
    for cast in tree.find_all(exp.Cast):
        kind, inner = cast.to.this.name, cast.this.unnest()
        inner = inner.this if isinstance(inner, exp.Window) else inner
        if kind in ENGINE_OWN:
            yield _breach(cast, f"the type {kind} is not on both engines. Take DECIMAL(38, 0), BIGINT, TIMESTAMP or STRING")
        if kind in WHOLE and not isinstance(inner, exact):
            yield _breach(cast, "one engine rounds and the other cuts. Write floor, ceil or round inside the CAST")


def _stars(tree: "exp.Query") -> Iterator[Breach]:
    from sqlglot import exp

    for select in tree.find_all(exp.Select):
        for each in select.expressions:
            if each.is_star and not isinstance(each, exp.Count):
                yield _breach(each, "name the columns, so that a new one changes nothing")


def _forms(tree: "exp.Query") -> Iterator[Breach]:
    """Syntax that only one of the engines has."""
    from sqlglot import exp

    only = (exp.Array, exp.List, exp.Struct, exp.Bracket, exp.Dot, exp.Lambda, exp.JSONExtract, exp.JSONExtractScalar, exp.Pivot)
    for node in tree.find_all(*only, exp.Columns, exp.TableSample, exp.Unnest, exp.Lateral):
        yield _breach(node, "only one of the engines has this. Parse lists, structs and JSON once, in staging")
    for node in tree.find_all(exp.Tuple):
        if not isinstance(node.parent, exp.In | exp.Group):
            yield _breach(node, "a tuple is a struct, and orders NULL differently. Compare column by column")
    for join in tree.find_all(exp.Join):
        if join.method:
            yield _breach(join, f"{join.method} JOIN is not on both engines. Join on the conditions themselves")


def _functions(tree: "exp.Query") -> Iterator[Breach]:
    from sqlglot import exp

    for node in tree.find_all(exp.Func):
        name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).upper()
        if name not in SAME_ON_BOTH and not isinstance(node, exp.Array | exp.List | exp.Struct | exp.JSONExtract | exp.JSONExtractScalar):
            yield _breach(node, INSTEAD.get(name, f"{name} is not known to give the same rows on both engines. Compute it in staging"))


RULES: tuple[Callable[["exp.Query"], Iterator[Breach]], ...] = (
    _division,
    _multiplication,
    _sort_keys,
    _ranking,
    _casts,
    _stars,
    _forms,
    _functions,
)


def _breach(node: "exp.Expr", remedy: str) -> Breach:
    at = min((int(each.meta["start"]) for each in node.walk() if "start" in each.meta), default=0)
    return at, f"`{node.sql(dialect='duckdb')[:80]}`", remedy


@cache
def _dialect() -> Any:
    """DuckDB's dialect, noting for each sort key whether it says where NULLs go, and its place: the tree alone does not tell."""
    from sqlglot.dialects.duckdb import DuckDB
    from sqlglot.parsers.duckdb import DuckDBParser

    class Noting(DuckDB):
        class Parser(DuckDBParser):
            def _parse_ordered(self, *args: Any, **options: Any) -> Any:
                begin = self._index
                key = super()._parse_ordered(*args, **options)
                if key is not None:
                    read = self._tokens[begin : self._index]
                    key.meta["says_nulls"] = any(token.text.upper() == "NULLS" for token in read)
                    key.meta["start"] = read[0].start
                return key

    return Noting()
