"""Signed evidence: bundles, the journal that names them, keys, proofs, and the ways to check all of it without the lake."""
