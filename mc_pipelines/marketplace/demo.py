"""The demo's marketplace: requests, feedback and actions over April and the first days of May 2026, everything plain.

Landing files only, the same bytes each time. Which sources and partners there are is declared in the home, and given by the caller.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from mc_pipelines.generated import Place
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.marketplace.declared import read_partners, read_sources
from mc_pipelines.marketplace.sample_packets import write_packets
from mc_pipelines.marketplace.simulate import simulate
from mc_pipelines.marketplace.simulated_truth import PLAIN, Troubles, Truth
from mc_pipelines.yamlread import load_yaml

SEED, REQUESTS, ISSUES = 12, 120, 60
FIRST, LAST = date(2026, 4, 1), date(2026, 5, 12)


def demo_marketplace(landing: Path, place: Place, sources: Sequence[str], partners: Sequence[str], troubles: Troubles = PLAIN) -> Truth:
    """Land the demo's marketplace for its declared tenants through `place`; returns its truth."""
    tenants = [row["tenant_id"] for row in load_yaml(CHECKOUT / "data" / "reference" / "tenants.yaml")["tenants"]]
    return simulate(landing, sources, tenants, partners, FIRST, LAST, REQUESTS, ISSUES, SEED, troubles, place=place)


def lay_marketplace(home: Home, place: Place) -> Truth:
    """Land the demo's marketplace for the sources and partners that the home declares, and write the packets of its sources."""
    sources = read_sources(home)
    write_packets(home, sources)
    live = [each.source_id for each in sources if each.status_on(LAST) == "live"]
    partners = [each.partner_id for each in read_partners(home)]
    return demo_marketplace(home.landing, place, live, partners)
