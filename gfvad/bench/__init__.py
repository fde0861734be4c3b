"""Benchmarks: python -m gfvad.bench NAME."""
