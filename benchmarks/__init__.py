"""Measurements beside the peers, in one run: `python -m benchmarks.writer`, `python -m benchmarks.reader`."""
