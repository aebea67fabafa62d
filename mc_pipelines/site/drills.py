"""The drills of a sprint as a page that plays each one back, step by step. It is drawn from one document; wording and layout are in the template.

The document: {sprint, as_of, playbooks: [{playbook, title, owner, runbook, steps, drills, passed}], drills: [{drill_id, playbook, ran_at,
outcome, steps: [{step, action, started_at, finished_at, seconds, outcome, alert, decision}]}], rehearsals: [{rehearsal_id, model_version,
ran_at, inputs, equal, differing, unknown, unproven, elapsed_ms}]}. Instants are ISO with Z; alert and decision may be null.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from mc_pipelines.site.build import environment
from mc_pipelines.site.format import NARROW, Figures, exact, moment, number, trimmed

LANE = (150, 12)
LEAST = 2  # px, so that a step of a second is seen beside one of an hour


def drills_page(document: Mapping[str, Any]) -> bytes:
    """The page as HTML. jinja2.UndefinedError or KeyError where a field is missing, ValueError for an instant that is none."""
    env = environment()
    env.filters |= {"lasted": lasted, "elapsed": elapsed}
    passed = sum(1 for row in document["playbooks"] if exact(row["passed"]))
    return (
        env.get_template("drills.html.j2").render(report=document, fig=Figures(document), passed=passed, lanes=lanes, clock=clock).encode()
    )


def lasted(seconds: Any) -> str:
    """Whole seconds as `45 s`, `4 min`, `1 h 2 min 5 s`; what is no number stays as it is."""
    found = exact(seconds)
    if found is None or found < 0:
        return str(seconds)
    minutes, rest = divmod(int(found), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number(value)}{NARROW}{unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value]
    return " ".join(parts) or f"0{NARROW}s"


def elapsed(milliseconds: Any) -> str:
    """Milliseconds without the zeros that only their column's scale puts behind them."""
    found = exact(milliseconds)
    return str(milliseconds) if found is None else number(trimmed(found))


def clock(text: str, day: str) -> str:
    """An instant as `10:04`, with its date where that is not the day of `day`."""
    shown = moment(text).removesuffix(" UTC")
    return shown.removeprefix(f"{moment(day)[:10]} ")


def lanes(steps: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """For each step a bar that shows when it ran within the drill, and for how long."""
    spans = [tuple(datetime.fromisoformat(step[key]) for key in ("started_at", "finished_at")) for step in steps]
    first = min((began for began, _ in spans), default=None)
    if first is None:
        return []
    whole = max(max(ended for _, ended in spans) - first, timedelta(seconds=1))
    return [_lane((began - first) / whole, (ended - began) / whole) for began, ended in spans]


def _lane(start: float, share: float) -> Markup:
    width, height = LANE
    long = max(share * width, LEAST)
    return Markup(
        '<svg class="lane" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true"><line x1="0" x2="{w}" y1="{y}" y2="{y}"/>'
        '<rect x="{x:.1f}" y="1" width="{long:.1f}" height="{high}" rx="2"/></svg>'
    ).format(w=width, h=height, y=height // 2, x=min(start * width, width - long), long=long, high=height - 2)
