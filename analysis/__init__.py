"""Analyses of runs: tables, comparisons, reports, label curves, task affinity, the paper's toy example.

They read finished runs and may start new ones; nothing in ``trainer`` or ``shards`` imports this package.
"""
