"""The pure per-device steps of comparators, over the named axis of gfvad/train/parallel.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.tasks.novelty.comparing import Compared, Judged
from gfvad.train.loss_terms import SumCount, joined_means, sum_over
from gfvad.train.optim import Optimiser, switched_on
from gfvad.train.state import TrainState
from gfvad.train.update import Learnt, update


class WindowBatch(NamedTuple):
    """Units of training videos, each with its window."""

    features: Mapping[str, Any]  # set -> float32 [B, W, D]
    mask: Any  # bool [B, W]
    camera: Any  # int32 [B]
    position: Any  # int32 [B] of each in the stream of batches, which its random numbers are by
    valid: Any  # bool [B]
    video: Any  # int32 [B]


class ComparedObjective(NamedTuple):
    """What a comparator learns by: the weighted sum of the losses that it gives."""

    model: Compared
    cfg: Any  # config.loss

    def loss(
        self, state: TrainState, batch: WindowBatch, axis_name: str | None
    ) -> tuple[jax.Array, Learnt]:
        """The loss of the global batch. A loss of weight 0 is left out."""
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        keys = jax.vmap(lambda place: jax.random.fold_in(key, place))(batch.position)
        judged = judged_by(state, batch, model=self.model, keys=keys)
        own = dict(self.model.losses)
        weights = {n: self.cfg.get(n, own.get(n, 1.0)) for n in judged.losses}
        sums = {
            name: sum_over(judged.losses[name], batch.valid)
            for name, weight in weights.items()
            if switched_on(weight)
        }
        terms = joined_means(sums, axis_name)
        total = sum(weights[name] * x for name, x in terms.items())
        return jnp.asarray(total, jnp.float32), Learnt(terms, judged)

    def measure(self, output: Judged, batch: WindowBatch) -> Mapping[str, SumCount]:
        """Mean scores."""
        return {f"score/{n}": sum_over(x, batch.valid) for n, x in output.scores.items()}

    def written(
        self, state: TrainState, means: dict[str, Any], learnt: tuple[Any, Any], axis_name: Any
    ) -> TrainState:
        """Constants as the comparator's `updated`, where it has one, leaves them."""
        output, batch = learnt
        written = getattr(self.model.inner, "updated", None)
        if written is None or not output.kept:
            return state
        whole = dict(output.kept), batch.valid
        if axis_name is not None:
            whole = jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), whole)
        new = written({n: c["inner"] for n, c in state.constants.items() if "inner" in c}, *whole)
        constants = {
            n: {**c, "inner": jax.lax.stop_gradient(new[n])} if n in new else c
            for n, c in state.constants.items()
        }
        return state._replace(constants=constants)


def judged_by(
    state: TrainState, batch: WindowBatch, *, model: Compared, keys: jax.Array | None = None
) -> Judged:
    """What a comparator says of a batch; keys: in training, random keys [B]."""
    variables = {"params": state.params, **state.constants}
    given = batch.features, batch.mask, batch.camera, keys
    judged: Any = model.apply(variables, *given, train=keys is not None)
    return judged


def comparator_step(
    state: TrainState,
    batch: WindowBatch,
    *,
    model: Compared,
    optimiser: Optimiser,
    loss_cfg: Any,
    axis_name: str | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, see gfvad/train/update.py. loss_cfg: weights of losses by name."""
    objective = ComparedObjective(model, loss_cfg)
    return update(state, batch, objective=objective, optimiser=optimiser, axis_name=axis_name)


def mean_losses(state: TrainState, batch: WindowBatch, *, model: Compared) -> dict[str, jax.Array]:
    """The mean of each loss over units, without anything random."""
    return {n: x.mean() for n, x in judged_by(state, batch, model=model).losses.items()}


def term_scores(state: TrainState, batch: WindowBatch, *, model: Compared) -> jax.Array:
    """[B, T] the scores of each term, in the order of `model.terms`."""
    scores = judged_by(state, batch, model=model).scores
    return jnp.stack([scores[name] for (name,) in model.terms], -1)
