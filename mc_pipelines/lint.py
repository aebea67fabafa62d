"""Every declaration checked without running anything: assets, gates, contracts, reference data. One line a problem, with file and line.

The rules of portable SQL stand in `portable.py`; what a declaration must be to be read at all stands where it is read.
"""

import re
from collections.abc import Callable

from mc_pipelines import reference
from mc_pipelines.catalog import Catalog, Model, named, read_catalog
from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.landing import strays
from mc_pipelines.yamlread import line_at, load_yaml


def problems(home: Home) -> list[str]:
    """All problems of a home, each naming file, line, value and remedy; empty when there are none."""
    from mc_pipelines.closing.ledger import accounts_file, read_accounts
    from mc_pipelines.corrections.settings import read_settings
    from mc_pipelines.evidence.people import read_people
    from mc_pipelines.evidence.retention import read_retention
    from mc_pipelines.gates import read_gates
    from mc_pipelines.metering import meter_select
    from mc_pipelines.odcs import load_contract
    from mc_pipelines.rating.book import read_books
    from mc_pipelines.rating.subscriptions import read_credits, read_subscriptions

    looks: list[Callable[[], object]] = [
        lambda: read_catalog(home),
        lambda: reference.read_sources(home),
        lambda: reference.read_calendar(home),
        lambda: reference.read_sprints(home),
        lambda: read_retention(home),
        lambda: read_books(home),
        lambda: read_subscriptions(home),
        lambda: read_credits(home),
        lambda: read_people(home),
        lambda: read_settings(home),
        lambda: read_accounts(home) if there(accounts_file(home)) else None,
        lambda: _read_landing(home),
    ]
    looks += [lambda kind=kind: reference.read(home, kind) for kind in reference.KINDS]  # type: ignore[misc]  # bound by default value
    looks.append(lambda: [meter_select(meter) for meter in reference.read(home, "meters")])
    looks += [lambda path=path: load_contract(path) for path in home.declarations("checks/contracts", "*.odcs.yaml").values()]  # type: ignore[misc]  # bound by default value
    looks += [lambda path=path: read_gates(path) for path in home.declarations("checks", "*.yaml").values()]  # type: ignore[misc]  # bound by default value
    found: list[str] = []
    for look in looks:
        try:
            look()
        except MissionError as error:
            found += str(error).splitlines()
    return found or _across(home)


def _read_landing(home: Home) -> None:
    if lines := strays(home, reference.read_sources(home)):
        raise MissionError("\n".join(lines))


def _across(home: Home) -> list[str]:
    """Problems that show only once every file can be read."""
    from mc_pipelines import portable
    from mc_pipelines.rating import cross_checks

    catalog = read_catalog(home)
    found = [
        *_undeclared(home, catalog),
        *_unjudged(home, catalog),
        *_unmeterable(home),
        *_unknown(home),
        *_outside(home),
        *_unbookable(home),
        *cross_checks.problems(home),
    ]
    for model in catalog.models.values():
        found += [*_misdescribed(model), *portable.problems(model)]
    return found


def _undeclared(home: Home, catalog: Catalog) -> list[str]:
    """What is wrong with what the home declares for each deliverable that it uses."""
    from mc_pipelines.windows import in_use

    used = {model.deliverable for model in in_use(home, catalog)}
    found = []
    for name, each in catalog.deliverables.items():
        if each.exit and each.exit.declared and name in used:
            try:
                named(each.exit.declared)(home)
            except MissionError as error:
                found += str(error).splitlines()
    return found


def _misdescribed(model: Model) -> list[str]:
    """Descriptions of columns that the SQL does not give. What Python computes is known only once it is built."""
    if not model.lineage:
        return []
    lines = model.path.read_text(encoding="utf-8").splitlines()
    return [
        f"{model.path}:{_line_of(lines, column)}: columns describes {column!r}, which the SQL does not give. It gives {', '.join(model.lineage)}."
        for column in model.header.columns
        if column not in model.lineage
    ]


def _line_of(lines: list[str], column: str) -> int:
    return next((number for number, line in enumerate(lines, 1) if line.removeprefix("--").strip().startswith(f"{column}:")), 1)


def _unjudged(home: Home, catalog: Catalog) -> list[str]:
    """Gates that judge a table nobody declares."""
    from mc_pipelines.gates import read_gates

    known = {table for model in catalog.models.values() for table in (model.key, *model.header.also)}
    gates = [(path, gate) for path in home.declarations("checks", "*.yaml").values() for gate in read_gates(path)]
    return [
        f"{path}: gate {gate.gate} judges {gate.table}, which no file under assets/ declares."
        for path, gate in gates
        if gate.table not in known
    ]


def _unbookable(home: Home) -> list[str]:
    """Accounts for meters and taxes that nobody declares: nothing would ever be booked there."""
    from mc_pipelines.closing.ledger import accounts_file, read_accounts
    from mc_pipelines.rating.book import read_books

    path = accounts_file(home)
    if not there(path):
        return []
    accounts = read_accounts(home)
    known = {
        "meters": {meter.meter for meter in reference.read(home, "meters")} | {"fees"},
        "taxes": {tax for book in read_books(home).values() for tax in book.taxes},
    }
    return [
        f"{path}:{line_at(path, (kind, name))}: {kind}: {name!r} is not declared; there are {', '.join(sorted(known[kind])) or 'none'}."
        for kind, named in (("meters", accounts.meters), ("taxes", accounts.taxes))
        for name in named
        if name not in known[kind]
    ]


def _unmeterable(home: Home) -> list[str]:
    """Meters on a type that the contract refuses: nothing could ever count there."""
    from mc_pipelines.odcs import load_contract

    contract = load_contract(home.declared("checks/contracts/usage_events.odcs.yaml"))
    pattern = next((dict(field.options).get("pattern", ".*") for field in contract.fields if field.name == "type"), ".*")
    return [
        f"{reference.line_of(home, 'meters', meter)}: meter {meter.meter}: no event has the type {meter.type!r}; {contract.path} takes {pattern}."
        for meter in reference.read(home, "meters")
        if not re.fullmatch(pattern, meter.type)
    ]


def _unknown(home: Home) -> list[str]:
    """Explained differences and settled conflicts of a tenant or meter that nobody declares."""
    known = {
        "tenant_id": {tenant.tenant_id for tenant in reference.read(home, "tenants")},
        "meter": {meter.meter for meter in reference.read(home, "meters")},
    }
    return [
        f"{reference.line_of(home, kind, row)}: {name} {value!r} is not declared among the {name.removesuffix('_id')}s. Mend it, or take the row out."
        for kind in ("explained", "conflicts")
        for row in reference.read(home, kind)
        for name, names in known.items()
        if (value := getattr(row, name, None)) is not None and value not in names
    ]


def _outside(home: Home) -> list[str]:
    """Sprints with days that the calendar does not have: nothing would be built for them."""
    path, calendar = home.reference / "sprints.yaml", reference.read_calendar(home)
    places = {each["sprint"]: place for place, each in enumerate(load_yaml(path)["sprints"])} if there(path) else {}
    return [
        f"{path}:{line_at(path, ('sprints', places[each.sprint]))}: sprint {each.sprint}: {each.first}..{each.last} lies outside the calendar "
        f"({calendar.start}..{calendar.end}). Move it, or extend reference/calendar.yaml."
        for each in reference.read_sprints(home)
        if each.first < calendar.start or each.last > calendar.end
    ]


def replacements(home: Home) -> list[str]:
    """Which of the checkout's files the home replaces or adds to."""
    if home.root == CHECKOUT / "data":
        return []
    lines = []
    for folder, pattern in (("assets", "*/*"), ("checks", "*.yaml"), ("checks/contracts", "*.yaml")):
        for path in sorted((home.root / folder).glob(pattern)):
            relative = path.relative_to(home.root).as_posix()
            kind = "replaces the checkout's" if (CHECKOUT / relative).exists() else "is added"
            lines.append(f"{relative}: the home's file {kind}")
    return lines
