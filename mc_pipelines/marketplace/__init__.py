"""Marketplace pilot: how long connecting takes, whose clocks run over, which packets verify, what partners say and what came of it.

Everything here takes plain values and gives plain values, or reads declarations. No lake, no Dagster, no SQL, no wall clock.
"""
