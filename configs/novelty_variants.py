"""Variants of configs of normal video: comparators in the place of graph novelty, by name."""

from collections.abc import Callable

from ml_collections import ConfigDict


def comparator(name: str) -> Callable[[ConfigDict], None]:
    """Variant: another model of the same units. Units, the score rule and calibration stay; the
    schedule is one for all comparators and all sets."""

    def apply(c: ConfigDict) -> None:
        c.model.name = name
        c.train.steps, c.train.batch_size = 6000, 256
        c.train.eval_every = c.train.checkpoint_every = 1500
        c.optim.learning_rate = 1e-3
        c.optim.schedule = "cosine"

    return apply


def ai_vad(c: ConfigDict) -> None:
    """Attribute distances: nothing is trained."""
    c.model.name = "ai_vad"
    c.train.steps = 1


NAMES = ("memae", "mnad", "itae_nf", "amsl")
COMPARATORS = {**{name: comparator(name) for name in NAMES}, "ai_vad": ai_vad}
