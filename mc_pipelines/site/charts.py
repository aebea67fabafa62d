"""Small charts as inline SVG: a sparkline for a gate, bars or a line for the days of a month, what is left of a budget, bars for the weeks of a quarter.

Values are exact decimals until they become coordinates. Colours come from the page's CSS classes; captions and tables are the page's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from itertools import pairwise

from markupsafe import Markup

from mc_pipelines.site.format import compact, day_label, exact, number, shifted

SPARK = (120, 28)
CHART = (520, 190)
LEFT, RIGHT, TOP, BOTTOM = 44, 6, 10, 24  # px around the plot: axis numbers left, dates below
TICKS = 4

Values = Sequence[Decimal | None]


def _place(value: Decimal, low: Decimal, high: Decimal, start: float, end: float) -> float:
    """Where a value lies between two coordinates; the middle where all values are equal. A ratio of decimals, so 1e400 is no trouble."""
    share = Decimal("0.5") if high == low else (value - low) / (high - low)
    return start + float(share) * (end - start)


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Unbroken stretches: a missing value breaks the line rather than being drawn over."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _polylines(points: Sequence[tuple[float, float] | None]) -> Markup:
    parts = []
    for run in _runs(points):
        if len(run) == 1:
            parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="1.6"/>').format(*run[0]))
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            parts.append(Markup('<polyline fill="none" points="{}"/>').format(path))
    return Markup("").join(parts)


def sparkline(values: Values, threshold: Decimal | None, said: str) -> Markup:
    """The last values of a gate, oldest first, with its threshold dashed. None breaks the line. `said` is read out in its place."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup('<span class="mut none">no history</span>')
    width, height = SPARK
    scale = known if threshold is None else [*known, threshold]
    low, high = min(scale), max(scale)
    step = (width - 6) / max(1, len(values) - 1)

    def y_of(value: Decimal) -> float:
        return _place(value, low, high, height - 4, 4)

    offset = 0 if len(values) > 1 else (width - 6) / 2
    points = [None if value is None else (3 + offset + index * step, y_of(value)) for index, value in enumerate(values)]
    line = ""
    if threshold is not None:
        line = Markup('<line class="thr" x1="0" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(width, y=y_of(threshold))
    end = points[-1]
    dot = "" if end is None else Markup('<circle class="end" cx="{:.1f}" cy="{:.1f}" r="2.6"/>').format(*end)
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{said}">{line}{drawn}{dot}</svg>'
    ).format(w=width, h=height, said=said, line=line, drawn=_polylines(points), dot=dot)


def spark_words(values: Values, threshold: str) -> str:
    """What a sparkline shows, in words, with exact numbers."""
    known = [value for value in values if value is not None]
    if not known:
        return "no history"
    latest = values[-1]
    return (
        f"{len(values)} values: low {number(min(known))}, high {number(max(known))}, "
        f"latest {'none' if latest is None else number(latest)}, threshold {number(threshold)}"
    )


def tick_step(span: Decimal) -> Decimal:
    """The smallest of 1, 2, 2.5, 5 × 10^n that covers `span` in TICKS steps or fewer."""
    if span <= 0:
        return Decimal(1)
    power = (span / TICKS).adjusted()
    for factor in ("1", "2", "2.5", "5", "10"):
        step = shifted(Decimal(factor), power)
        if step * TICKS >= span:
            return step
    return shifted(Decimal(1), power + 1)


def axis(low: Decimal, high: Decimal) -> list[Decimal]:
    """Round tick values that enclose low and high and include zero."""
    low, high = min(low, Decimal(0)), max(high, Decimal(0))
    step = tick_step(high - low)
    with localcontext() as context:
        context.prec = 60
        below = (-low / step).to_integral_value(ROUND_CEILING)
        above = max((high / step).to_integral_value(ROUND_CEILING), Decimal(1) if not below else Decimal(0))
        return [step * index for index in range(-int(below), int(above) + 1)]


def daily(days: Sequence[str], values: Values, kind: str, said: str) -> Markup:
    """One chart over consecutive days. `days` are ISO dates, `values` line up with them, `kind` is 'bars' or 'line'."""
    plot = _Plot.over([value for value in values if value is not None], len(days))
    if kind == "line":
        places = [None if value is None else (plot.middle(at), plot.y_of(value)) for at, value in enumerate(values)]
        drawn = _polylines(places)
    else:
        drawn = Markup("").join(plot.bar(at, Decimal(0), value) for at, value in enumerate(values) if value is not None)
    return plot.svg(_dates(days, plot.slot), drawn, said)


def left_by_day(days: Sequence[str], values: Values, said: str) -> Markup:
    """What is left of something on consecutive days, as bars; below zero they hang in the colour of a breach."""
    known = [value for value in values if value is not None]
    plot = _Plot.over(known, len(days))
    bars = [plot.bar(at, Decimal(0), value, "bar bad" if value < 0 else "bar") for at, value in enumerate(values) if value is not None]
    return plot.svg(_dates(days, plot.slot), Markup("").join(bars), said)


def weekly(weeks: Sequence[str], whole: Sequence[Decimal], bad: Sequence[Decimal], said: str) -> Markup:
    """One chart over consecutive ISO weeks such as 2026-W14: a bar for each `whole`, its `bad` part at the foot."""
    plot = _Plot.over(whole, len(weeks))
    parts = []
    for at, (total, part) in enumerate(zip(whole, bad, strict=True)):
        parts += [plot.bar(at, part, total)] if total > part else []
        parts += [plot.bar(at, Decimal(0), part, "bar bad")] if part else []
    every = 1 + len(weeks) // 14
    names = Markup("").join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(plot.middle(at), CHART[1] - 7, weeks[at][5:])
        for at in range(0, len(weeks), every)
    )
    return plot.svg(names, Markup("").join(parts), said)


@dataclass(frozen=True)
class _Plot:
    """Where things lie in a chart of so many slots side by side."""

    ticks: Sequence[Decimal]
    slot: float

    @classmethod
    def over(cls, values: Sequence[Decimal], slots: int) -> "_Plot":
        return cls(axis(min(values, default=Decimal(0)), max(values, default=Decimal(0))), (CHART[0] - LEFT - RIGHT) / max(1, slots))

    def y_of(self, value: Decimal) -> float:
        return _place(value, self.ticks[0], self.ticks[-1], CHART[1] - BOTTOM, TOP)

    def middle(self, at: int) -> float:
        return LEFT + self.slot * (at + 0.5)

    def bar(self, at: int, start: Decimal, end: Decimal, kind: str = "bar") -> Markup:
        """From one value to another; `kind` is its CSS class."""
        top, foot = sorted((self.y_of(start), self.y_of(end)))
        place = (self.middle(at) - self.slot * 0.38, top, self.slot * 0.76, foot - top)
        return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(kind, *place)

    def svg(self, labels: Markup, drawn: Markup, said: str) -> Markup:
        """`said` is read out in its place."""
        grid = _grid(self.ticks, [self.y_of(tick) for tick in self.ticks])
        return Markup('<svg class="daily" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
            *CHART, said, grid, labels, drawn
        )


def _grid(ticks: Sequence[Decimal], heights: Sequence[float]) -> Markup:
    parts = []
    for tick, y in zip(ticks, heights, strict=True):
        line = Markup('<line class="{}" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(line.format("zero" if tick == 0 else "grid", LEFT, CHART[0] - RIGHT, y=y))
        parts.append(Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 6, y + 3.5, compact(tick)))
    return Markup("").join(parts)


def _dates(days: Sequence[str], slot: float) -> Markup:
    """The first day of each week of the period, so that labels never touch."""
    every = max(7, len(days) // 5)
    parts = []
    for index in range(0, len(days), every):
        if index and len(days) - index < 2:
            continue  # it would run over the right edge
        x = LEFT + slot * (index + 0.5)
        anchor = "start" if index == 0 else "middle"
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                x if index else LEFT, CHART[1] - 7, anchor, day_label(days[index])
            )
        )
    return Markup("").join(parts)


def unit_of(value: object, unit: str) -> str:
    """The unit as it is read behind a quantity: plural for a plain English noun, unchanged for symbols such as GB or ms."""
    return unit if exact(value) == 1 or not unit.isalpha() or not unit.islower() or len(unit) < 3 or unit.endswith("s") else f"{unit}s"


def finding(days: Sequence[str], values: Values, unit: str) -> str:
    """What the chart of a month shows, in a sentence: busiest and quietest day with their exact numbers, and days without usage."""
    present = [(day, value) for day, value in zip(days, values, strict=True) if value is not None]
    if not present:
        return "No usage in the period."
    busiest = max(present, key=lambda pair: pair[1])
    quietest = min(present, key=lambda pair: pair[1])
    gaps = len(days) - len(present)
    told = f"{len(present)} days have usage"
    missing = f"; {gaps} {'day has' if gaps == 1 else 'days have'} none" if gaps else ""
    most = f"{number(busiest[1])} {unit_of(busiest[1], unit)}"
    if len(present) == 1:
        return f"{day_label(busiest[0])} has {most}{missing}."
    if all(one[1] == two[1] for one, two in pairwise(present)):
        return f"{told}, each {most}{missing}."
    peak = f"Busiest on {day_label(busiest[0])} with {most}"
    return f"{peak}, quietest on {day_label(quietest[0])} with {number(quietest[1])}{missing}."


def decimals(texts: Sequence[str | int | None]) -> list[Decimal | None]:
    """Texts as exact decimals; what is null or no number is None."""
    return [exact(text) for text in texts]
