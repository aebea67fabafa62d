"""Predictive operations: audit sampling, quotas, misuse sandbox, drills and the model card."""
