"""Figures and videos of results."""
