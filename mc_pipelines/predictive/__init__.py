"""Predictive operations: decisions, their audits, quotas, drills, rehearsals and the model card."""
