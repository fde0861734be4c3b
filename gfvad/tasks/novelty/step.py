"""The pure per-device steps of graph novelty, over the named axis of gfvad/train/parallel.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gfvad.tasks.novelty.model import GraphNovelty
from gfvad.train.loss_terms import SumCount, mean_over, sum_over
from gfvad.train.optim import Optimiser
from gfvad.train.state import TrainState
from gfvad.train.update import Learnt, update


class UnitBatch(NamedTuple):
    """Units of training videos, half of them changed."""

    features: Mapping[str, Any]  # set -> float32 [B, D]
    camera: Any  # int32 [B]
    part: Any  # int32 [B]
    changed: Any  # float32 [B], 1 where a feature set is another one
    valid: Any  # bool [B]
    video: Any  # int32 [B]


class Objective(NamedTuple):
    """Normal units that the bank does not hold are to be told from changed ones."""

    model: GraphNovelty
    cfg: Any  # config.loss

    def loss(
        self, state: TrainState, batch: UnitBatch, axis_name: str | None
    ) -> tuple[jax.Array, Learnt]:
        """Logistic loss of the weighted sum of the terms, and what keeps the numbers near where
        they start."""
        variables = {"params": state.params, **state.constants}
        output: Any = self.model.apply(variables, batch.features, batch.camera, batch.part)
        found, weights, offset = output
        logits = (found * weights).mean(-1) - offset
        error = optax.sigmoid_binary_cross_entropy(logits, batch.changed)
        told = mean_over(error, batch.valid, axis_name)
        stay = jnp.sum(state.params["scale"] ** 2) + jnp.sum(state.params["weight"] ** 2)
        return told + self.cfg.stay * stay, Learnt({"told": told, "stay": stay}, logits)

    def measure(self, output: Any, batch: UnitBatch) -> Mapping[str, SumCount]:
        """The share of units that are told right."""
        right = ((output > 0) == (batch.changed > 0)).astype(jnp.float32)
        return {"told_right": sum_over(right, batch.valid)}

    def written(
        self, state: TrainState, means: dict[str, Any], learnt: tuple[Any, Any], axis_name: Any
    ) -> TrainState:
        """The bank stays."""
        return state


def train_step(
    state: TrainState,
    batch: UnitBatch,
    *,
    model: GraphNovelty,
    optimiser: Optimiser,
    loss_cfg: Any,
    axis_name: str | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, see gfvad/train/update.py."""
    objective = Objective(model, loss_cfg)
    return update(state, batch, objective=objective, optimiser=optimiser, axis_name=axis_name)


def term_novelty(
    state: TrainState, batch: UnitBatch, *, model: GraphNovelty, alike: bool = False
) -> jax.Array:
    """[B, T] the novelty of each term, for evaluation; alike: see the model."""
    variables = {"params": state.params, **state.constants}
    output: Any = model.apply(
        variables, batch.features, batch.camera, batch.part, False, alike=alike
    )
    return output[0]
