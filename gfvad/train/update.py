"""One update of a model's parameters: what one device does with its part of a batch, over the named
axis of gfvad/train/parallel.py. Tasks say what is learnt by (`Objective`), the rest is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from gfvad.train.loss_terms import SumCount, across, divide, is_alone
from gfvad.train.optim import Optimiser
from gfvad.train.state import TrainState, is_ensemble, member_axes


class Learnt(NamedTuple):
    """What a model gave on a training batch, and what that is worth."""

    terms: Mapping[str, jax.Array]  # unweighted global value of each term of the loss
    output: Any  # whatever `Objective.measure` needs of the model


class Objective(Protocol):
    """What a task's model learns by."""

    def loss(
        self, state: TrainState, batch: Any, axis_name: str | None
    ) -> tuple[jax.Array, Learnt]:
        """(loss of the global batch, equal on every device; what came of it)."""
        ...

    def measure(self, output: Any, batch: Any) -> Mapping[str, Any]:
        """What says how training goes, and what `written` needs over all devices: by name a (sum,
        count) of this device's part. No gradient flows through it."""
        ...

    def written(
        self, state: TrainState, means: dict[str, Any], learnt: tuple[Any, Any], axis_name: Any
    ) -> TrainState:
        """The state with what a step changes beside its gradient.

        Args: state: with the new parameters and optimiser; its step counts those before this one.
        means: sum / count over all devices of what `measure` gave; what is taken out is no metric.
        learnt: (output, batch).
        """
        ...


def update(
    state: TrainState,
    batch: Any,
    *,
    objective: Objective,
    optimiser: Optimiser,
    axis_name: str | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. batch: this device's part, leaves [B, ...]; axis_name None: a single device,
    unmapped.

    Returns (new state, metrics), both equal on every device. Metrics: loss, loss/TERM (unweighted),
    gradient_norm before clipping, update_norm, learning_rate, and those of the objective. Members
    of an ensemble are trained side by side on the same batch, each on its own loss; metrics are
    their means.
    """

    def of_one(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        def loss_of(params: Any) -> tuple[jax.Array, Learnt]:
            return objective.loss(state._replace(params=params), batch, axis_name)

        (loss, learnt), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        # The loss is the global one on every device, and the mean of the gradients over devices is
        # its exact gradient (loss_terms.py). One all-reduce has these and all sums.
        gradients, means = joined(gradients, objective.measure(learnt.output, batch), axis_name)
        updates, opt_state = optimiser.transform.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = state._replace(params=params, opt_state=opt_state)
        new = objective.written(new, means, (learnt.output, batch), axis_name)
        metrics = {
            "loss": loss,
            **{f"loss/{name}": value for name, value in learnt.terms.items()},
            "gradient_norm": optax.global_norm(gradients),
            "update_norm": optax.global_norm(updates),
            "learning_rate": jnp.asarray(optimiser.schedule(state.step), jnp.float32),
            **means,
        }
        return new._replace(step=state.step + 1), metrics

    if not is_ensemble(state):
        return of_one(state, batch)
    axes = member_axes(state)
    new, metrics = jax.vmap(of_one, in_axes=(axes, None), out_axes=(axes, 0))(state, batch)
    return new, jax.tree.map(lambda x: x.mean(0), metrics)


def joined(
    gradients: Any, sums: Mapping[str, SumCount], axis_name: str | None
) -> tuple[Any, dict[str, Any]]:
    """(mean of the gradients over devices, sum / count over devices of each pair), by one
    all-reduce."""
    if is_alone(axis_name):
        return gradients, {name: divide(*pair) for name, pair in sums.items()}
    devices = jax.lax.psum(1, axis_name)
    single = {name: (x, jnp.asarray(n, x.dtype)) for name, (x, n) in sums.items()}
    gradients, whole = across((gradients, single), axis_name)
    return (
        jax.tree.map(lambda x: x / devices, gradients),
        {name: divide(*pair) for name, pair in whole.items()},
    )
