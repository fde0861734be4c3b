"""The pure per-device steps of the predictive model, over the named axis of
gfvad/train/parallel.py. As gfvad/tasks/fusion/step.py does for features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import ClipBatch
from gfvad.nn.blocks import pool_cells
from gfvad.nn.memory import unit_length
from gfvad.tasks.prediction import losses
from gfvad.tasks.prediction.model import Prediction, PredictiveModel, normalise_frames
from gfvad.train.loss_terms import sum_over
from gfvad.train.optim import Optimiser
from gfvad.train.state import TrainState, mean_of_members, member
from gfvad.train.update import Learnt, update

GAINS = (0.8, 1.2)  # contrast of the clips that the pace network learns from
MEMORY = "memory"  # collection of filters that are written to while training (MNAD)


class Objective(NamedTuple):
    """What the model learns by (gfvad/train/update.py)."""

    model: PredictiveModel
    cfg: Any  # config.loss

    def loss(
        self, state: TrainState, batch: ClipBatch, axis_name: str | None
    ) -> tuple[jax.Array, Learnt]:
        """The loss of the global batch."""
        prediction, paces, memory = forward(self.model, state, batch, self.cfg)
        unit = unit_of(self.model)
        total, terms = losses.total_loss(prediction, paces, batch, self.cfg, axis_name, unit)
        return total, Learnt(terms, (prediction.aux, memory))

    def measure(self, output: Any, batch: ClipBatch) -> Mapping[str, Any]:
        """Per layer usage/*, router_entropy/*, dead/*; the sum of the memories that clips wrote."""
        aux, memory = output
        found = {n: sum_over(value, batch.valid) for n, value in aux.items() if n != "balance"}
        leaves, _ = jax.tree.flatten(memory)
        return found | {f"{MEMORY} {i}": sum_over(x, batch.valid) for i, x in enumerate(leaves)}

    def written(
        self, state: TrainState, means: dict[str, Any], learnt: tuple[Any, Any], axis_name: Any
    ) -> TrainState:
        """Each clip wrote a memory of its own: the new one is their mean, with items of length 1
        again."""
        (_, memory), _ = learnt
        if not memory:
            return state
        leaves, tree = jax.tree.flatten(memory)
        new = [unit_length(means.pop(f"{MEMORY} {i}")) for i in range(len(leaves))]
        constants = {**state.constants, MEMORY: jax.tree.unflatten(tree, new)}
        return state._replace(constants=constants)


def unit_of(model: Any) -> Callable[[jax.Array], jax.Array]:
    """uint8 frames -> the unit that a model predicts frames in: its own `normalise`, or [-1, 1]."""
    return getattr(model, "normalise", normalise_frames)


def train_step(
    state: TrainState,
    batch: ClipBatch,
    *,
    model: PredictiveModel,
    optimiser: Optimiser,
    loss_cfg: Any,
    axis_name: str | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update by clips, see gfvad/train/update.py. Metrics besides: those of `Objective`."""
    objective = Objective(model, loss_cfg)
    return update(state, batch, objective=objective, optimiser=optimiser, axis_name=axis_name)


def forward(
    model: PredictiveModel, state: TrainState, batch: ClipBatch, loss_cfg: Any
) -> tuple[Prediction, Any, Any]:
    """The model on a training batch: (Prediction with leading B, pair of `Pace` or None, written
    memories [B, ...])."""
    key = jax.random.wrap_key_data(state.key)
    variables = {"params": state.params, **state.constants}
    features = dict(batch.features)
    fast, fast_flow = features.pop("fast", None), features.pop("fast_flow", None)

    def one(features: dict, position: jax.Array) -> Any:
        rngs = {
            "pair": jax.random.fold_in(key, state.step),
            "dropout": jax.random.fold_in(key, position),
        }
        return model.apply(variables, features, train=True, rngs=rngs, mutable=[MEMORY])

    prediction, written = jax.vmap(one)(features, batch.position)
    if fast is None:
        return prediction, None, written.get(MEMORY)
    # both kinds with the same changes of contrast and the same mirroring, so that neither tells
    # them apart
    keys = jax.vmap(lambda position: jax.random.fold_in(key, position))(batch.position)

    def pace_of(clip: jax.Array, flow: jax.Array | None) -> Any:
        return model.apply({"params": state.params}, clip, flow, method="pace")

    def pace(clips: jax.Array, flow: jax.Array | None) -> losses.Pace:
        change = lambda k, clip, f: augment(k, normalise_frames(clip), f)
        changed, flow = jax.vmap(change)(keys, clips, flow)
        moving = lambda clip: losses.moving_cells(clip, loss_cfg.pace_motion)
        return losses.Pace(jax.vmap(pace_of)(changed, flow), jax.vmap(moving)(changed))

    last = None if fast_flow is None else features["flow"][:, -1]
    paces = pace(features["frames"], last), pace(fast, fast_flow)
    return prediction, paces, written.get(MEMORY)


def augment(
    key: jax.Array, clip: jax.Array, flow: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """A clip [F + 1, h, w, C] mirrored or not, with another contrast; its flow [g, g', 3] or
    None is mirrored with it."""
    mirror, gain = jax.random.split(key)
    mirrored = jax.random.bernoulli(mirror)
    clip = jnp.where(mirrored, clip[:, :, ::-1], clip)
    if flow is not None:
        flow = jnp.where(mirrored, flow[:, ::-1] * jnp.array([-1.0, 1.0, 1.0]), flow)
    return (clip + 1.0) * jax.random.uniform(gain, (), minval=GAINS[0], maxval=GAINS[1]) - 1.0, flow


def eval_step(
    state: TrainState, batch: ClipBatch, *, model: PredictiveModel, cell: int
) -> dict[str, jax.Array]:
    """What cannot be predicted, of a device's clips: maps [B, g, g'] and vectors, by name; those of
    absent parts are left out.

    appearance: squared error of pixels; flow: squared excess of the flow's magnitude over the
    predicted one; pace: logits [B, h / 4, w / 4]; relation: row statistics [B, L, 4]; semantic:
    next description minus the predicted one (both of length 1) [B, V]; text: 1 - cosine [B]. Of an
    ensemble, the means over its members.
    """
    return mean_of_members(lambda of_one: errors(of_one, batch, model, cell), state)


def errors(
    state: TrainState, batch: ClipBatch, model: PredictiveModel, cell: int
) -> dict[str, jax.Array]:
    """`eval_step` of a single model."""
    prediction = predict(state, batch, model=model)
    target = unit_of(model)(batch.features["frames"][:, -1])
    found = {"appearance": pool_cells(jnp.square(prediction.frame - target).mean(-1), cell)}
    if prediction.relation is not None:
        found["relation"] = prediction.relation
    if prediction.pace is not None:
        found["pace"] = prediction.pace
    if prediction.flow is not None:
        excess = jax.nn.relu(batch.features["flow"][:, -1] - prediction.flow)
        found["flow"] = jnp.square(excess[..., 2])
    if prediction.text is not None:
        said = batch.features["text_next"]
        unit = lambda x: x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + losses.EPSILON)
        found |= {
            "semantic": unit(said) - unit(prediction.text),
            "text": losses.text_error(prediction.text, said),
        }
    return found


def predict(state: TrainState, batch: ClipBatch, *, model: PredictiveModel) -> Prediction:
    """The model without randomness on a batch of clips."""
    return of_clips(state, batch, lambda variables, f: model.apply(variables, f, train=False))


def of_clips(state: TrainState, batch: ClipBatch, apply: Callable[[Any, dict], Any]) -> Any:
    """apply(variables, features of a clip), of every clip, none of them played faster."""
    variables = {"params": state.params, **state.constants}
    features = {name: x for name, x in batch.features.items() if name not in ("fast", "fast_flow")}
    return jax.vmap(lambda clip: apply(variables, clip))(features)


def routing_step(state: TrainState, batch: ClipBatch, *, model: PredictiveModel) -> jax.Array:
    """Which experts each token keeps: bool [B, layers, L, E], without the text token; [B, 0] for
    filters that do not choose. Of an ensemble's first member."""

    def kept(variables: Any, clip: dict) -> jax.Array:
        found: Any = model.apply(variables, clip, train=False, mutable=["routing"])[1]
        # the flow's own filter is no layer of it
        decoder = dict(found.get("routing", {}).get("predictor", {}))
        decoder.pop("flow_filter", None)
        _, height, width, _ = clip["frames"].shape
        tokens = (height // model.config.patch) * (width // model.config.patch)
        layers = [x[-tokens:] for x in jax.tree.leaves(decoder)]
        return jnp.stack(layers) if layers else jnp.zeros(0, bool)

    return of_clips(member(state, 0), batch, kept)
