"""The embedded default: a simulated set in the layout of XD-Violence, and the best any detector
can do on it (docs/simulated.md)."""

from gfvad.data.simulate.bayes import bayes_scores, report
from gfvad.data.simulate.writer import simulated_folder

__all__ = ["bayes_scores", "report", "simulated_folder"]
