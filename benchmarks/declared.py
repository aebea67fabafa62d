"""What every script by hand is told of the tenants: their month and their local days. Nothing but the standard library is imported."""

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

PERIOD = date(2026, 4, 1)
Rows = list[tuple[Any, ...]]


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(tzinfo=None)


def declared(home: Path) -> tuple[Rows, Rows]:
    """The tenants of a generated home and the local days of their zones, instants as naive UTC.

    Tenants: id, zone, begin and end of the month, last landing day that counts. Days: zone, UTC day, local day, its begin and end, one row for
    each UTC day that a local day touches.
    """
    rows: list[dict[str, Any]] = json.loads((home / "reference" / "tenants.yaml").read_text(encoding="utf-8"))["tenants"]
    after = (PERIOD + timedelta(days=32)).replace(day=1)
    tenants: Rows = []
    for row in rows:
        start, end = (midnight(day, ZoneInfo(row["zone"])) for day in (PERIOD, after))
        tenants.append((row["tenant_id"], row["zone"], start, end, (end + timedelta(days=row["grace_days"])).date()))
    return tenants, [span for zone in sorted({row["zone"] for row in rows}) for span in local_days(zone)]


def local_days(name: str) -> Rows:
    days: Rows = []
    for step in range(-4, 40):
        day = PERIOD + timedelta(days=step)
        begins, ends = midnight(day, ZoneInfo(name)), midnight(day + timedelta(days=1), ZoneInfo(name))
        touched = [begins.date() + timedelta(days=each) for each in range(3)]
        days += [(name, utc, day, begins, ends) for utc in touched if datetime.combine(utc, time()) < ends and begins < ends]
    return days
