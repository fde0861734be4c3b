"""The pure per-device steps of the predictive model, over the named axis of
gfvad/train/parallel.py. As gfvad/tasks/fusion/step.py does for features."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gfvad.base.types import ClipBatch
from gfvad.nn.blocks import pool_cells
from gfvad.nn.memory import unit_length
from gfvad.tasks.fusion import losses
from gfvad.tasks.prediction import losses as losses_predictive
from gfvad.tasks.prediction.model import Prediction, PredictiveModel, normalise_frames
from gfvad.train.optim import Optimiser
from gfvad.train.state import TrainState

GAINS = (0.8, 1.2)  # contrast of the clips that the pace network learns from
MEMORY = "memory"  # collection of filters that are written to while training (MNAD)


def train_step(
    state: TrainState,
    batch: ClipBatch,
    *,
    model: PredictiveModel,
    optimiser: Optimiser,
    loss_cfg: Any,
    axis_name: str | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update -> (new state, metrics), both equal on every device. Metrics as in
    tasks/fusion/step.py, per layer usage/*, router_entropy/*, dead/*."""

    def loss_fn(params: Any) -> tuple[jax.Array, tuple]:
        prediction, paces, memory = forward(model, state._replace(params=params), batch, loss_cfg)
        total, terms = losses_predictive.total_loss(prediction, paces, batch, loss_cfg, axis_name)
        return total, (terms, prediction.aux, memory)

    (loss, (terms, aux, memory)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
        state.params
    )
    # The loss is the global one on every device, and psum transposes to psum: the mean over devices
    # is its exact gradient.
    gradients = gradients if axis_name is None else jax.lax.pmean(gradients, axis_name)
    updates, opt_state = optimiser.transform.update(gradients, state.opt_state, state.params)
    metrics = {"loss": loss, **{f"loss/{name}": value for name, value in terms.items()}}
    metrics |= {
        "gradient_norm": optax.global_norm(gradients),
        "update_norm": optax.global_norm(updates),
    }
    metrics |= {"learning_rate": jnp.asarray(optimiser.schedule(state.step), jnp.float32)}
    metrics |= {
        name: mean_over(value, batch.valid, axis_name)
        for name, value in aux.items()
        if name != "balance"
    }
    constants = dict(state.constants)
    if memory:
        # each clip wrote a memory of its own: their mean, with items of length 1 again
        constants[MEMORY] = jax.tree.map(
            lambda x: unit_length(mean_over(x, batch.valid, axis_name)), memory
        )
    new = state._replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
        constants=constants,
    )
    return new, metrics


def mean_over(values: jax.Array, valid: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean over the valid clips of the global batch: [B, ...] -> [...]."""
    chosen = jnp.where(valid.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0).sum(0)
    return losses.divide(*losses.across((chosen, valid.sum()), axis_name))


def forward(
    model: PredictiveModel, state: TrainState, batch: ClipBatch, loss_cfg: Any
) -> tuple[Prediction, Any, Any]:
    """The model on a training batch: (Prediction with leading B, pair of `Pace` or None, written
    memories [B, ...])."""
    key = jax.random.wrap_key_data(state.key)
    variables = {"params": state.params, **state.constants}
    features = dict(batch.features)
    fast, fast_flow = features.pop("fast", None), features.pop("fast_flow", None)

    def one(features: dict, position: jax.Array) -> tuple[Prediction, Any]:
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

    def pace(clips: jax.Array, flow: jax.Array | None) -> losses_predictive.Pace:
        changed, flow = jax.vmap(lambda k, clip, f: augment(k, normalise_frames(clip), f))(
            keys, clips, flow
        )
        logits = jax.vmap(
            lambda clip, f: model.apply({"params": state.params}, clip, f, method="pace")
        )(changed, flow)
        return losses_predictive.Pace(
            logits,
            jax.vmap(lambda clip: losses_predictive.moving_cells(clip, loss_cfg.pace_motion))(
                changed
            ),
        )

    return (
        prediction,
        (
            pace(features["frames"], None if fast_flow is None else features["flow"][:, -1]),
            pace(fast, fast_flow),
        ),
        written.get(MEMORY),
    )


def augment(
    key: jax.Array, clip: jax.Array, flow: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """A clip [F + 1, h, w, C] mirrored or not, with another contrast; its flow [g, g', 3] or
    None is mirrored with it."""
    mirror, gain = jax.random.split(key)
    mirrored = jax.random.bernoulli(mirror)
    clip = jnp.where(mirrored, clip[:, :, ::-1], clip)
    flow = (
        None
        if flow is None
        else jnp.where(mirrored, flow[:, ::-1] * jnp.array([-1.0, 1.0, 1.0]), flow)
    )
    return (clip + 1.0) * jax.random.uniform(gain, (), minval=GAINS[0], maxval=GAINS[1]) - 1.0, flow


def eval_step(
    state: TrainState, batch: ClipBatch, *, model: PredictiveModel, cell: int
) -> dict[str, jax.Array]:
    """What cannot be predicted, of a device's clips: maps [B, g, g'] and vectors, by name; those of
    absent parts are left out.

    appearance: squared error of pixels; flow: squared excess of the flow's magnitude over the
    predicted one; pace: logits [B, h / 4, w / 4]; relation: row statistics [B, L, 4]; semantic:
    next description minus the predicted one (both of length 1) [B, V]; text: 1 - cosine [B].
    """
    prediction = predict(state, batch, model=model)
    target = normalise_frames(batch.features["frames"][:, -1])
    found = {
        "appearance": pool_cells(jnp.square(prediction.frame - target).mean(-1), cell),
        "relation": prediction.relation,
    }
    if prediction.pace is not None:
        found["pace"] = prediction.pace
    if prediction.flow is not None:
        found["flow"] = jnp.square(
            jax.nn.relu(batch.features["flow"][:, -1] - prediction.flow)[..., 2]
        )
    if prediction.text is not None:
        said = batch.features["text_next"]
        unit = lambda x: (
            x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + losses_predictive.EPSILON)
        )  # noqa: E731
        found |= {
            "semantic": unit(said) - unit(prediction.text),
            "text": losses_predictive.text_error(prediction.text, said),
        }
    return found


def predict(state: TrainState, batch: ClipBatch, *, model: PredictiveModel) -> Prediction:
    """The model without randomness on a batch of clips."""
    variables = {"params": state.params, **state.constants}
    features = {name: x for name, x in batch.features.items() if name not in ("fast", "fast_flow")}
    return jax.vmap(lambda f: model.apply(variables, f, train=False))(features)


def routing_step(state: TrainState, batch: ClipBatch, *, model: PredictiveModel) -> jax.Array:
    """Which experts each token keeps: bool [B, layers, L, E], without the text token; [B, 0] for
    filters that do not choose."""
    variables = {"params": state.params, **state.constants}
    features = {name: x for name, x in batch.features.items() if name not in ("fast", "fast_flow")}

    def one(clip: dict) -> jax.Array:
        _, found = model.apply(variables, clip, train=False, mutable=["routing"])
        # the flow's own filter is no layer of it
        decoder = found.get("routing", {}).get("predictor", {})
        layers = jax.tree.leaves(
            {name: kept for name, kept in decoder.items() if name != "flow_filter"}
        )
        return (
            jnp.stack([x[-tokens_of(model, clip) :] for x in layers])
            if layers
            else jnp.zeros(0, bool)
        )

    return jax.vmap(one)(features)


def tokens_of(model: PredictiveModel, clip: dict) -> int:
    """L of a clip."""
    _, height, width, _ = clip["frames"].shape
    return (height // model.config.patch) * (width // model.config.patch)
