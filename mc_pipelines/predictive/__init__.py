"""Predictive operations: audit samples, quotas and abuse rules, computed from plain values and DuckDB tables. No lake, no Dagster."""
