"""The demo: the samples dealt out over one month, with small documented faults on the metered side, and drills that must fail.

Landing files only, the same bytes each time; nothing is judged here. What the samples are and how they are read stands in `samples.py`.
"""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

from mc_pipelines import samples
from mc_pipelines.calendars import sprint_instants
from mc_pipelines.durable import write
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.marketplace.demo import lay_marketplace
from mc_pipelines.predictive.demo import demo_predictive, publish_seeds
from mc_pipelines.predictive.simulated_truth import Truth
from mc_pipelines.reference import read_sprints
from mc_pipelines.samples import Event

if TYPE_CHECKING:
    import duckdb

FIRST, DAYS = date(2026, 4, 1), 30
MONTH, SPRINT = "2026-04", "35"
IN_GRACE, AFTER_CUT_OFF = date(2026, 5, 1), date(2026, 5, 6)
BIG_SEND = 20_000
"""Bytes above which an event is too heavy for a planted fault: faults of the plain demo must stay within the gates."""
PLANTED = {
    "missing": 6,
    "extra": 5,
    "value_differs": 4,
    "period_differs": 3,
    "late_in_grace": 5,
    "late": 2,
    "void": 1,
    "replace": 1,
    "malformed": 8,
}
"""Faults of the plain demo, in events; documented in data/samples/README.md."""


@dataclass(frozen=True)
class Laid:
    """What was laid: the month, the window of each deliverable, how many events each planted fault touches, and who answers the audits."""

    month: str
    windows: Mapping[str, str]
    planted: Mapping[str, int]
    answers: Truth | None


def home_for(home: Home, fault: str | None) -> Home:
    """The plain demo uses the home itself; a drill has a home of its own inside it, because landed files never change."""
    return home if fault is None else Home(home.root / "drills" / fault)


def calendar() -> dict[date, list[date]]:
    """The log's four days dealt out in order over the month."""
    dealt: dict[date, list[date]] = {day: [] for day in samples.LOG_DAYS}
    for step in range(DAYS):
        dealt[samples.LOG_DAYS[step % len(samples.LOG_DAYS)]].append(FIRST + timedelta(days=step))
    return dealt


def lay(home: Home, fault: str | None = None) -> Laid:
    """Write the landing files of the month, both sides. Asked again it finds the same bytes and writes nothing.

    A drill is of the month alone. MissionError where a landed file holds something else.
    """
    declared = CHECKOUT / "data" / "reference"
    for source in sorted(declared.rglob("*.yaml")):
        target = home.reference / source.relative_to(declared)
        if not target.exists() and source.name != "people.yaml":
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(source, target)
    access, planted = plant(list(samples.access_events(samples.log_lines(), calendar())))
    if fault is not None:
        access = DRILLS[fault](access)
    for day, events in by_landing_day(access).items():
        place(home.landing / "usage_events" / day.isoformat() / "access.ndjson.gz", _gzipped(_ndjson(events)))
    for day in sorted({FIRST + timedelta(days=step) for step in range(DAYS)}):
        if planted_lines := MALFORMED.get((day - FIRST).days):
            place(home.landing / "usage_events" / day.isoformat() / "edge.ndjson", planted_lines)
    _lay_llm(home)
    _lay_gateway(home)
    if fault is not None:
        return Laid(MONTH, {"metering": MONTH}, planted, None)
    (sprint,) = (each for each in read_sprints(home) if each.sprint == SPRINT)
    begins, ends = (at.replace(tzinfo=UTC) for at in sprint_instants(sprint))
    truth = demo_predictive(home.landing, (begins, ends), place)
    publish_seeds(home)
    lay_marketplace(home, place)
    return Laid(MONTH, {"metering": MONTH, "predictive": SPRINT, "marketplace": SPRINT}, planted, truth)


def _busiest(events: Sequence[Event], most: int = 3) -> list[str]:
    """The tenants with most events and no repeated line, so that planted faults stay small beside them."""
    counts = Counter(event["subject"] for event in events)
    ids = Counter(event["id"] for event in events)
    repeated = {event["subject"] for event in events if ids[event["id"]] > 1}
    return [tenant for tenant, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if tenant not in repeated][:most]


def plant(events: list[Event]) -> tuple[list[Event], dict[str, int]]:
    """Put the plain demo's faults into the metered side; which events is decided by their ids alone."""
    chosen_from = set(_busiest(events))
    light = [
        event for event in events if event["subject"] in chosen_from and "bytes" in event["data"] and 0 < event["data"]["bytes"] < BIG_SEND
    ]
    # Mid-month events only, so that no fault depends on where a tenant's month begins.
    pool = iter(sorted((event for event in light if "2026-04-05" < event["time"] < "2026-04-25"), key=lambda event: event["id"]))
    picked = {kind: [next(pool)["id"] for _ in range(count)] for kind, count in PLANTED.items() if kind != "malformed"}
    kind_of = {identity: kind for kind, ids in picked.items() for identity in ids}
    kept: list[Event] = []
    for event in events:
        kept += _changed(event, kind_of.get(event["id"], ""))
    return kept, PLANTED


def _changed(event: Event, kind: str) -> list[Event]:
    """What lands in place of an event that a fault was planted on."""
    data = event["data"]
    later = _moved(event["time"], timedelta(milliseconds=1))
    amends = {"amends": {"source": event["source"], "id": event["id"]}}
    if kind == "missing":
        return []
    if kind == "extra":
        return [event, event | {"id": samples.digest("extra", event["id"]), "time": later}]
    if kind == "value_differs":
        return [event | {"data": data | {"bytes": data["bytes"] + 1}}]
    if kind == "period_differs":
        return [event | {"time": "2026-03-20" + event["time"][10:], "lands": event["time"][:10]}]
    if kind in {"late_in_grace", "late"}:
        return [event | {"lands": (IN_GRACE if kind == "late_in_grace" else AFTER_CUT_OFF).isoformat()}]
    if kind == "void":
        return [event, event | amends | {"id": samples.digest("void", event["id"]), "kind": "void", "data": {}}]
    if kind == "replace":
        return [
            event,
            event | amends | {"id": samples.digest("replace", event["id"]), "kind": "replace", "data": data | {"bytes": data["bytes"] + 7}},
        ]
    return [event]


def _moved(time: str, by: timedelta) -> str:
    return (datetime.fromisoformat(time) + by).isoformat(timespec="microseconds").replace("+00:00", "Z")


def late(events: list[Event]) -> list[Event]:
    """A producer's last six days reach us after the cut-off."""
    tenant = _busiest(events, 1)[0]
    return [
        event | {"lands": AFTER_CUT_OFF.isoformat()} if event["subject"] == tenant and event["time"] >= "2026-04-25" else event
        for event in events
    ]


def duplicates(events: list[Event]) -> list[Event]:
    """A producer sends three days again under fresh ids, which identity cannot catch."""
    again = [event | {"id": samples.digest("again", event["id"])} for event in events if "2026-04-12" <= event["time"] < "2026-04-15"]
    return events + again


def missing(events: list[Event]) -> list[Event]:
    """A collector loses three hours of everybody's events."""
    return [event for event in events if not "2026-04-15T10" <= event["time"] < "2026-04-15T13"]


def drift(events: list[Event]) -> list[Event]:
    """A producer renames data.bytes from the 20th on."""
    return [_renamed(event) if event["time"] >= "2026-04-20" and "bytes" in event["data"] else event for event in events]


def _renamed(event: Event) -> Event:
    data = dict(event["data"])
    return event | {"data": {"response_bytes": data.pop("bytes"), **data}}


DRILLS = {"late": late, "duplicates": duplicates, "missing": missing, "drift": drift}

MALFORMED = {
    2: b'{"specversion":"1.0","id":"m1","source":"edge","type":"http.request","subject":"acme-robotics","time":"2026-04-03T10:00:00",'
    b'"ingested_at":"2026-04-03T10:00:01Z","data":{"bytes":10,"path":"/","status":"200"}}\n{"id":"m2","id":"m2"}\n',
    11: b'{"specversion":"1.0","id":"m3","source":"edge","type":"http.request","subject":"nobody","time":"2026-04-12T10:00:00Z",'
    b'"ingested_at":"2026-04-12T10:00:01Z","data":{"bytes":10,"path":"/","status":"200"}}\nnot json\n\xff\xfe\n',
    18: b'{"specversion":"1.0","id":"m6","source":"edge","type":"http.request","subject":"acme-robotics","time":"2026-04-19T10:00:00Z",'
    b'"ingested_at":"2026-04-19T10:00:01Z","data":{"bytes":-5,"path":"/","status":"200"}}\n[1]\n{"specversion":"1.0"}\n',
}
"""Malformed rows by day of the month (0 is the first): eight in all, none of which is a real event."""


def by_landing_day(events: Iterable[Event]) -> dict[date, list[Event]]:
    """Events by the folder that they land in: their own UTC day, unless a fault says otherwise."""
    landed: dict[date, list[Event]] = defaultdict(list)
    for event in events:
        landed[date.fromisoformat(event.get("lands", event["time"][:10]))].append(
            {key: value for key, value in event.items() if key != "lands"}
        )
    return dict(sorted(landed.items()))


def _ndjson(events: Iterable[Event]) -> bytes:
    return b"".join(
        json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n" for event in events
    )


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=6, mtime=0)


def place(path: Path, content: bytes) -> None:
    """Land a file whole; the same bytes again are left alone."""
    if path.exists():
        if path.read_bytes() != content:
            raise MissionError(f"{path}: something else has landed here. Use another home: MISSION_HOME=/some/folder make demo")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content)


def _lay_llm(home: Home) -> None:
    """One trace as JSON Lines, one as CSV, one as Parquet: all three formats land every month."""
    for replay in samples.replays():
        for day, events in by_landing_day(samples.llm_events(replay)).items():
            folder = home.landing / "usage_events" / day.isoformat()
            if replay.trace == "azure_llm_conv":
                place(folder / f"{replay.trace}.csv.gz", _gzipped(_csv(events)))
            elif replay.trace == "azure_llm_code":
                place(folder / f"{replay.trace}.ndjson.gz", _gzipped(_ndjson(events)))
            else:
                place(folder / f"{replay.trace}.parquet", _parquet(events))


def _flat(event: Event) -> Mapping[str, Any]:
    return {key: value for key, value in event.items() if key != "data"} | {f"data.{key}": value for key, value in event["data"].items()}


def _csv(events: Sequence[Event]) -> bytes:
    rows = [_flat(event) for event in events]
    return "".join(",".join(str(value) for value in row) + "\n" for row in [list(rows[0]), *(row.values() for row in rows)]).encode()


def _parquet(events: Sequence[Event]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([dict(_flat(event)) for event in events]), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _lay_gateway(home: Home) -> None:
    from mc_pipelines.engine import connect

    con = connect()
    parts = [samples.gateway_access(con, calendar()), *(samples.gateway_llm(con, replay) for replay in samples.replays())]
    parts[0].create("gateway")
    for part in parts[1:]:
        part.insert_into("gateway")
    for (day,) in con.sql("SELECT DISTINCT day FROM gateway ORDER BY day").fetchall():
        place(home.landing / "gateway_log" / day.isoformat() / "gateway.parquet", _gateway_file(con, day))


def _gateway_file(con: "duckdb.DuckDBPyConnection", day: date) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = con.sql("SELECT * EXCLUDE (day) FROM gateway WHERE day = $day ORDER BY ALL", params={"day": day}).to_arrow_table()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
