"""The demo's predictive operations: six thousand decisions of the demo's tenants over April and the first days of May 2026, everything plain.

Landing files only, the same bytes each time. The audits land once their sample is drawn, by `audit_answers` of what is returned here.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from mc_pipelines.generated import Place
from mc_pipelines.home import CHECKOUT
from mc_pipelines.predictive.simulate import simulate
from mc_pipelines.predictive.simulated_truth import PLAIN, Troubles, Truth
from mc_pipelines.reference import load_yaml

SEED, DECISIONS = 36, 6000
"""Of this seed one decision of sprint 35 is overturned, so that no draw of the sample can fail the gate of agreement."""
FIRST, LAST = date(2026, 4, 1), date(2026, 5, 8)
ZONE = ZoneInfo("America/Denver")
WINDOW = (datetime(2026, 4, 24, tzinfo=ZONE).astimezone(UTC), datetime(2026, 5, 6, tzinfo=ZONE).astimezone(UTC))
"""Sprint 35 of data/reference/sprints.yaml."""


def demo_predictive(landing: Path, place: Place, troubles: Troubles = PLAIN) -> Truth:
    """Land the demo's decisions and operations through `place`; returns their truth."""
    declared = load_yaml(CHECKOUT / "data" / "reference" / "tenants.yaml")["tenants"]
    stages = {row["tenant_id"]: each["stage"] for row in declared for each in row["stages"] if each["product"] == "predictive"}
    ga = [name for name, stage in stages.items() if stage == "ga"]
    return simulate(landing, list(stages), ga, FIRST, LAST, DECISIONS, SEED, WINDOW, troubles, place=place)
