"""The page of a marketplace sprint, drawn from the document that its bundle holds."""

import json
from collections.abc import Mapping

from mc_pipelines.marketplace.report import REPORT
from mc_pipelines.site.build import canonical_json, environment
from mc_pipelines.site.format import Figures


def pages(files: Mapping[str, bytes], window: str) -> dict[str, bytes]:
    """HTML and JSON by path below the site, from a bundle's payload."""
    report = json.loads(files[REPORT])
    page = environment().get_template("marketplace.html.j2").render(report=report, fig=Figures(report))
    return {f"marketplace/{window}.json": canonical_json(report), f"marketplace/{window}.html": page.encode()}
