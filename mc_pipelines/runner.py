"""Materialise a declared table: pin its inputs, find the stale windows, rebuild just those in one commit a chunk.

Stale is derived: a window's recipe is a digest of what computes it and of its input windows' recipes; where the lake holds another
recipe, or none, the window is rebuilt. Orchestration (Dagster, the command line) only calls `materialise`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_pipelines import spark
from mc_pipelines.catalog import Catalog, Model, read_catalog
from mc_pipelines.declarations import Scope
from mc_pipelines.engine import connect, spark_url
from mc_pipelines.errors import MissionError, RetypedError
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Draft, Lake, Written

if TYPE_CHECKING:
    import duckdb

CHUNK_WINDOWS = 31
CHUNK_BYTES = 256 << 20
"""Of input that a computation holds in memory, where it says how much a window has (`weight`)."""


@dataclass(frozen=True)
class Workshop:
    """What every computation needs: the home, what is declared, the lake, and the run that asks."""

    home: Home
    catalog: Catalog
    lake: Lake
    run_id: str = ""

    @classmethod
    def open(cls, home: Home, run_id: str = "") -> "Workshop":
        return cls(home, read_catalog(home), Lake(str(home.lake)), run_id)


@dataclass(frozen=True)
class Work:
    """One attempt at some windows of one table; `con` already has a view for every input at its pinned version."""

    shop: Workshop
    con: "duckdb.DuckDBPyConnection"
    model: Model
    windows: tuple[str, ...]
    pins: Mapping[str, int] = field(default_factory=dict)
    """The versions of the stored tables that `con` shows; empty where a view is made."""

    @property
    def params(self) -> dict[str, str]:
        """`$first` and `$last` (inclusive) window keys, as text; a model casts them."""
        return {"first": self.windows[0], "last": self.windows[-1]}

    @property
    def used(self) -> dict[str, str]:
        """Only the parameters that the SQL names: DuckDB rejects the others."""
        unknown = self.model.params - self.params.keys()
        if unknown:
            raise MissionError(f"{self.model.path}: unknown parameter(s) {sorted(unknown)}; there are {sorted(self.params)}.")
        return {name: value for name, value in self.params.items() if name in self.model.params}


@dataclass(frozen=True)
class Outcome:
    """What a materialisation did: the windows rebuilt, their rows, and the table's version (None: it does not exist)."""

    table: str
    rebuilt: tuple[str, ...]
    rows: int
    version: int | None
    by_window: Mapping[str, int] = field(default_factory=dict)


def materialise(
    shop: Workshop, model: Model, windows: Sequence[str] = (WHOLE,), finished: Callable[[Sequence[str]], None] = lambda chunk: None
) -> Outcome:
    """Rebuild the stale ones among `windows` (sorted keys), and every other stale window that late data touched.

    Windows are done in chunks of bounded size, one commit each, so that a killed run goes on where it stopped. `finished` is told the
    windows of each chunk once they stand.
    """
    if model.header.view:
        return Outcome(model.key, (), 0, None)
    wanted = (WHOLE,) if model.header.window is None else tuple(sorted(set(windows) | set(_touched_windows(shop, model))))
    rebuilt: list[str] = []
    version = shop.lake.version(model.key)
    for chunk in _chunks(shop, model, wanted):
        attempt = _Attempt(shop, model, chunk)
        written = shop.lake.replace(model.key, model.header.window, attempt, shop.run_id)
        if written is not None:
            version = written
            rebuilt += attempt.stale
        finished(chunk)
    by_window = _rows(shop, model, rebuilt)
    return Outcome(model.key, tuple(rebuilt), sum(by_window.values()), version, by_window)


def _chunks(shop: Workshop, model: Model, windows: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Windows that are done together: at most 31, and at most CHUNK_BYTES where the computation weighs them."""
    weigh = model.offered("weight")
    chunk: list[str] = []
    held = 0
    for window in windows:
        heavy = weigh(shop, model, window) if weigh else 0
        if chunk and (len(chunk) == CHUNK_WINDOWS or held + heavy > CHUNK_BYTES):
            yield tuple(chunk)
            chunk, held = [], 0
        chunk.append(window)
        held += heavy
    if chunk:
        yield tuple(chunk)


@dataclass
class _Attempt:
    """Draft the stale windows of one chunk from the inputs as they are now; all windows of the table where its columns changed so that none may stay."""

    shop: Workshop
    model: Model
    windows: tuple[str, ...]
    stale: list[str] = field(default_factory=list)

    def __call__(self) -> Draft | None:
        try:
            drafted = self._draft(self.windows)
            if drafted is not None:
                self.shop.lake.fit(self.model.key, self.model.header.window, drafted)
            return drafted
        except RetypedError as retyped:  # here, or in a table that the same computation writes beside this one
            try:
                return self._draft(self._all(), every=True)
            except MissionError as error:
                raise MissionError(f"{retyped}\nIt could not be done: {error}") from error

    def _all(self) -> list[str]:
        tables = (self.model.key, *self.model.header.also)
        return sorted({*self.windows, *(window for table in tables for window in self.shop.lake.windows(table))})

    def _draft(self, windows: Sequence[str], every: bool = False) -> Draft | None:
        scopes = self.shop.catalog.inputs(self.model)
        pins = {dep: self.shop.lake.windows(dep) for dep in scopes}
        touched = _touch_digests(self.shop, self.model)
        recipes = {window: recipe(self.shop, self.model, window, pins, touched) for window in windows}
        written = self.shop.lake.windows(self.model.key)
        self.stale = [window for window in windows if every or window not in written or written[window].recipe != recipes[window]]
        if not self.stale:
            return None
        con = connect()
        inputs = {dep: self._bind(con, dep, scope) for dep, scope in scopes.items()}
        bind_views(self.shop, con, self.model)
        work = Work(self.shop, con, self.model, tuple(self.stale), inputs)
        url = spark_url() if self.model.header.engine == "portable" else None
        if url is None:
            relation = computed(work)
        else:
            reads = {dep: (version, self._matters(dep, scopes[dep])) for dep, version in inputs.items()}
            relation = con.from_arrow(spark.computed(url, work, reads))
        if self.model.header.window is not None:
            kept = ", ".join(f"DATE '{window}'" for window in self.stale)
            relation = relation.filter(f"{self.model.header.window} IN ({kept})")
        return Draft(relation, {window: recipes[window] for window in self.stale}, inputs)

    def _matters(self, dep: str, scope: Scope) -> str | None:
        return _pruning(scope, self.model, self.shop.catalog.owner_of(dep), dep, self.stale)

    def _bind(self, con: "duckdb.DuckDBPyConnection", dep: str, scope: Scope) -> int:
        version = self.shop.lake.view(con, dep, where=self._matters(dep, scope))
        if version is None:
            raise MissionError(
                f"{self.model.key} reads {dep}, which does not exist yet. Run it first: mission run DAY builds every table in order."
            )
        return version


def bind_views(shop: Workshop, con: "duckdb.DuckDBPyConnection", model: Model) -> None:
    """Make the views that a model reads, over the tables that `con` has already."""
    for view in shop.catalog.views(model):
        select = computed(Work(shop, con, view, (WHOLE,)))
        schema, name = view.key.split(".")
        con.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        con.execute(f'CREATE OR REPLACE VIEW "{schema}"."{name}" AS {select.sql_query()}')


def computed(work: Work) -> "duckdb.DuckDBPyRelation":
    """The rows of the table for the windows of `work`, and perhaps of others, lazily."""
    import duckdb

    model = work.model
    relation: duckdb.DuckDBPyRelation
    try:
        relation = model.function(work) if model.sql is None else work.con.sql(model.sql, params=work.used)
    except duckdb.BinderException as error:
        raise MissionError(
            f"{model.path}: {error}\nIf the columns of a table that it reads changed in the declarations, build that table first: mission run DAY."
        ) from error
    return relation


def recipe(shop: Workshop, model: Model, window: str, pins: Mapping[str, Mapping[str, Written]], touched: Mapping[str, str]) -> str:
    """sha256 hex of what one window is made of: the table's own recipe, its outside inputs, the recipes of its input windows.

    `touched` maps a window to the digest of what touched it, which stands for every input of that scope.
    """
    parts = [model.recipe, window, *(view.recipe for view in shop.catalog.views(model))]
    if (fingerprint := model.offered("fingerprint")) is not None:
        parts.append(fingerprint(shop, model, window))
    if model.touched:
        parts.append(f"{model.touched}:{touched.get(window, '')}")
    for dep, scope in shop.catalog.inputs(model).items():
        if scope != "touched":
            parts += [f"{dep}:{key}:{pins[dep][key].recipe}" for key in sorted(pins[dep]) if _relevant(scope, key, window, model)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _relevant(scope: Scope, key: str, window: str, model: Model) -> bool:
    length = len("2026-04") if model.header.every == "month" else len("2026-04-01")
    if scope == "through":
        return key[:length] <= window[:length]
    return scope == "all" or key[:length] == window[:length]


def _pruning(scope: Scope, model: Model, upstream: Model, dep: str, windows: Sequence[str]) -> str | None:
    """Which files of an input can hold rows that matter, as a predicate on its window column."""
    column = upstream.header.window
    if column is None or scope == "all":
        return None
    if scope == "touched":
        # Local days begin 14 hours before UTC's at the earliest, and end 12 hours after.
        begins, ends = datetime.fromisoformat(windows[0]) - timedelta(hours=14), datetime.fromisoformat(windows[-1]) + timedelta(hours=36)
        return f"occurred_at >= '{begins}' and occurred_at < '{ends}'" if dep == "staging.usage_events" else None
    through = f"{column} <= '{windows[-1] if upstream.header.every == model.header.every else _month_end(windows[-1])}'"
    return through if scope == "through" else f"{column} >= '{windows[0]}' and {through}"


def _month_end(window: str) -> str:
    first = date.fromisoformat(window)
    return ((first + timedelta(days=32)).replace(day=1) - timedelta(days=1)).isoformat()


def _touch_digests(shop: Workshop, model: Model) -> dict[str, str]:
    """Digest of everything that touched each local day, for a model whose inputs touch its windows."""
    if model.touched is None:
        return {}
    con = connect()
    if shop.lake.view(con, model.touched) is None:
        return {}
    rows = con.sql(
        "SELECT CAST(local_day AS VARCHAR), md5(string_agg(CAST(landing_day AS VARCHAR) || digest, ',' ORDER BY landing_day, digest)) "
        f"FROM {model.touched} GROUP BY local_day"
    ).fetchall()
    return dict(rows)


def _touched_windows(shop: Workshop, model: Model) -> Iterator[str]:
    if model.touched is not None:
        yield from _touch_digests(shop, model)
        yield from shop.lake.windows(model.key)  # a day that nothing touches any more (a changed zone) must be emptied


def _rows(shop: Workshop, model: Model, windows: Sequence[str]) -> dict[str, int]:
    if not windows:
        return {}
    con = connect()
    shop.lake.view(con, model.key)
    column = model.header.window
    if column is None:
        return {WHOLE: _scalar(con, f"SELECT count(*) FROM {model.key}")}
    keys = ", ".join(f"DATE '{window}'" for window in windows)
    rows: Any = con.sql(f"SELECT CAST({column} AS VARCHAR), count(*) FROM {model.key} WHERE {column} IN ({keys}) GROUP BY 1").fetchall()
    return dict.fromkeys(windows, 0) | dict(rows)


def _scalar(con: "duckdb.DuckDBPyConnection", query: str) -> int:
    return int(con.sql(query).fetchall()[0][0])
