"""Run configurations: one file a dataset, all of them on top of common.py."""
