"""Acting in a home: its journal opened with this machine's key, who asks, and under which name an attempt stands there.

What an entry says belongs to whoever writes it; how the journal keeps it is `evidence/journal.py`'s.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.home import Home

Progress = Callable[[str], None]


def kind_of(deliverable: str) -> str:
    """The journal's name for an attempt at a window of the deliverable."""
    return "metering.close.attempt" if deliverable == "metering" else f"{deliverable}.attempt"


def journal_of(home: "Home") -> "Journal":
    """The home's journal, to be added to with this machine's key."""
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.signing import signer

    return Journal(home.journal, signer(home.keys))


def requester() -> str:
    """Who runs this process, as it calls them: MISSION_PERSON, else the user of the machine."""
    from getpass import getuser

    try:
        return os.environ.get("MISSION_PERSON") or getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"
