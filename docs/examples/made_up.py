"""Made-up videos for the examples, and a few training steps on them with the project's own step.

16 videos of 12 units. In half of them one event: for three units, what is seen and what is heard
point the same way; elsewhere they have nothing to do with each other. Only the video's label is
given, so that a model has to find the event by itself (multiple-instance learning).
"""

from functools import partial

import jax
import numpy as np

from gfvad.base.types import Batch
from gfvad.tasks.fusion.registry import build_model
from gfvad.tasks.fusion.step import eval_step, train_step
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_state

VIDEOS, UNITS, WIDTHS = 16, 12, {"video": 8, "sound": 6}
EVENT = slice(4, 7)  # units of the event in the second half of the videos


def batch(seed: int = 0) -> Batch:
    """Features {m: [16, 12, D_m]} and labels [16] of all videos."""
    rng = np.random.default_rng(seed)
    x = {m: rng.normal(size=(VIDEOS, UNITS, d)).astype(np.float32) for m, d in WIDTHS.items()}
    abnormal = np.arange(VIDEOS) >= VIDEOS // 2
    for features in x.values():  # the same pattern, for all three units
        features[abnormal, EVENT] = 0.3 * features[abnormal, EVENT] + 1.0
    mask, valid = np.ones((VIDEOS, UNITS), bool), np.ones(VIDEOS, bool)
    order = np.arange(VIDEOS, dtype=np.int32)
    return Batch(x, mask, abnormal.astype(np.float32), valid, order, 0 * order, order)


def train(config, steps: int = 30) -> tuple[dict[str, float], np.ndarray]:
    """Trains the model that a config names on `batch`; returns (metrics of the last step, scores
    [16, 12] of all units)."""
    given = batch()
    first = {m: x[0] for m, x in given.features.items()}
    statistics = {m: {"mean": np.zeros(d), "std": np.ones(d)} for m, d in WIDTHS.items()}
    model = build_model(config, WIDTHS, statistics)
    optimiser = make_optimiser(config.optim, steps)
    state = init_state(model, optimiser.transform, first, config.seed)
    options = {"model": model, "optimiser": optimiser, "loss_cfg": config.loss}
    step = jax.jit(partial(train_step, axis_name=None, **options))
    for _ in range(steps):
        state, metrics = step(state, given)
    crops = given._replace(features={m: x[:, None] for m, x in given.features.items()})
    scores = jax.jit(partial(eval_step, model=model))(state, crops)
    return {name: float(value) for name, value in metrics.items() if not value.ndim}, scores
