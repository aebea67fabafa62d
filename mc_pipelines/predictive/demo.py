"""The demo's predictive operations: six thousand decisions of the demo's tenants over April and the first days of May 2026, everything plain.

Landing files only, the same bytes each time. The audits land once their sample is drawn, by `audit_answers` of what is returned here.
"""

import gzip
import json
from datetime import date, datetime
from pathlib import Path

from mc_pipelines.engine import connect
from mc_pipelines.generated import Place
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lake import WHOLE
from mc_pipelines.predictive.seeds import publish
from mc_pipelines.predictive.simulate import audit_answers, simulate, write_audits
from mc_pipelines.predictive.simulated_truth import PLAIN, Troubles, Truth
from mc_pipelines.report import some_windows
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.windows import sprint_windows, window_named
from mc_pipelines.yamlread import load_yaml

SAMPLE = "predictive.audit_sample"
SEED, DECISIONS = 36, 6000
"""Of this seed one decision of sprint 35 is overturned, so that no draw of the sample can fail the gate of agreement."""
FIRST, LAST = date(2026, 4, 1), date(2026, 5, 12)
"""Through the last landing day that counts for the sprint."""


def demo_predictive(landing: Path, window: tuple[datetime, datetime], place: Place, troubles: Troubles = PLAIN) -> Truth:
    """Land the demo's decisions, and the operations of a sprint, through `place`; returns their truth."""
    declared = load_yaml(CHECKOUT / "data" / "reference" / "tenants.yaml")["tenants"]
    stages = {row["tenant_id"]: each["stage"] for row in declared for each in row["stages"] if each["product"] == "predictive"}
    ga = [name for name, stage in stages.items() if stage == "ga"]
    return simulate(landing, list(stages), ga, FIRST, LAST, DECISIONS, SEED, window, troubles, place=place)


def publish_seeds(home: Home) -> None:
    """Publish the seed of every sprint and version that the demo's releases name; asked again, it finds them published."""
    versions = sorted(
        {row["model_version"] for path in sorted((home.landing / "releases").rglob("*")) if path.is_file() for row in _rows(path)}
    )
    for window in sprint_windows(home):
        for version in versions:
            publish(home, window.name, version)


def answer_audits(home: Home, sprint: str, truth: Truth, place: Place) -> list[str]:
    """Draw the sprint's sample from what is staged, and land a verdict for every read of it; returns the landing days."""
    shop, window = Workshop.open(home), window_named(home, "sprint", sprint)
    for model in shop.catalog.behind([shop.catalog.models[SAMPLE]]):
        if model.header.every != "day":
            materialise(shop, model, [window.key] if model.judged else [WHOLE])
    con = connect()
    some_windows(shop, con, SAMPLE, shop.lake.version(SAMPLE) or 0, f"sprint = '{window.key}'")
    reads = con.sql(f"SELECT decision_id, reader, auditor, strftime(due_at, '%Y-%m-%dT%H:%M:%SZ') FROM {SAMPLE} ORDER BY ALL").fetchall()
    answers = audit_answers(reads, truth)
    write_audits(home.landing, answers.days, place)
    return [day.isoformat() for day in answers.days]


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines() if line.startswith(b"{")]
