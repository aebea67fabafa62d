"""The one error that a person is meant to read. Not for bugs: those keep their own types and tracebacks."""


class MissionError(Exception):
    """Something the user can mend. The message names the file, the line, the value and the remedy."""


class SupersededError(MissionError):
    """A window was written meanwhile from newer inputs; the older run gives way."""
