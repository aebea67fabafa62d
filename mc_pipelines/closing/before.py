"""Where a month stands before its first edition: open while it runs, collecting once it is over. The newest landing day tells, no clock does."""

from datetime import date, datetime, time, timedelta
from typing import Any

from mc_pipelines.calendars import period_rows
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake
from mc_pipelines.windows import month_key

STATES = ("open", "collecting")


def standing_before(home: Home, month: str) -> dict[str, Any]:
    """Each tenant's state as plain JSON: `collecting` when its month is over by the end of the newest landing day, else `open`.

    MissionError for a month outside of the calendar.
    """
    period = month_key(month)
    landed = max(Lake(str(home.lake)).windows("landing.usage_events"), default="")
    until = datetime.combine(date.fromisoformat(landed) + timedelta(days=1), time()) if landed else None
    rows = [
        {"tenant": tenant, "state": STATES[until is not None and ends <= until], "cutoff_day": cutoff.isoformat()}
        for tenant, own, _, ends, cutoff in period_rows(home)
        if own.isoformat() == period
    ]
    if not rows:
        raise MissionError(f"{period[:7]} lies outside the calendar. Extend start or end in reference/calendar.yaml.")
    counts = {name: sum(row["state"] == name for row in rows) for name in STATES}
    return {"period": period[:7], "edition": None, "landed_until": landed or None, "counts": counts, "tenants": rows}
