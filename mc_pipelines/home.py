"""Where things lie: one folder (MISSION_HOME) holds what lands, what is declared and what is made.

Only paths belong here. Nothing is read, created or checked.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mc_pipelines.disk import there

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The folders of one installation; every path hangs off `root`."""

    root: Path

    @classmethod
    def find(cls) -> "Home":
        """The home that MISSION_HOME names, else the checkout's own `data/`."""
        return cls(Path(os.environ.get("MISSION_HOME") or CHECKOUT / "data").expanduser().resolve())

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def reference(self) -> Path:
        return self.root / "reference"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def evidence(self) -> Path:
        return self.root / "evidence"

    @property
    def site(self) -> Path:
        return self.root / "site"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    def declared(self, relative: str) -> Path:
        """The home's own file of this path where it has one, be it one that nobody can read, else the checkout's."""
        own = self.root / relative
        return own if there(own) else CHECKOUT / relative

    def declarations(self, folder: str, pattern: str) -> dict[str, Path]:
        """Files under assets/ or checks/ by relative path; the home's replace the checkout's of the same path."""
        found: dict[str, Path] = {}
        for root in (CHECKOUT, self.root):
            found |= {path.relative_to(root).as_posix(): path for path in sorted((root / folder).glob(pattern)) if path.is_file()}
        return dict(sorted(found.items()))
