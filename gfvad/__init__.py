"""gfvad: graph-fusion video anomaly detection in JAX."""

__version__ = "0.1.0"
