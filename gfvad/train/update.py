"""One update of a model's parameters: what one device does with its part of a batch, over the named
axis of gfvad/train/parallel.py. Tasks say what is learnt by (`Objective`), the rest is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

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

    def measure(
        self, state: TrainState, output: Any, batch: Any, axis_name: str | None
    ) -> tuple[Mapping[str, jax.Array], TrainState]:
        """(metrics of the global batch that say how training goes, the state with what a step
        changes beside its gradient). No gradient flows through either.

        Args: state: with the new parameters and optimiser; its step counts those before this one.
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
        # The loss is the global one on every device, and psum transposes to psum: the mean over
        # devices is its exact gradient.
        gradients = gradients if axis_name is None else jax.lax.pmean(gradients, axis_name)
        updates, opt_state = optimiser.transform.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = state._replace(params=params, opt_state=opt_state)
        measured, new = objective.measure(new, learnt.output, batch, axis_name)
        metrics = {
            "loss": loss,
            **{f"loss/{name}": value for name, value in learnt.terms.items()},
            "gradient_norm": optax.global_norm(gradients),
            "update_norm": optax.global_norm(updates),
            "learning_rate": jnp.asarray(optimiser.schedule(state.step), jnp.float32),
            **measured,
        }
        return new._replace(step=state.step + 1), metrics

    if not is_ensemble(state):
        return of_one(state, batch)
    axes = member_axes(state)
    new, metrics = jax.vmap(of_one, in_axes=(axes, None), out_axes=(axes, 0))(state, batch)
    return new, jax.tree.map(lambda x: x.mean(0), metrics)
