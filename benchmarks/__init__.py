"""Measurements, run by hand with ``python -m benchmarks.NAME``. They print figures and make no assertions."""
