"""Evaluation: frame scores, every protocol, results and figures."""
