"""What is made of runs: tables, comparisons, reports, label curves, task affinity, the paper's toy example.

Reads finished runs, and may start them; nothing in ``trainer`` or ``shards`` imports it.
"""
