"""Named points at which a drill may end the process, to prove that a run survives it.

A point is passed with `reach("name")`; MISSION_CRASH_AT=name ends the process there as kill -9 would. Nothing else belongs here.
"""

import os
import signal

POINTS = (
    "lake.rows_handed_over",
    "lake.committed",
    "staging.quarantine_committed",
    "staging.rows_committed",
    "close.bundle_built",
    "close.journal_written",
    "journal.entry_written",
    "publish.bundle_built",
)


def reach(point: str) -> None:
    """End the process here when a drill asks for it; otherwise nothing."""
    if os.environ.get("MISSION_CRASH_AT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
