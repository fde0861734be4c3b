"""Frozen networks and hand-made features, by name."""
