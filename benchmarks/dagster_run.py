"""One measured process of `benchmarks.dagster_overhead`: the project's own daily job over a range of days, with every model empty.

The graph, its partitions, pools, executor, instance and settings are the project's; only what a step computes is taken out.
Usage: python -m benchmarks.dagster_run HOME OUT DAYS
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import click

from benchmarks.measure import Cost, inside, peak_mb
from mc_pipelines.calendars import days
from mc_pipelines.catalog import Model
from mc_pipelines.home import Home
from mc_pipelines.orchestra import instance
from mc_pipelines.runner import Outcome, Workshop
from mc_pipelines.starter import write_home
from mc_pipelines.windows import in_use

CALENDAR = "start: 2025-01-01\nend: 2026-12-31\n"


def empty(shop: Workshop, model: Model, windows: Sequence[str] = (), finished: object = None) -> Outcome:
    """A model that does nothing."""
    return Outcome(model.key, (), 0, None)


@contextmanager
def nothing_computed(shop: Workshop) -> Iterator[None]:
    """Leave the definitions as they are and take out what a step does; one shop is opened for all."""
    from mc_pipelines import definitions, display, opslog

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(definitions, "materialise", empty))
        stack.enter_context(mock.patch.object(display, "result", return_value={}))
        stack.enter_context(mock.patch.object(opslog, "record_done"))
        stack.enter_context(mock.patch.object(Workshop, "open", return_value=shop))
        yield


def execute(home: Home, windows: Sequence[str]) -> dict[str, Cost]:
    """The steps of one run, as the command line does them, each measured."""
    from mc_pipelines.definitions import build_defs
    from mc_pipelines.orchestra import QUIET

    cost: dict[str, Cost] = {}
    cost["build_defs"], defs = inside(lambda: build_defs(home))
    cost["resolve job"], job = inside(lambda: defs.resolve_job_def("daily"))
    single = len(windows) == 1
    tags = {} if single else {"dagster/asset_partition_range_start": windows[0], "dagster/asset_partition_range_end": windows[-1]}
    with ExitStack() as stack:
        cost["open a new instance"], opened = inside(lambda: stack.enter_context(instance(home)))
        cost["execute"], result = inside(
            lambda: job.execute_in_process(
                instance=opened, tags=tags, partition_key=windows[0] if single else None, run_config=QUIET, raise_on_error=False
            )
        )
    if not result.success:
        raise RuntimeError("the empty run failed")
    return cost


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("count", type=int)
def main(root: Path, out: Path, count: int) -> None:
    """Run `count` days in one run in an empty home."""

    write_home(root)
    (root / "reference" / "calendar.yaml").write_text(CALENDAR, encoding="utf-8")
    os.environ["MISSION_HOME"] = str(root)
    home = Home(root)
    windows = days("2025-01-01", "2025-12-31")[:count]
    opening, shop = inside(lambda: Workshop.open(home))
    models = [model for model in in_use(shop.home, shop.catalog) if model.header.every != "month" and not model.header.view]
    bare, _ = inside(lambda: [empty(shop, model, windows) for model in models])
    with nothing_computed(shop):
        costs = execute(home, windows)
    costs |= {"bare loop": bare, "Workshop.open, once": opening}
    shown = {"days": len(windows), "models": len(models), "cpu": {name: cost.cpu for name, cost in costs.items()}, "peak_mb": peak_mb()}
    (out / "result.json").write_text(json.dumps(shown), encoding="utf-8")


if __name__ == "__main__":
    main()
