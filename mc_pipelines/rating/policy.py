"""In which order an invoice is calculated: named, versioned lists of steps. A released list never changes; another order is another name.

What a step does stands in `steps.py`. Dedupe, amendments and aggregation happened before; unit conversion, allowance, tiers and the rounding
of a line are one step here (`lines`), because a line is rounded once.
"""

from types import MappingProxyType
from typing import Literal

Step = Literal[
    "lines",
    "line_discount",
    "charge_maximum",
    "charge_minimum",
    "commitment",
    "plan_maximum",
    "plan_minimum",
    "invoice_discount",
    "tax",
    "credits",
]

DEFAULT = "2026-1"

POLICIES: MappingProxyType[str, tuple[Step, ...]] = MappingProxyType(
    {
        "2026-1": (
            "lines",
            "line_discount",
            "charge_maximum",
            "charge_minimum",
            "commitment",
            "plan_maximum",
            "plan_minimum",
            "invoice_discount",
            "tax",
            "credits",
        ),
    }
)
