"""What one SELECT says of itself: the tables and parameters it reads, the columns it gives, and where each column comes from.

Reading is sqlglot's, and costs more than everything else that is done at start. So what was read is kept in the user's cache folder, one
small file per SQL text; a lost or broken file is only read again. Nothing here runs SQL or knows what a model is.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope


class NotOneSelectError(ValueError):
    """The text cannot be read, or is anything but one SELECT."""


@dataclass(frozen=True)
class Facts:
    """`columns` maps each output column to the sorted `(table, column)` pairs its value comes from; `{}` where a `*` hides them."""

    tables: tuple[str, ...]
    params: frozenset[str]
    columns: Mapping[str, tuple[tuple[str, str], ...]]


@cache
def facts(sql: str) -> Facts:
    """Read one SELECT in DuckDB's dialect, from the cache where it was read before.

    Raises NotOneSelectError where it is not one readable SELECT.
    """
    kept = _kept(sql)
    if kept is not None:
        try:
            return _from_json(json.loads(kept.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not read before, or half a file: read the SQL itself
    found = read(sql)
    if kept is not None:
        _keep(kept, found)
    return found


def read(sql: str) -> Facts:
    """As `facts`, always from the SQL."""
    from sqlglot import exp

    tree = parse(sql)
    return Facts(
        tuple(sorted({f"{table.db}.{table.name}" for table in tree.find_all(exp.Table) if table.db})),
        frozenset(str(node.name) for node in tree.find_all(exp.Placeholder)),
        _columns(tree),
    )


def parse(sql: str) -> "exp.Query":
    """The tree of one SELECT. Raises NotOneSelectError otherwise."""
    import sqlglot
    from sqlglot import exp

    try:
        statements = sqlglot.parse(sql, read="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise NotOneSelectError(f"not readable SQL: {error}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise NotOneSelectError(f"a table is one SELECT; found {len(statements)} statement(s).")
    return statements[0]


def _columns(tree: "exp.Query") -> dict[str, tuple[tuple[str, str], ...]]:
    """Output columns and their sources. A column that only filters, joins or counts rows is no source of a value."""
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage

    if tree.is_star or "*" in tree.named_selects:
        return {}
    names: list[str] = list(tree.named_selects)
    try:
        nodes = lineage(None, _qualified(tree), {}, dialect="duckdb", allow_partial_qualification=True, trim_selects=False, copy=False)
    except (SqlglotError, ValueError):  # a form that its lineage does not know: the columns are still known
        return dict.fromkeys(names, ())
    return {name: tuple(sorted(set(_leaves(nodes[name.lower()])))) if name.lower() in nodes else () for name in names}


def _leaves(node: Any) -> Iterator[tuple[str, str]]:
    from sqlglot import exp

    for each in node.walk():
        if isinstance(each.source, exp.Table) and each.source.db and not each.name.endswith("*"):
            yield f"{each.source.db}.{each.source.name}", each.name.rpartition(".")[2].strip('"')


def _qualified(tree: "exp.Query") -> "exp.Query":
    """A copy in which every bare column of a SELECT from one source names it, since sqlglot does so only for tables of known columns."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    copied = tree.copy()
    for scope in traverse_scope(copied):
        if len(scope.selected_sources) == 1:
            (source,) = scope.selected_sources
            for column in _bare(scope):
                column.set("table", exp.to_identifier(source))
    return copied


def _bare(scope: "Scope") -> "list[exp.Column]":
    """Columns without a table, but for those that may mean a name which an earlier expression of the SELECT made: sqlglot settles these."""
    from sqlglot import exp

    made: set[str] = set()
    ours = {id(column) for column in scope.columns}
    found = []
    for expression in scope.expression.selects if isinstance(scope.expression, exp.Query) else ():
        bare = [column for column in expression.find_all(exp.Column) if id(column) in ours and not column.table]
        found += [column for column in bare if column.name not in made]
        made.add(expression.alias_or_name)
    return found


@cache
def _folder() -> Path | None:
    """Where what was read is kept: a folder per version of the reader, so that an upgrade reads anew. None where there is no home."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        reader = hashlib.sha256(version("sqlglot").encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    except (RuntimeError, OSError):
        return None
    return root / "mc_pipelines" / f"sql-{reader}"


def _kept(sql: str) -> Path | None:
    folder = _folder()
    return folder and folder / f"{hashlib.sha256(sql.encode()).hexdigest()}.json"


def _keep(path: Path, found: Facts) -> None:
    """Write beside and rename, so that a reader never sees half a file; a cache that cannot be written is done without."""
    text = json.dumps(asdict(found) | {"params": sorted(found.params)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as scratch:
            scratch.write(text)
        Path(scratch.name).replace(path)
    except OSError:
        return


def _from_json(kept: dict[str, Any]) -> Facts:
    columns = {name: tuple((table, column) for table, column in sources) for name, sources in kept["columns"].items()}
    return Facts(tuple(kept["tables"]), frozenset(kept["params"]), columns)
