"""The one error that a person is meant to read, and how `mission` ends. Not for bugs: those keep their own types and tracebacks."""

FAILED, UNUSABLE = 1, 2
"""Exit codes: done, but a gate failed or evidence was refused; the command could not be carried out."""


class MissionError(Exception):
    """Something the user can mend. The message names the file, the line, the value and the remedy."""


class SupersededError(MissionError):
    """A window was written meanwhile from newer inputs; the older run gives way."""


class RetypedError(MissionError):
    """Columns changed in a way that only all windows of a table can follow, in one commit."""
