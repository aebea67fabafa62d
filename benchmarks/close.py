"""From landed events to period totals and variance: the project's assets beside scripts that a competent user would write by hand.

Each contender runs in a process of its own on the same files, in turn, and must give the same totals to the last digit. The homes
have no price books, so nothing is rated. Usage: python -m benchmarks.close --events 3M
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from benchmarks.measure import Cost, machine, median, python, run, show, size, versions, write_json

PROJECT, SCRIPT = "mc_pipelines, every asset", "DuckDB script by hand"
KEEPING = "DuckDB script that keeps its events"
OTHERS = {"polars": "polars script by hand", "chdb": "chdb script by hand", "pyspark": "Spark script by hand, local"}
"""By package, contenders that run with an interpreter which has it."""
MONTH = "2026-04"
SCRIPTS = {"polars": "polars", "chdb": "chdb", "pyspark": "spark"}
SUFFIX = {"K": 1_000, "M": 1_000_000}
Totals = dict[tuple[str, str], tuple[Decimal, Decimal]]


@dataclass(frozen=True)
class Bench:
    """What all runs of this benchmark share."""

    work: Path
    seed: int
    tenants: int
    form: str
    repeat: int
    memory: str | None
    interpreters: Mapping[str, str]
    """By package of OTHERS, a Python that has it."""

    @property
    def env(self) -> dict[str, str]:
        return {"MISSION_MEMORY": self.memory} if self.memory else {}

    def contenders(self) -> dict[str, list[str]]:
        """Commands by name, without the two folders that each is given."""
        found = {
            PROJECT: python("benchmarks.close_project", "close"),
            SCRIPT: python("benchmarks.script_duckdb"),
            KEEPING: python("benchmarks.script_duckdb", "--keep"),
        }
        if self.form == "parquet":
            found |= {OTHERS[name]: [path, "-m", f"benchmarks.script_{SCRIPTS[name]}"] for name, path in self.interpreters.items()}
        return found

    def absent(self) -> dict[str, str]:
        """Contenders that did not run, and why."""
        if self.form != "parquet":
            return dict.fromkeys(OTHERS.values(), "reads Parquet only")
        return {said: "no interpreter has it" for name, said in OTHERS.items() if name not in self.interpreters}


def number(text: str) -> int:
    """3000000, 500K, 3M."""
    scale = SUFFIX.get(text[-1].upper(), 1)
    try:
        return int(text[:-1] if scale > 1 else text) * scale
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no number of events; write 500000, 500K or 3M.") from error


def generate(bench: Bench, events: int, faults: bool) -> Path:
    """Simulated usage of one size; made once, read by all."""
    data = bench.work / f"data-{events}-{'faults' if faults else 'clean'}"
    if not (data / "truth.json").exists():
        shutil.rmtree(data, ignore_errors=True)
        options = ["--events", events, "--tenants", bench.tenants, "--seed", bench.seed, "--format", bench.form]
        command = python("benchmarks.close_project", "generate", data, *options, "--faults" if faults else "--no-faults")
        run(command, bench.work / "simulate.log")
    return data


def fresh(bench: Bench, data: Path, name: str) -> Path:
    """An empty home on the generated files."""
    home = bench.work / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for folder in ("landing", "reference"):
        (home / folder).symlink_to(data / folder)
    return home


def one(bench: Bench, data: Path, name: str, command: Sequence[str]) -> tuple[Cost, dict[str, Any]]:
    """One run of one contender: what it cost and what it said, with the bytes that it wrote."""
    home, out = fresh(bench, data, "project" if name == PROJECT else "script"), bench.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    cost = run([*command, str(home), str(out)], bench.work / "run.log", bench.env)
    said: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    said["written"] = size(home / "lake") if name == PROJECT else size(out, "*.parquet")
    return Cost(cost.wall, cost.cpu, max(cost.peak_mb, said.get("peak_mb", 0.0))), said


def totals(rows: Sequence[Sequence[str]]) -> Totals:
    return {(tenant, meter): (Decimal(metered), Decimal(reference)) for tenant, meter, metered, reference in rows}


def true_totals(data: Path) -> Totals:
    """What the generator knows to be true of the month."""
    months = json.loads((data / "truth.json").read_text(encoding="utf-8"))["months"]
    return totals([(row[0], row[1], row[3], row[4]) for row in months if row[2] == MONTH])


def agree(name: str, found: Totals, other: str, expected: Totals) -> None:
    """RuntimeError where two contenders' totals differ in anything."""
    wrong = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    if wrong:
        first = wrong[0]
        raise RuntimeError(f"{name} and {other} differ in {len(wrong)} totals: {first}: {found.get(first)}, {expected.get(first)}")


def compete(bench: Bench, events: int) -> dict[str, Any]:
    """All contenders on one size, in turn, the order reversed each round; their totals compared."""
    data = generate(bench, events, faults=True)
    for path in sorted(data.rglob("*.parquet")):
        path.read_bytes()  # so that nobody is first to wait for the disk
    contenders = list(bench.contenders().items())
    costs: dict[str, list[Cost]] = {name: [] for name, _ in contenders}
    said: dict[str, dict[str, Any]] = {}
    for turn in range(bench.repeat):
        for name, command in contenders[:: -1 if turn % 2 else 1]:
            cost, said[name] = one(bench, data, name, command)
            costs[name].append(cost)
            agree(name, totals(said[name]["totals"]), "the generator's truth", true_totals(data))
            print(f"{events:,} events, {name}: {cost.cpu:.2f} CPU s, {cost.wall:.2f} s, {cost.peak_mb:.0f} MB", flush=True)
    truth = json.loads((data / "truth.json").read_text(encoding="utf-8"))
    return {
        "events": events,
        "rows_landed": truth["rows"],
        "bytes_landed": size(data / "landing"),
        "totals_compared": len(true_totals(data)),
        "runs": {name: [asdict(cost) for cost in found] for name, found in costs.items()},
        "median": {name: asdict(median(found)) for name, found in costs.items()},
        "bytes_written": {name: said[name]["written"] for name in costs},
        "versions": {name: said[shown]["version"] for name, shown in OTHERS.items() if shown in said},
        "profile": said[PROJECT]["profile"],
        "gates": gates(bench),
    }


def gates(bench: Bench) -> dict[str, Any]:
    """All gates on the lake that the last run of the project left."""
    return apart(bench, bench.work / "project", python("benchmarks.close_project", "gates"))[1]


def apart(bench: Bench, home: Path, command: Sequence[str]) -> tuple[Cost, dict[str, Any]]:
    out = bench.work / "part"
    out.mkdir(exist_ok=True)
    cost = run([*command, str(home), str(out)], bench.work / "part.log", bench.env)
    return cost, json.loads((out / "result.json").read_text(encoding="utf-8"))


def contracts(bench: Bench, events: int, rounds: int = 3) -> dict[str, Any]:
    """Staging with its contract's rules against staging without, on clean files, so that both write the same rows."""
    data = generate(bench, events, faults=False)
    found: dict[str, list[dict[str, Any]]] = {"--rules": [], "--no-rules": []}
    for turn in range(rounds):
        for rules in list(found)[:: -1 if turn % 2 else 1]:
            command = python("benchmarks.close_project", "staging", rules)
            found[rules].append(apart(bench, fresh(bench, data, "staged"), command)[1])
    if len({tuple(each["digest"]) for runs in found.values() for each in runs}) != 1:
        raise RuntimeError("staging with and without rules wrote different rows of the same clean files")
    cpu = {rules: median(Cost(each["wall"], each["cpu"], each["peak_mb"]) for each in runs).cpu for rules, runs in found.items()}
    return {"events": events, "rounds": rounds, "cpu": cpu, "ratio": cpu["--rules"] / cpu["--no-rules"], "runs": found}


def print_size(bench: Bench, result: Mapping[str, Any]) -> None:
    """The table of one size, and the project's CPU by model."""
    base = result["median"][SCRIPT]["cpu"]
    rows: list[Sequence[object]] = [
        (name, cost["cpu"], cost["wall"], round(cost["peak_mb"]), round(result["bytes_written"][name] / 1e6), cost["cpu"] / base)
        for name, cost in result["median"].items()
    ]
    rows += [(f"{name}: {why}", None, None, None, None, None) for name, why in bench.absent().items()]
    landed = f"{result['events']:,} events, {sum(result['rows_landed'].values()):,} rows and {result['bytes_landed'] / 1e6:,.0f} MB of {bench.form} landed, seed {bench.seed}"
    show(
        f"{landed}; {result['totals_compared']} totals equal to the last digit",
        ("", "CPU s", "wall s", "peak MB", "MB written", "CPU ratio"),
        rows,
    )
    whole = sum(row["cpu"] for row in result["profile"])
    models = sorted(result["profile"], key=lambda row: -float(row["cpu"]))
    show(
        f"{result['events']:,} events: where the project's CPU goes",
        ("table", "CPU s", "%", "wall s", "peak MB", "rows"),
        [(row["model"], row["cpu"], round(100 * row["cpu"] / whole), row["wall"], round(row["peak_mb"]), row["rows"]) for row in models],
    )


def print_parts(results: Sequence[Mapping[str, Any]], contract: Mapping[str, Any]) -> None:
    """Contracts and gates."""
    rows: list[Sequence[object]] = []
    if contract:
        rows.append((f"staging {contract['events']:,} events without rules", contract["cpu"]["--no-rules"], None, None))
        rows.append(("the same with the contract's rules", contract["cpu"]["--rules"], None, contract["ratio"]))
    for result in results:
        if result["gates"]:
            count, runs = result["gates"]["gates"], result["gates"]["runs"]
            rows.append((f"import of Great Expectations, {result['events']:,} events", *result["gates"]["import"].values(), None))
            rows.append((f"{count} gates, first time", runs[0]["cpu"], runs[0]["wall"], None))
            rows.append((f"{count} gates, median of the next {len(runs) - 1}", *middle(runs[1:]), None))
    show("Contracts and gates", ("", "CPU s", "wall s", "CPU ratio"), rows)


def middle(runs: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    cost = median(Cost(each["wall"], each["cpu"], 0.0) for each in runs)
    return cost.cpu, cost.wall


def interpreters(given: Sequence[Path]) -> dict[str, str]:
    """Which Python has which contender: this one, then those named."""
    found: dict[str, str] = {}
    for path in (sys.executable, *map(str, given)):
        has = f"import importlib.util as u; print(*(name for name in {tuple(OTHERS)} if u.find_spec(name)))"
        names = subprocess.run([path, "-c", has], check=True, capture_output=True, text=True).stdout.split()
        found |= {name: path for name in names if name not in found}
        if path != sys.executable and not names:
            raise click.BadParameter(
                f"{path} has none of {', '.join(OTHERS)}; install one there, and tzdata, with: {path} -m pip install polars tzdata"
            )
    return {name: found[name] for name in OTHERS if name in found}


def print_growth(results: Sequence[Mapping[str, Any]]) -> None:
    """CPU seconds per million events at every size: a row that stays level is linear."""
    names = list(dict.fromkeys(name for result in results for name in result["median"]))
    per = [{name: cost["cpu"] / result["events"] * 1e6 for name, cost in result["median"].items()} for result in results]
    rows = [(name, *(each.get(name) for each in per)) for name in names]
    show("CPU seconds per million events", ("", *(f"{result['events']:,}" for result in results)), rows)


@click.command(epilog="Example: python -m benchmarks.close --events 1M,3M --repeat 2 --json close.json")
@click.option("--events", default="3M", show_default=True, help="Sizes, for example 3000000 or 1M,3M,12M.")
@click.option("--format", "form", type=click.Choice(["parquet", "ndjson"]), default="parquet", show_default=True)
@click.option("--tenants", default=500, show_default=True)
@click.option("--seed", default=11, show_default=True)
@click.option("--repeat", default=1, show_default=True, help="Rounds; every second one runs in reverse order.")
@click.option("--memory", help="DuckDB's memory limit for all that use it, for example 4GB.")
@click.option("--contract-events", default="1M", show_default=True, help="Size of staging with and without rules; 0 leaves it out.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A Python that has polars, chdb or pyspark, and tzdata, beside this one; may be repeated.",
)
@click.option(
    "--work", type=click.Path(path_type=Path, file_okay=False), help="Folder for generated data, kept; a temporary one by default."
)
@click.option("--json", "document", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(
    events: str, form: str, tenants: int, seed: int, repeat: int, memory: str | None, contract_events: str, pythons: tuple[Path, ...],
    work: Path | None, document: Path | None,
) -> None:  # fmt: skip
    """Close a generated month: the project against scripts by hand, the same totals, CPU, wall, memory, bytes."""
    sizes, staged = [number(each) for each in events.split(",")], number(contract_events)
    with tempfile.TemporaryDirectory(prefix="bench-close-") as temporary:
        folder = (work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, seed, tenants, form, repeat, memory, interpreters(pythons))
        results = []
        for each in sizes:
            results.append(compete(bench, each))
            print_size(bench, results[-1])
        if len(results) > 1:
            print_growth(results)
        contract = contracts(bench, staged) if staged else {}
        print_parts(results, contract)
    settings = {"events": sizes, "format": form, "tenants": tenants, "seed": seed, "repeat": repeat, "memory": memory}
    about = {"machine": machine(), "versions": versions("duckdb", "deltalake", "dagster", "great-expectations", "pyarrow")}
    print(f"{about['machine']} {about['versions']}")
    write_json(document, {"settings": settings, **about, "absent": bench.absent(), "sizes": results, "contracts": contract})


if __name__ == "__main__":
    main()
