"""Detectors: features and mask of one video in, unit scores out."""
