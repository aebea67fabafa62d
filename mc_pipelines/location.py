"""The code location that Dagster's own processes load: the definitions of the home that MISSION_HOME names. Nothing else belongs here."""

from mc_pipelines.definitions import build_defs

defs = build_defs()
