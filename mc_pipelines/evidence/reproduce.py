"""Compute a close again from what its bundle pins, and compare byte by byte.

The tables of days and the reference data are read at their pinned versions; the tables of the month are computed again from them, with
the SQL, the gates and the declarations that the bundle recorded. Only what Python computes is this checkout's; the code's digest tells.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mc_pipelines import report
from mc_pipelines.close import compute, month_models
from mc_pipelines.code import code_digest
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.record import Recorded
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import PREVIOUS
from mc_pipelines.lake import Lake
from mc_pipelines.runner import Work, Workshop, bind_views, computed

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Reproduction:
    """`differing` names payload files (under data/) that came out otherwise, `changed` pinned tables whose files are not those signed."""

    compared: int
    differing: list[str]
    changed: list[str]
    same_code: bool

    @property
    def ok(self) -> bool:
        return not self.differing and not self.changed


def reproduce(home: Home, bundle: Path, recorded: Recorded) -> Reproduction:
    """Compare a verified bundle's payload with what its pins give now.

    MissionError where a pinned version or file is gone, or where the bundle is of other code and this code cannot read its tables.
    """
    lake = Lake(str(home.lake))
    digests = {name: lake.files_digest(name, version) for name, version in recorded.pins.items()}
    shop = Workshop(home, recorded.catalog, lake)
    same_code = recorded.code == code_digest(home)
    compared_with = bundle / "data" / PREVIOUS
    previous = json.loads(compared_with.read_bytes()) if compared_with.is_file() else None
    try:
        again = compute(shop, recorded.period, recorded.pins, recorded.gates, lambda _: previous, month_again).files
    except MissionError as error:
        if same_code:
            raise
        raise MissionError(
            f"{bundle}: made by code {recorded.code[:12]}, and this checkout cannot compute it again from those tables. "
            f"Reproduce it with the checkout that closed the month. ({error})"
        ) from error
    payload = bundle / "data"
    names = sorted({path.relative_to(payload).as_posix() for path in payload.rglob("*") if path.is_file()} | set(again))
    return Reproduction(
        compared=len(names),
        differing=[name for name in names if not (payload / name).is_file() or again.get(name) != (payload / name).read_bytes()],
        changed=[f"{name} version {recorded.pins[name]}" for name, digest in sorted(digests.items()) if digest != recorded.digests[name]],
        same_code=same_code,
    )


def month_again(shop: Workshop, con: "duckdb.DuckDBPyConnection", period: str, tables: Sequence[str], pins: Mapping[str, int]) -> None:
    """Views of the pinned tables, but every table of the month computed again, upstream first.

    A table that others read through earlier months has those as they are pinned, for as long as it takes.
    """
    marts = {model.key: model for model in month_models(shop)}
    report.month_views(shop, con, period, tables, pins)
    looked_back = {
        dep for model in marts.values() for dep, scope in shop.catalog.inputs(model).items() if scope == "through" and dep in marts
    }
    pinned = {key: con.sql(f"FROM {key} LIMIT 0").to_arrow_table().schema for key in marts}
    for key, model in marts.items():
        bind_views(shop, con, model)
        rows = computed(Work(shop, con, model, (period,), pins)).filter(f"{model.header.window} = DATE '{period}'").to_arrow_table()
        schema, name = key.split(".")
        con.execute(f'DROP VIEW "{schema}"."{name}"')
        con.from_arrow(pinned[key].empty_table()).create(f'"{schema}"."{name}"')
        con.register("computed_again", rows)
        con.execute(f'INSERT INTO "{schema}"."{name}" BY NAME FROM computed_again')
        con.unregister("computed_again")
        if key in looked_back:
            opened, before = shop.lake.open(key, pins[key]), f"{model.header.window} < '{period}'"
            assert opened is not None
            con.execute(f'INSERT INTO "{schema}"."{name}" BY NAME FROM ({shop.lake.select(opened, before)}) WHERE {before}')
    for key in looked_back:
        schema, name = key.split(".")
        con.execute(f'DELETE FROM "{schema}"."{name}" WHERE {marts[key].header.window} < \'{period}\'')
