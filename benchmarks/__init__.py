"""Benchmarks: how fast attnscape is on this machine, beside eager PyTorch and the processor's peak.

`python -m benchmarks --out results` measures and writes `benchmark.json`. Nothing here asserts.
"""
