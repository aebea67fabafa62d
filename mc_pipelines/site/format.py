"""Exact decimals in, text for reading out, and the marked-up figure that says where in the JSON it stands.

No float is made here and no digit is lost unseen: what is shortened carries an approximation sign. Layout and charts do not belong here.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from markupsafe import Markup, escape

MINUS = "\u2212"
NARROW = "\u202f"  # a narrow no-break space, so that a unit never leaves its number
SHARES = frozenset({"ratio", "share", "fraction"})  # units that are read as percent
_PREFIXES = ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"))
_BREAKS = re.compile(r"[_/.:,-]+(?=.)|[0-9a-f]{8}(?=[0-9a-f]{8})")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NONE = Markup('<span aria-hidden="true">–</span><span class="vh">no value</span>')


def exact(value: Any) -> Decimal | None:
    """The finite decimal that an int or a text stands for, else None. Booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def shifted(value: Decimal, places: int) -> Decimal:
    """value × 10^places without rounding, whatever the context's precision."""
    sign, digits, exponent = value.as_tuple()
    return Decimal((sign, digits, int(exponent) + places))


def plain(value: Decimal, *, sign: bool = False) -> str:
    """All digits, thousands separated, a true minus; `sign` puts a plus before what is above zero."""
    if value.is_zero():
        value = value.copy_abs()
    text = format(value, ",f")
    if text.startswith("-"):
        return MINUS + text[1:]
    return f"+{text}" if sign and not value.is_zero() else text


def number(value: Any, *, sign: bool = False, places: int | None = None) -> str:
    """An exact number for reading; a text that is no number stays as it is. With `places`, longer ones are cut to nearest and marked with ≈."""
    found = exact(value)
    if found is None:
        return str(value)
    cut, mark = _nearest(found, places)
    return f"{mark}{plain(cut, sign=sign)}"


def percent(value: Any, *, sign: bool = False, places: int | None = None) -> str:
    """A ratio as percent without trailing zeros. With `places`, longer ones are cut to nearest and marked with ≈."""
    found = exact(value)
    if found is None:
        return str(value)
    cut, mark = _nearest(trimmed(shifted(found, 2)), places)
    return f"{mark}{plain(cut, sign=sign)}{NARROW}%"


def _nearest(value: Decimal, places: int | None) -> tuple[Decimal, str]:
    """The value to so many places and ≈, or as it is and nothing where it has no more than those."""
    if places is None or -int(value.as_tuple().exponent) <= places or value.adjusted() >= 20:
        return value, ""
    rounded = round(value, places)
    if rounded == value:
        return trimmed(value), ""
    return (trimmed(rounded) if not rounded.is_zero() else rounded.copy_sign(value)), "≈"


def trimmed(value: Decimal) -> Decimal:
    """The same number without trailing zeros behind the point, at any precision."""
    sign, digits, exponent = value.as_tuple()
    exponent = int(exponent)
    while exponent < 0 and len(digits) > 1 and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    return Decimal((sign, digits, 0 if value.is_zero() else exponent))


def compact(value: Decimal) -> str:
    """A round axis number with an SI prefix: 2500000 is 2.5M. Only for numbers of few digits, which keep all of them."""
    if value.is_zero():
        return "0"
    size = value.copy_abs()
    if size.adjusted() >= 21 or size.adjusted() < -6:
        return format(value.normalize(), "E").replace("-", MINUS)
    for power, prefix in _PREFIXES:
        if size.adjusted() >= power:
            return plain(trimmed(shifted(value, -power))) + prefix
    return plain(trimmed(value))


def measure(value: Any, unit: str, *, sign: bool = False) -> tuple[str, str]:
    """(number, unit) as they are read: shares become percent, other units stay. The unit is empty where there is none."""
    if unit in SHARES and exact(value) is not None:
        return percent(value, sign=sign).removesuffix(f"{NARROW}%"), "%"
    return number(value, sign=sign), {"percent": "%"}.get(unit, unit)


def moment(text: str) -> str:
    """An ISO instant as `2026-05-03 06:00 UTC`, whole seconds only where there are any; other text stays."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    if found.tzinfo is None:
        return text
    found = found.astimezone(UTC).replace(tzinfo=None)
    return found.isoformat(sep=" ", timespec="seconds" if found.second else "minutes") + " UTC"


def day_label(text: str) -> str:
    """`14 Apr` for an ISO date; other text stays. English month names, whatever the machine's locale."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{found.day}{NARROW}{MONTHS[found.month - 1]}"


def breaks(text: str) -> Markup:
    """A name, a path or a digest that a line may end in after `_ / . : , -`, and after every eighth digit of a digest."""
    parts = _BREAKS.sub(lambda found: f"{found[0]}\0", text.replace("\0", "")).split("\0")
    return Markup("<wbr>").join(map(escape, parts))


def step(key: object) -> str:
    """One step of a data-path; a dot inside a key is written ~1 and a tilde ~0, as in a JSON pointer."""
    return str(key).replace("~", "~0").replace(".", "~1")


class Figures:
    """Draws values of one JSON document, each from its path, so that what is shown and where it is said to come from cannot part."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def at(self, path: str) -> Any:
        """The value at a data-path such as `variance.meters.0.ratio`. KeyError or IndexError where there is none."""
        found: Any = self.document
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, Sequence) else found[part.replace("~1", ".").replace("~0", "~")]
        return found

    def mark(self, path: str, shown: str) -> Markup:
        """The shown text with its path and exact value; null is a dash that is read out as `no value`."""
        value = self.at(path)
        inner = NONE if value is None else escape(shown)
        return Markup('<span class="n" data-path="{}" data-value="{}">{}</span>').format(path, "" if value is None else str(value), inner)

    def number(self, path: str, *, places: int | None = None, sign: bool = False) -> Markup:
        return self.mark(path, number(self.at(path), places=places, sign=sign))

    def percent(self, path: str, *, places: int | None = None, sign: bool = False) -> Markup:
        return self.mark(path, percent(self.at(path), places=places, sign=sign))

    def measure(self, path: str, unit: str, *, sign: bool = False, before: str = "") -> Markup:
        """Number and unit; the unit stands outside the figure, in a weaker tone."""
        value = self.at(path)
        if value is None:
            return self.mark(path, "")
        shown, behind = measure(value, unit, sign=sign)
        tail = Markup('{}<span class="unit">{}</span>').format(NARROW if behind == "%" else " ", behind) if behind else Markup("")
        return Markup("{}{}{}").format(f"{before}{NARROW}" if before else "", self.mark(path, shown), tail)
