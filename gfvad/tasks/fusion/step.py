"""The pure per-device steps: what one device does with its part of a batch, over the named axis of
gfvad/train/parallel.py.

Models see one video; these functions vmap them over B. Random numbers of an example are folded from
its place in the global stream (`Batch.position`), and every sum runs over all devices, so results
do not depend on how many devices or processes there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import Batch, DataError, Output
from gfvad.data.glances import GLANCE
from gfvad.tasks.fusion import losses
from gfvad.train.loss_terms import SumCount, sum_over
from gfvad.train.optim import Optimiser
from gfvad.train.state import TrainState, mean_of_members
from gfvad.train.update import Learnt, update

# of Output.aux: what is logged as a mean over the videos of the batch
AVERAGED_AUX = ("usage/", "router_entropy/")


class Objective(NamedTuple):
    """What a detector learns by (gfvad/train/update.py)."""

    model: Any
    cfg: Any  # config.loss
    steps: int  # of the whole training

    def loss(
        self, state: TrainState, batch: Batch, axis_name: str | None
    ) -> tuple[jax.Array, Learnt]:
        """The loss of the global batch."""
        output = forward(self.model, state, batch)
        moment = state.step, self.steps
        total, terms = losses.total_loss(output, batch, self.cfg, axis_name, *moment)
        return total, Learnt(terms, output)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, SumCount]:
        """`batch_statistics`."""
        return batch_statistics(output, batch, self.cfg.topk_divisor)

    def written(
        self, state: TrainState, means: dict[str, Any], learnt: tuple[Any, Any], axis_name: Any
    ) -> TrainState:
        """What a model changes by itself (`after_step`)."""
        if (after_step := getattr(self.model, "after_step", None)) is None:
            return state
        given = losses.inputs_of(*learnt, self.cfg, axis_name, state.step, self.steps)
        variables = {"params": state.params, **state.constants}
        variables |= after_step(variables, given)
        return state._replace(params=variables.pop("params"), constants=variables)


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Any,
    optimiser: Optimiser,
    loss_cfg: Any,
    axis_name: str | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update by features {m: [B, N, D_m]}, see gfvad/train/update.py. Metrics besides:
    score/abnormal and score/normal (mean video scores), usage/*, router_entropy/*."""
    objective = Objective(model, loss_cfg, optimiser.steps)
    return update(state, batch, objective=objective, optimiser=optimiser, axis_name=axis_name)


def forward(model: Any, state: TrainState, batch: Batch) -> Output:
    """The detector on a training batch: Output with leading B. Dropout is drawn per example, the
    pair of graphs once a step."""
    dropout_key, pair_key = jax.random.split(jax.random.wrap_key_data(state.key))
    pair_key = jax.random.fold_in(pair_key, state.step)
    variables = {"params": state.params, **state.constants}

    def one(features: Mapping[str, jax.Array], mask: jax.Array, position: jax.Array) -> Output:
        rngs = {"dropout": jax.random.fold_in(dropout_key, position), "pair": pair_key}
        return model.apply(variables, features, mask, train=True, rngs=rngs)

    # a model never sees what only its losses may know
    features = {m: x for m, x in batch.features.items() if m != GLANCE}
    return jax.vmap(one)(features, batch.mask, batch.position)


def batch_statistics(output: Output, batch: Batch, topk_divisor: int) -> dict[str, SumCount]:
    """(sum, number) over valid videos of what says how training goes, of this device's part of a
    batch; no gradient flows through them."""
    scores = video_scores(unit_scores(output.logits, batch.mask), batch.mask, topk_divisor)
    known = {
        "normal": batch.valid & (batch.label == 0),
        "abnormal": batch.valid & (batch.label == 1),
    }
    pairs = {
        f"score/{name}": (jnp.where(which, scores, 0.0).sum(), which.sum())
        for name, which in known.items()
    }
    for name, value in output.aux.items():
        if name.startswith(AVERAGED_AUX):
            pairs[name] = sum_over(value, batch.valid)  # of [B] or [B, E]
    return pairs


def unit_scores(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """sigmoid of logits [..., N], 0 at padded units."""
    return jnp.where(mask, jax.nn.sigmoid(logits), 0.0)


def video_scores(scores: jax.Array, mask: jax.Array, topk_divisor: int) -> jax.Array:
    """Mean of the top max(1, n // divisor) of a video's n unit scores: [B, N] -> [B]; 0 without
    a unit."""
    largest = max(1, scores.shape[1] // topk_divisor)
    # [B, K]
    top, _ = jax.lax.top_k(jnp.where(mask, scores, 0.0), largest)
    number = jnp.maximum(mask.sum(1) // topk_divisor, 1)
    return jnp.where(jnp.arange(largest) < number[:, None], top, 0.0).sum(1) / number


def eval_step(state: TrainState, batch: Batch, *, model: Any) -> jax.Array:
    """Unit scores [B, N] of a device's part of an evaluation batch, averaged over crops (and
    members of an ensemble); 0 at padded units.

    Batch: features {m: [B, C_m, N, D_m]}; a modality without crops (C_m = 1) goes with every crop
    of the others.
    Raises DataError where modalities have different numbers of crops.
    """
    crops = max(x.shape[1] for x in batch.features.values())
    if any(x.shape[1] not in (1, crops) for x in batch.features.values()):
        found = ", ".join(f"{name} {x.shape[1]}" for name, x in batch.features.items())
        raise DataError(
            f"crops of one video: {found}; expected the same number in every modality, or 1"
        )

    def one_crop(crop: jax.Array) -> jax.Array:
        return crop_scores(model, state, batch, crop)[1]

    # [C, B, N] -> [B, N]; one crop after another, for N x N graphs of all crops at once would not
    # fit
    return jax.lax.map(one_crop, jnp.arange(crops)).mean(0)


def graph_step(state: TrainState, batch: Batch, *, model: Any) -> tuple[jax.Array, jax.Array]:
    """(fused graphs [B, G, N, N], unit scores [B, N]) of the first crop (the centre), for
    figures; means over the members of an ensemble."""
    return crop_scores(model, state, batch, 0)


def crop_scores(
    model: Any, state: TrainState, batch: Batch, crop: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """(fused graphs [B, G, N, N], unit scores [B, N]) of one crop of an evaluation batch.

    An ensemble's score is the mean of its members' scores, and so is its graph.
    """

    def of_member(member: TrainState) -> tuple[jax.Array, jax.Array]:
        output = apply_crop(model, member, batch, crop)
        return output.graph, unit_scores(output.logits, batch.mask)

    return mean_of_members(of_member, state)


def apply_crop(model: Any, state: TrainState, batch: Batch, crop: jax.Array | int) -> Output:
    """The detector, without randomness, on one crop of an evaluation batch: Output with leading
    B."""
    variables = {"params": state.params, **state.constants}
    # {m: [B, N, D_m]}
    features = {
        name: jnp.take(x, jnp.minimum(crop, x.shape[1] - 1), axis=1)
        for name, x in batch.features.items()
    }
    return jax.vmap(lambda f, mask: model.apply(variables, f, mask, train=False))(
        features, batch.mask
    )
