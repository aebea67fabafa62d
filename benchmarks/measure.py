"""What every benchmark shares: a process measured from outside, the machine, versions, a table on the screen, a JSON file.

Nothing of the project is imported here, so that the measuring process stays small: a child's peak memory cannot read lower than its parent's.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Seconds by the wall, CPU seconds (user + system, all threads and waited-for children), most resident megabytes."""

    wall: float
    cpu: float
    peak_mb: float


def run(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run one process from the checkout and measure all of it, interpreter start included. RuntimeError where it fails."""
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=output, stderr=output, env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: ended with {process.returncode}\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}"
        )
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MEGABYTE)


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of the checkout with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def cpu_now() -> float:
    """CPU seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def inside(work: Callable[[], Any]) -> tuple[Cost, Any]:
    """Measure one step of the running process: its wall, its CPU, and the most memory resident while it ran."""
    forget_peak()
    wall, cpu = time.perf_counter(), cpu_now()
    result = work()
    return Cost(time.perf_counter() - wall, cpu_now() - cpu, peak_mb()), result


def forget_peak() -> None:
    """Let the kernel count the peak anew; where it does not, peaks are those of the process so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    """Most resident megabytes since the peak was forgotten."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MEGABYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def median(costs: Iterable[Cost]) -> Cost:
    """The median of each figure, of runs that alternated with the others'."""
    found = list(costs)
    return Cost(
        statistics.median(cost.wall for cost in found), statistics.median(cost.cpu for cost in found), max(cost.peak_mb for cost in found)
    )


def machine() -> dict[str, Any]:
    """Name and size of this machine. Shared ones are noisy: compare CPU seconds and ratios, not the wall."""
    name, memory = "unknown", 0
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
        memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]) * 1024
    return {"processor": name, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory / 1e9, 1)}


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by package, with Python's own."""
    found = {"python": sys.version.split()[0]}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def size(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print one table: the first column is text, the others are figures."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    for row in rows:
        table.add_row(*(figure(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def figure(value: object) -> str:
    """A figure as the tables show it: two decimals, thousands apart, nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_json(path: Path | None, document: Mapping[str, Any]) -> None:
    """Write the result of a benchmark where one was asked for."""
    if path is not None:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")
