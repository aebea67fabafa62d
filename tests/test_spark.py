"""Every portable model on both engines: the same text, the same pinned files, the same rows and types, compared both ways.

Spark is a Connect server of its own on this machine, started once. Needs pyspark (`make spark`) and Java.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import Bench, event, free_port
from test_metering import METERS, ZONES, aggregated, amendments, boundaries, identities, variances
from test_predictive import LANDED, SEED, SPRINT, decision, lands, lay

from mc_pipelines import spark
from mc_pipelines.catalog import Model
from mc_pipelines.engine import connect, spark_url
from mc_pipelines.errors import MissionError
from mc_pipelines.lake import WHOLE
from mc_pipelines.predictive.seeds import publish
from mc_pipelines.runner import Work, bind_views, computed, materialise

TENANT = "  - {{tenant_id: {0}, name: {0}, zone: {1}, currency: USD, plan: p, grace_days: 2}}\n"
FIRST, LAST = "2026-03-25", "2026-05-05"
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.connect.grpc.binding.address": "127.0.0.1",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Spark Connect server on this machine."""
    home = find_spec("pyspark")
    if home is None or home.origin is None:
        pytest.skip("pyspark is not installed: make spark")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: apt-get install openjdk-17-jre-headless")
    port, folder = free_port(), tmp_path_factory.mktemp("spark")
    options = OPTIONS | {"spark.connect.grpc.binding.port": str(port), "spark.sql.warehouse.dir": str(folder)}
    command = [str(Path(home.origin).parent / "bin" / "spark-submit"), "--master", "local[2]", "--class", SERVER]
    command += [part for name, value in options.items() for part in ("--conf", f"{name}={value}")] + ["spark-internal"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")[-3000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"sc://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def odd() -> Iterator[Any]:
    """What the engines might see differently: 38 digits, tiny numbers, quotes, NULLs, lists, both changes of summer time."""
    for day, value in enumerate(["99999999999999999999999999999.999999999", "0.000000001", "-0.5"], 11):
        yield event(f"v{day}", f"2026-04-{day}T10:00:00", tenant="odd", type="usage.load", value=value)
    for at, status in enumerate(["it's", '"quoted"', "back\\slash", None, "tab\tend", "Größe"]):
        yield event(f"s{at}", f"2026-04-12T10:00:0{at}", tenant="odd", status=status, path=status, bytes=at)
    yield event("blocks", "2026-04-12T11:00:00", tenant="odd", type="llm.completion", blocks='["x", 1.50, null, "x", "é\\"", true]')
    for hour in ("2026-03-29T00:59:59.999999", "2026-03-29T01:00:00", "2026-03-28T23:00:00", "2026-03-29T22:00:00"):
        yield event(f"dst {hour}", hour, tenant="berlin", bytes=1, path="/")
    for hour in ("2026-04-04T14:59:59.999999", "2026-04-04T15:00:00", "2026-04-05T13:30:00"):
        yield event(f"howe {hour}", hour, tenant="howe", bytes=1, path="/")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Bench:
    """The hand-made months of test_metering and what is odd, built by DuckDB."""
    bench = make_bench(tmp_path_factory.mktemp("both"))
    events, log = variances()
    events += [*aggregated(), *identities(), *amendments(), *boundaries(), *odd()]
    zones = ZONES | {"berlin": "Europe/Berlin", "howe": "Australia/Lord_Howe"}
    tenants = sorted({str(row["tenant_id"]) for row in (*events, *log)})
    bench.declare("tenants", "tenants:\n" + "".join(TENANT.format(tenant, zones.get(tenant, "UTC")) for tenant in tenants))
    bench.declare("meters", METERS + "  - {meter: loads, type: usage.load, aggregation: unique_count, value: value, unit: l}\n")
    bench.land(events, log)
    bench.build(sorted({str(row["landing_day"]) for row in (*events, *log)}), [])
    for day, rows in decisions().items():
        path = bench.home.landing / "decisions" / day / "a.ndjson"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for key in ("staging.decisions", "predictive.decisions"):
        materialise(bench.shop, bench.shop.catalog.models[key], list(decisions()))
    return bench


def decisions() -> dict[str, list[dict[str, object]]]:
    """Decisions of two landing days with copies within a day and across them, which say the same and something else."""
    usual: dict[str, object] = {
        "tenant_id": "odd",
        "model": "m",
        "model_version": "1",
        "inputs_digest": "0" * 64,
        "stratum": "low",
        "status": "ok",
    }
    usual |= {"occurred_at": "2026-04-01T10:00:00Z", "outcome": "é'\"", "score": "0.123456789", "latency_ms": 3, "cost": "0.5"}
    first = [usual | {"decision_id": name, "outcome": said} for name, said in (("a", "x"), ("a", "x"), ("b", "y"), ("b", "Ä"), ("b", "z"))]
    return {"2026-04-01": first, "2026-04-02": [usual | {"decision_id": name} for name in ("a", "c", "c")]}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Bench:
    """The hand-made sprint of test_predictive with 400 more decisions of strange names, built by DuckDB as far as the sample."""
    bench = make_bench(tmp_path_factory.mktemp("sampled"))
    lay(bench)
    declared = (bench.home.reference / "audits.yaml").read_text(encoding="utf-8")
    bench.declare("audits", declared.replace("tolerable: '0.5'", "tolerable: '0.05'").replace("[[5, 0]]", "[[72, 0]]"))
    names = [name for number in range(100) for name in (f"é{number}", f"{number}'", f"\\{number}", f"漢{number}")]
    lands(bench, "decisions", "2026-04-08", [decision(name, "2026-04-08T10:00:00Z", stratum=f"s{len(name)}") for name in names])
    publish(bench.home, "7", "4.2.0")
    windows = {"once": [WHOLE], "day": LANDED, "sprint": [SPRINT]}
    for model in bench.shop.catalog.behind([bench.shop.catalog.models["predictive.audit_drawn"]]):
        materialise(bench.shop, model, windows[model.header.every])
    return bench


SAMPLE = ("predictive.in_scope", "predictive.audit_drawn")


def portable(bench: Bench) -> list[Model]:
    return [model for model in bench.shop.catalog.ordered() if model.header.engine == "portable" and model.key not in SAMPLE]


def work_of(bench: Bench, model: Model) -> Work:
    """A model's work on every day, its inputs at their newest versions."""
    con = connect()
    for table in bench.shop.catalog.inputs(model):
        assert bench.shop.lake.view(con, table) is not None, table
    bind_views(bench.shop, con, model)
    return Work(bench.shop, con, model, (FIRST, LAST) if model.params else (WHOLE,))


def on_server(server: str, work: Work, where: str | None = None) -> pa.Table:
    versions = {table: work.shop.lake.version(table) for table in work.shop.catalog.inputs(work.model)}
    return spark.computed(server, work, {table: (version, where) for table, version in versions.items() if version is not None})


def typed(table: pa.Table) -> list[tuple[str, pa.DataType]]:
    return [(each.name, each.type) for each in table.schema]


def test_every_portable_model_gives_the_same_rows_on_both_engines(server: str, both: Bench, sampled: Bench) -> None:
    for bench, model in [*((both, model) for model in portable(both)), *((sampled, sampled.shop.catalog.models[key]) for key in SAMPLE)]:
        work = work_of(bench, model)
        ours, theirs = computed(work).to_arrow_table(), on_server(server, work)
        assert ours.num_rows == theirs.num_rows > 0, model.key
        assert typed(ours) == typed(theirs), model.key
        for name, table in (("ours", ours), ("theirs", theirs)):
            work.con.register(name, table)
        for one, other in (("ours", "theirs"), ("theirs", "ours")):
            assert work.con.sql(f"FROM {one} EXCEPT ALL FROM {other}").fetchall() == [], (model.key, one)


def test_the_sample_of_both_engines_is_that_of_hashlib(server: str, sampled: Bench) -> None:
    model = sampled.shop.catalog.models["predictive.audit_drawn"]
    plan = sampled.rows("SELECT stratum, planned FROM predictive.audit_plan", "predictive.audit_plan")
    scope: dict[str, list[str]] = {}
    for stratum, identity in sampled.rows("SELECT stratum, decision_id FROM predictive.in_scope", "predictive.in_scope"):
        scope.setdefault(stratum, []).append(hashlib.sha256(f"{SEED}\x1f{identity}".encode()).hexdigest())
    by_hand = {(stratum, place, digest) for stratum, size in plan for place, digest in enumerate(sorted(scope[stratum])[:size], 1)}
    assert len(by_hand) > 40
    work = work_of(sampled, model)
    for found in (computed(work).to_arrow_table(), on_server(server, work)):
        assert {(each["stratum"], each["place"], each["digest"]) for each in found.to_pylist()} == by_hand


def test_tables_without_files_give_no_rows_of_the_same_types(server: str, both: Bench) -> None:
    work = work_of(both, both.shop.catalog.models["metering.seen_before"])
    before = dict(os.environ)
    nothing = on_server(server, work, "landing_day > '2100-01-01'")
    assert dict(os.environ) == before  # a process started from here is not told to speak Connect
    assert nothing.num_rows == 0
    assert typed(nothing) == typed(computed(work).to_arrow_table())


def test_a_lake_built_by_spark_is_the_one_built_by_duckdb_and_nothing_is_stale_after_a_switch(
    server: str, tmp_path: Path, make_bench: Callable[[Path], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [*aggregated(), *amendments()]
    days = sorted({str(row["landing_day"]) for row in events})
    tables = [f"metering.{name}" for name in ("seen_before", "usage_daily")]
    rows, recipes = [], []
    for engine in ("duckdb", server):
        monkeypatch.setenv("MISSION_ENGINE", engine)
        bench = make_bench(tmp_path / engine.partition(":")[0])
        bench.declare("tenants", "tenants:\n" + "".join(TENANT.format(tenant, "UTC") for tenant in ("agg", "fix")))
        bench.declare("meters", METERS)
        bench.land(events, days=days)
        bench.build(days, [])
        rows.append([bench.rows(f"SELECT * FROM {table} ORDER BY ALL", table) for table in tables])
        recipes.append([{window: each.recipe for window, each in bench.shop.lake.windows(table).items()} for table in tables])
    assert rows[0] == rows[1]
    assert len(rows[0][1]) > 20
    assert recipes[0] == recipes[1]
    monkeypatch.delenv("MISSION_ENGINE")
    assert {key: outcome.rebuilt for key, outcome in bench.build(days, []).items() if outcome.rebuilt} == {}


def test_what_spark_refuses_is_said_with_the_way_out(server: str, both: Bench) -> None:
    model = replace(both.shop.catalog.models["metering.seen_before"], sql="SELECT no_such_column FROM staging.usage_events")
    work = work_of(both, model)
    with pytest.raises(MissionError, match=r"MISSION_ENGINE=sc://127\.0\.0\.1:\d+: .*no_such_column.*\n.*Without MISSION_ENGINE"):
        on_server(server, work)


@pytest.mark.parametrize("named", ["spark", "sc://", "sc://host", "http://host:1", "sc://host:port"])
def test_an_engine_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("MISSION_ENGINE", named)
    with pytest.raises(MissionError, match=f"MISSION_ENGINE={named}: write duckdb, or sc://host:port"):
        spark_url()


def test_a_server_that_does_not_answer_is_named(both: Bench) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: make spark")
    work = work_of(both, both.shop.catalog.models["metering.seen_before"])
    with pytest.raises(MissionError, match="no Spark Connect server answers there"):
        on_server(f"sc://127.0.0.1:{free_port()}", work)


def test_without_pyspark_the_way_to_install_it_is_named(both: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(both, both.shop.catalog.models["metering.seen_before"])
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(MissionError, match=r"needs pyspark .*make spark"):
        on_server("sc://127.0.0.1:1", work)


def test_only_parameters_and_tables_are_spoken_otherwise() -> None:
    sql = "SELECT '$first metering.x', m.x FROM metering.x AS m -- metering.x\nWHERE a >= CAST($first AS DATE) AND metering.xy = 1"
    assert spark.spoken(sql, {"metering.x"}) == (
        "SELECT '$first metering.x', m.x FROM metering__x AS m -- metering.x\nWHERE a >= CAST(:first AS DATE) AND metering.xy = 1"
    )


def test_a_view_that_only_duckdb_computes_is_named(both: Bench) -> None:
    work = work_of(both, both.shop.catalog.models["metering.conflicts"])
    with pytest.raises(MissionError, match=r"metering\.conflicts: .*no SELECT for Spark"):
        spark.select(work)
