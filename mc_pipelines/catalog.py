"""The catalog: what assets/ declares, read strictly and without running anything.

A `.sql` file is one table, its path the key; leading `-- key: value` lines are its header. `_deliverable.yaml` holds what
the folder is about, who owns it and the tables that Python computes. Dependencies come from the SQL. How a table is built is
`runner.py`; what is acceptable is `gates.py`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mc_pipelines import sqlread
from mc_pipelines.declarations import Deliverable, Exit, Header, Scope
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.yamlread import parsed, text_of

WIDTH: tuple[Scope, ...] = ("touched", "same", "inside", "through", "all")


def named(path: str) -> Any:
    """The function that a declaration names as `package.module.function`. ImportError or AttributeError where there is none."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Model:
    """One declared table: `key` is `<schema>.<table>`, `sql` its SELECT (None where Python computes it)."""

    key: str
    header: Header
    deliverable: str
    owner: str
    path: Path
    sql: str | None

    @cached_property
    def deps(self) -> tuple[str, ...]:
        """Tables read, from the SQL where there is SQL; sorted."""
        return sqlread.facts(self.sql).tables if self.sql is not None else self.header.deps

    @property
    def judged(self) -> bool:
        """Whether its windows are those that a deliverable is judged by."""
        return self.header.every in {"month", "sprint"}

    @property
    def params(self) -> frozenset[str]:
        """Names of the `$parameters` that the SQL uses."""
        return sqlread.facts(self.sql).params if self.sql is not None else frozenset()

    @property
    def lineage(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Every column that the SQL gives, with the `(table, column)` pairs its value comes from; empty where Python computes it."""
        return sqlread.facts(self.sql).columns if self.sql is not None else {}

    @cached_property
    def recipe(self) -> str:
        """Digest of what computes the table: its SQL, or the source of the module that does."""
        text = self.sql if self.sql is not None else Path(import_module(self._module).__file__ or "").read_text(encoding="utf-8")
        said = self.header.model_dump_json(exclude={"about", "columns", "with_months"})  # what changes no row makes no data stale
        return hashlib.sha256(f"{said}\n{text}".encode()).hexdigest()

    @property
    def _module(self) -> str:
        return (self.header.compute or "").rpartition(".")[0]

    @property
    def function(self) -> Any:  # the signature is the runner's Compute
        """The Python function that computes the table."""
        return getattr(import_module(self._module), (self.header.compute or "").rpartition(".")[2])

    def offered(self, name: str) -> Any:
        """What the module that computes the table offers beside it: `fingerprint` of outside inputs, `weight` of a window in bytes; or None."""
        return None if self.sql is not None else getattr(import_module(self._module), name, None)

    @property
    def touched(self) -> str | None:
        """The table that says what touched a window, where a scope asks for it: `touched`, of the same deliverable."""
        return f"{self.deliverable}.touched" if "touched" in self.header.scope.values() else None

    def scope_of(self, name: str, dep: "Model") -> Scope:
        """How this table's windows depend on those of the table `name`, which `dep` writes."""
        if name in self.header.scope:
            return self.header.scope[name]
        if dep.header.every == "once" or self.header.every == "once":
            return "all"
        return "same" if (dep.header.every, dep.header.window) == (self.header.every, self.header.window) else "all"


@dataclass(frozen=True)
class Catalog:
    """Every declared table by key, and every deliverable by folder name."""

    models: Mapping[str, Model]
    deliverables: Mapping[str, Deliverable]

    def ordered(self) -> tuple[Model, ...]:
        """Tables with every upstream before its downstream; ties by name, so that the order is always the same."""
        from graphlib import CycleError, TopologicalSorter

        written_by = {also: key for key, model in self.models.items() for also in model.header.also}
        graph = {
            key: {written_by.get(dep, dep) for dep in (*model.deps, *filter(None, [model.touched]))}
            for key, model in sorted(self.models.items())
        }
        try:
            return tuple(self.models[key] for key in TopologicalSorter(graph).static_order() if key in self.models)
        except CycleError as error:
            raise MissionError(
                f"assets/: tables depend on each other in a circle: {' -> '.join(error.args[1])}. Break one of these reads."
            ) from error

    def views(self, model: Model) -> tuple[Model, ...]:
        """The views that a model reads, directly or through others, upstream first."""
        found: dict[str, Model] = {}
        for dep in model.deps:
            upstream = self.owner_of(dep)
            if upstream.header.view:
                found |= {view.key: view for view in (*self.views(upstream), upstream)}
        return tuple(found.values())

    def inputs(self, model: Model) -> dict[str, Scope]:
        """The stored tables that a model reads, directly or through views, each with the widest scope of its reads.

        A whole table behind a view counts in full, unless `touched` reads it too: then its digests say which windows a change meets.
        """
        told = self.inputs(self.owner_of(model.touched)) if model.touched else {}
        found: dict[str, Scope] = {}
        for dep in model.deps:
            upstream = self.owner_of(dep)
            scope = model.scope_of(dep, upstream)
            reads = dict.fromkeys(self.inputs(upstream), scope) if upstream.header.view else {dep: scope}
            for table, asked in reads.items():
                if self.owner_of(table).header.every == "once" and not (asked == "touched" and table in told):
                    asked = "all"
                found[table] = max(found.get(table, asked), asked, key=WIDTH.index)
        return dict(sorted(found.items()))

    def exit_of(self, deliverable: str) -> Exit:
        """How a deliverable ends. MissionError where it is none that is judged."""
        declared = self.deliverables.get(deliverable)
        if declared is None or declared.exit is None:
            known = sorted(name for name, each in self.deliverables.items() if each.exit)
            raise MissionError(f"{deliverable}: no deliverable that is judged. There are {', '.join(known)}.")
        return declared.exit

    def judged(self, deliverable: str) -> tuple[Model, ...]:
        """The tables of a deliverable's windows, upstream first: what its bundles hold."""
        return tuple(model for model in self.ordered() if model.judged and model.deliverable == deliverable)

    def behind(self, models: Iterable[Model]) -> tuple[Model, ...]:
        """The models and everything that they rest on, views among it, upstream first."""
        found: set[str] = set()
        waiting = [model.key for model in models]
        while waiting:
            model = self.owner_of(waiting.pop())
            if model.key not in found:
                found.add(model.key)
                waiting += [*model.deps, *filter(None, [model.touched])]
        return tuple(model for model in self.ordered() if model.key in found)

    def sources_of(self, model: Model) -> frozenset[str]:
        """The landing sources that a table rests on."""
        return frozenset(each.key.partition(".")[2] for each in self.behind([model]) if each.deliverable == "staging")

    def owner_of(self, table: str) -> Model:
        """The model that writes `table`, be it its own or one written beside it."""
        for model in self.models.values():
            if table == model.key or table in model.header.also:
                return model
        raise MissionError(f"{table}: no file under assets/ declares this table. Known: {', '.join(sorted(self.models))}.")


def _header(path: Path, lines: list[str]) -> Header:
    declared = parsed(path, "\n".join(line[3:] for line in lines))
    try:
        if isinstance(declared, dict) and isinstance(declared.get("grain"), str):
            declared["grain"] = [part.strip() for part in declared["grain"].split(",")]
        return Header.model_validate(declared)
    except ValidationError as error:
        raise MissionError(_explain(path, error, lines)) from error


def _explain(path: Path, error: ValidationError, lines: list[str]) -> str:
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        leaf = str(item["loc"][-1]) if item["loc"] else ""
        written = [number for number, text in enumerate(lines, 1) if leaf and text.removeprefix("--").strip().startswith(f"{leaf}:")]
        line = next(iter(written or [number for number, text in enumerate(lines, 1) if leaf and leaf in text]), 1)
        problems.append(f"{path}:{line}: {key}: {item['msg']} (got {item['input']!r})")
    return "\n".join(problems) + f"\nKnown keys: {', '.join(Header.model_fields)}."


def sql_model(key: str, path: Path, folder: Deliverable, name: str) -> Model:
    """Read one SQL file: header lines, then one SELECT."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header_lines = list(takewhile(lambda line: line.startswith("-- "), lines))
    header = _header(path, header_lines)
    sql = "\n".join(lines[len(header_lines) :]).strip()
    try:
        sqlread.facts(sql)
    except sqlread.NotOneSelectError as error:
        raise MissionError(f"{path}:{len(header_lines) + 1}: {error}") from error
    return Model(key, header, name, folder.owner, path, sql)


def _deliverable(path: Path) -> Deliverable:
    text = text_of(path)
    declared = parsed(path, text)
    try:
        return Deliverable.model_validate(declared)
    except ValidationError as error:
        raise MissionError(_explain(path, error, text.splitlines())) from error


def read_catalog(home: Home) -> Catalog:
    """Every declaration under assets/, the home's files replacing the checkout's of the same path.

    Raises MissionError that names file, line, value and remedy for anything misspelt, unknown or circular.
    """
    files = home.declarations("assets", "*/*")
    models: dict[str, Model] = {}
    deliverables: dict[str, Deliverable] = {}
    for relative, path in files.items():
        name = Path(relative).parent.name
        if path.name == "_deliverable.yaml":
            deliverables[name] = folder = _deliverable(path)
            for table, header in folder.assets.items():
                models[f"{name}.{table}"] = Model(f"{name}.{table}", header, name, folder.owner, path, None)
    for relative, path in files.items():
        name = Path(relative).parent.name
        if path.suffix == ".sql":
            if name not in deliverables:
                raise MissionError(f"{path}: its folder has no _deliverable.yaml. Add one with title, about and owner.")
            models[f"{name}.{path.stem}"] = sql_model(f"{name}.{path.stem}", path, deliverables[name], name)
    catalog = Catalog(models, deliverables)
    _check(catalog)
    return catalog


def _check(catalog: Catalog) -> None:
    problems = []
    for model in catalog.models.values():
        for dep in model.deps:
            try:
                catalog.owner_of(dep)
            except MissionError as error:
                problems.append(f"{_shown(model.path)}: reads {error}")
        problems += [
            f"{_shown(model.path)}: scope names {name}, which the SQL does not read."
            for name in model.header.scope
            if name not in model.deps
        ]
        if (model.header.every == "once") != (model.header.window is None):
            problems.append(f"{_shown(model.path)}: `window` names the column of a day or month table, and is absent for `every: once`.")
        if model.sql is None:
            try:
                model.function  # noqa: B018  # looked up so that a misspelt name is found before a run
            except (ImportError, AttributeError) as error:
                problems.append(f"{_shown(model.path)}: compute {model.header.compute}: {error}.")
    for name, declared in catalog.deliverables.items():
        ends = declared.exit
        published = ends.publishes.values() if ends else ()
        functions = (ends.attempt, ends.declared, ends.report, ends.pages, *(each.pages for each in published)) if ends else ()
        for function in filter(None, functions):
            try:
                named(function)
            except (ImportError, AttributeError, ValueError) as error:
                problems.append(f"assets/{name}/_deliverable.yaml: exit names {function}: {error}.")
        problems += [
            f"assets/{name}/_deliverable.yaml: exit publishes {each.draft}, which no file declares."
            for each in published
            if each.draft not in catalog.models
        ]
    if problems:
        raise MissionError("\n".join(problems))
    catalog.ordered()


def _shown(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix() if path.is_relative_to(CHECKOUT) else str(path)
