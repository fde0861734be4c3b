"""Feature sets on disk."""
