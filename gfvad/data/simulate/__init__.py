"""The embedded default: a simulated set in the layout of XD-Violence."""
