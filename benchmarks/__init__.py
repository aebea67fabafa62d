"""Benchmarks: the project beside what a user would pick instead, on the same files, in the same run. Not part of the package."""
