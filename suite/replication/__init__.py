"""Replication: the step that a paper's code takes, run and held against its card."""
