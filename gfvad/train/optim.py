"""Optimiser and learning-rate schedule of a config.

Update, in order: clip by the global gradient norm (optim.clip_norm, 0: off), the optimiser's own
scaling, weight decay, times minus the learning rate.
- adamw: Adam (0.9, 0.999, eps 1e-8) with decoupled decay (Loshchilov and Hutter, 2019); adam:
  without; sgd: momentum 0.9, without.
- adam_coupled: Adam with the decay of every parameter added to its gradient, before the moments
  (what torch's Adam does with weight_decay; Kingma and Ba, 2015, with an L2 term).
- Decay concerns what `decayed` selects: matrices of dense layers. Biases, norm scales and shifts,
  and all fusion
  coefficients are left alone: pulling the coefficients to 0 would pull the fused graph to nothing
  (or, through softplus and softmax, to a constant that means nothing), which is a statement about
  the graph and not a preference for small functions.
- optim.graph_rate multiplies the learning rate of the fusion coefficients, a handful of numbers
  that must move by about 1.
- Schedule: linear warm-up over optim.warmup_steps, then constant, or cosine to 0 at the last step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gfvad.base.types import ConfigError

# ends of parameter names; stacked experts' biases have two axes
NOT_DECAYED = ("bias", "scale", "shift", "b_in", "b_out")


class Optimiser(NamedTuple):
    """transform: what updates parameters; schedule: step -> learning rate; steps: of the whole
    training."""

    transform: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int


def switched_on(value: Any) -> bool:
    """Whether a number of the config that is off at 0 needs its part of the program.

    An array is a number that only the run knows (one of several settings trained side by side,
    gfvad/ablation): it needs it.
    """
    return isinstance(value, jax.Array) or value > 0


def make_optimiser(cfg: Any, steps: int) -> Optimiser:
    """cfg = config.optim, steps = config.train.steps. Raises ConfigError for an unknown name.

    learning_rate, graph_rate, weight_decay and clip_norm may be arrays (one of several settings
    trained side by side, gfvad/ablation); their part of the chain is then there whatever they are.
    """
    schedule = make_schedule(cfg, steps)
    scalings = {
        "adamw": optax.scale_by_adam,
        "adam": optax.scale_by_adam,
        "adam_coupled": optax.scale_by_adam,
        "sgd": lambda: optax.trace(decay=0.9),
    }
    if cfg.name not in scalings:
        raise ConfigError(
            f"config.optim.name = {cfg.name!r}: expected one of {', '.join(scalings)}"
        )
    parts = []
    if isinstance(norm := cfg.clip_norm, jax.Array):
        norm = jnp.where(norm > 0, norm, jnp.inf)  # 0 clips nothing, as the plain 0 does
    if switched_on(norm):
        parts.append(optax.clip_by_global_norm(norm))
    if cfg.name == "adam_coupled" and switched_on(cfg.weight_decay):
        parts.append(optax.add_decayed_weights(cfg.weight_decay))
    parts.append(scalings[cfg.name]())
    if cfg.name == "adamw" and switched_on(cfg.weight_decay):
        parts.append(optax.add_decayed_weights(cfg.weight_decay, mask=decayed))
    if isinstance(cfg.graph_rate, jax.Array) or cfg.graph_rate != 1:
        parts.append(optax.masked(optax.scale(cfg.graph_rate), fusion_coefficients))
    return Optimiser(optax.chain(*parts, optax.scale_by_learning_rate(schedule)), schedule, steps)


def make_schedule(cfg: Any, steps: int) -> optax.Schedule:
    """Step (0 for the first) -> learning rate; the warm-up is shortened to half of a shorter
    run."""
    warmup = min(cfg.warmup_steps, steps // 2)
    if cfg.schedule == "cosine":
        after = optax.cosine_decay_schedule(cfg.learning_rate, max(steps - warmup, 1))
    elif cfg.schedule == "constant":
        after = optax.constant_schedule(cfg.learning_rate)
    else:
        raise ConfigError(f"config.optim.schedule = {cfg.schedule!r}: expected constant or cosine")
    if not warmup:
        return after
    # From 1/warmup, not from 0: a first step of learning rate 0 would be a step lost.
    rise = optax.linear_schedule(cfg.learning_rate / warmup, cfg.learning_rate, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def decayed(params: Any) -> Any:
    """Tree of bool: True where weight decay applies."""

    def rule(path: tuple, leaf: Any) -> bool:
        *_, last = names = names_of(path)
        named = last.endswith(NOT_DECAYED) or any("fusion" in name for name in names)
        return leaf.ndim >= 2 and not named

    return jax.tree_util.tree_map_with_path(rule, params)


def fusion_coefficients(params: Any) -> Any:
    """Tree of bool: True for the coefficients of the fusion operator."""
    named = lambda path: any("fusion" in name for name in names_of(path))
    return jax.tree_util.tree_map_with_path(lambda path, leaf: named(path), params)


def names_of(path: tuple) -> list[str]:
    """Of a leaf and of what is above it."""
    return [str(getattr(part, "key", part)).lower() for part in path]
