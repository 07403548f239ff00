"""The promises of docs/reliability.md, measured by breaking things: `python -m benchmarks.faults [--short] [P1 …]`."""
