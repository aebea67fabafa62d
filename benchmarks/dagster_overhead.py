"""What Dagster itself costs: the project's daily job with empty models over 1, 31 and 365 days, and loading the definitions.

Usage: python -m benchmarks.dagster_overhead
"""

import compileall
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.measure import CHECKOUT, machine, python, run, show, versions, write_json

SPANS = (1, 31, 365)
IMPORTS = {
    "python, nothing imported": "pass",
    "import dagster": "import dagster",
    "the project's definitions": "import mc_pipelines.location",
}


def empty_runs(work: Path, rounds: int) -> dict[int, list[dict[str, Any]]]:
    """Runs of each span in a process and a home of its own, taking turns."""
    found: dict[int, list[dict[str, Any]]] = {span: [] for span in SPANS}
    for turn in range(rounds):
        for span in SPANS[:: -1 if turn % 2 else 1]:
            out = work / f"{span}-{turn}"
            out.mkdir()
            cost = run(python("benchmarks.dagster_run", out / "home", out, span), work / "run.log")
            said = json.loads((out / "result.json").read_text(encoding="utf-8"))
            found[span].append(said | {"process_cpu": cost.cpu, "process_wall": cost.wall, "process_peak_mb": cost.peak_mb})
    return found


def loads(work: Path, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each import in a fresh interpreter, bytecode compiled, taking turns."""
    compileall.compile_dir(CHECKOUT / "mc_pipelines", quiet=2)
    found: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(rounds + 1):
        for name, code in list(IMPORTS.items())[:: -1 if turn % 2 else 1]:
            cost = run([sys.executable, "-c", code], work / "load.log")
            if turn:  # the first round only warms bytecode and disk
                found[name].append(cost.cpu)
    return found


def step(runs: Sequence[Mapping[str, Any]], name: str) -> float:
    """Median CPU seconds of one step."""
    return float(statistics.median(each["cpu"][name] for each in runs))


def summary(runs: Mapping[int, Sequence[Mapping[str, Any]]], imports: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The figures that have a target."""
    models = runs[SPANS[0]][0]["models"]
    execute = {span: step(found, "execute") for span, found in runs.items()}
    load = {name: statistics.median(found) for name, found in imports.items()}
    return {
        "models": models,
        "cpu_per_model": {span: cpu / models for span, cpu in execute.items()},
        "365 days against 1 day": execute[365] / execute[1],
        "definitions against import dagster": load["the project's definitions"] / load["import dagster"],
        "load": load,
    }


def print_tables(runs: Mapping[int, Sequence[Mapping[str, Any]]], result: Mapping[str, Any]) -> None:
    names = list(runs[SPANS[0]][0]["cpu"])
    rows: list[Sequence[object]] = [(name, *(step(runs[span], name) for span in SPANS)) for name in names]
    rows.append(("whole process", *(statistics.median(each["process_cpu"] for each in runs[span]) for span in SPANS)))
    rows.append(("execute, per model", *result["cpu_per_model"].values()))
    rows.append(("execute, against 1 day", *(step(runs[span], "execute") / step(runs[1], "execute") for span in SPANS)))
    show(f"{result['models']} empty models in one in-process run, CPU s", ("", *(f"{span} day(s)" for span in SPANS)), rows)
    base = result["load"]["import dagster"]
    show("Loading, bytecode compiled", ("", "CPU s", "ratio"), [(name, cpu, cpu / base) for name, cpu in result["load"].items()])


@click.command(epilog="Example: python -m benchmarks.dagster_overhead --rounds 3 --json dagster.json")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "document", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(rounds: int, document: Path | None) -> None:
    """Empty models through Dagster in-process over 1, 31 and 365 days, against the bare loop; definitions against import dagster."""
    with tempfile.TemporaryDirectory(prefix="bench-dagster-") as temporary:
        work = Path(temporary)
        runs, imports = empty_runs(work, rounds), loads(work, 2 * rounds + 1)
    result = summary(runs, imports)
    print_tables(runs, result)
    about = {"machine": machine(), "versions": versions("dagster", "duckdb", "deltalake")}
    print(f"{about['machine']} {about['versions']}")
    write_json(document, {**about, "rounds": rounds, "summary": result, "runs": runs, "imports": imports})


if __name__ == "__main__":
    main()
