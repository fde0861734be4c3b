"""What a comparator is to graph novelty: another model of the same normal units, in the same loop.

A comparator is a Flax module (units `Seen`, train) -> `Judged`: scores by term, and losses by name,
of each unit. `Compared` stands round it: it standardises features by the training spread and keeps
the bank that the floors are measured with. Axes: N units, W units of a window, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gfvad.tasks.novelty.model import declare_bank

STATISTICS = "constants"  # collection of the means and spreads of features


class Seen(NamedTuple):
    """What a comparator sees of N units."""

    features: Mapping[str, jax.Array]  # set -> [N, W, D], standardised; 0 where nothing is
    mask: jax.Array  # bool [N, W]: what of the window there is; the unit itself is at W // 2
    camera: jax.Array  # int32 [N] camera, or camera and place
    keys: jax.Array | None = None  # random keys [N] in training, else None

    @property
    def joined(self) -> jax.Array:
        """[N, W, D] all feature sets side by side, by name."""
        return jnp.concatenate([x for _, x in sorted(self.features.items())], -1)

    @property
    def itself(self) -> dict[str, jax.Array]:
        """Set -> [N, D] of the units themselves, without their windows."""
        return {name: x[:, x.shape[1] // 2] for name, x in self.features.items()}


class Judged(NamedTuple):
    """What a comparator says of N units."""

    scores: Mapping[str, jax.Array]  # term -> [N], higher is more unusual
    losses: Mapping[str, jax.Array] = {}  # name -> [N]; weights are config.loss.NAME
    # what `updated` of the module, where it has one, gets of the whole batch: name -> [N, ...]
    kept: Mapping[str, jax.Array] = {}


class Compared(nn.Module):
    """A comparator with the constants of a training set.

    Fields: inner: the comparator; widths: (feature set, its features D), in order; codes: values of
    camera; window: W; terms: of the comparator's scores, in the order of their names; losses:
    (name, weight), others weigh 1; bank, banks: of the floors, as in GraphNovelty.
    """

    inner: nn.Module
    widths: tuple[tuple[str, int], ...]
    codes: int
    window: int
    terms: tuple[tuple[str, ...], ...]
    losses: tuple[tuple[str, float], ...]
    bank: int
    banks: int = 1

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, jax.Array],
        mask: jax.Array,
        camera: jax.Array,
        keys: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> Judged:
        """Args: features: set -> [N, W, D] as they come; mask bool [N, W]; camera int32 [N]; keys:
        random keys [N], in training."""
        declare_bank(self, self.widths, self.bank, self.banks)
        found = {}
        for name, width in self.widths:
            shape = (self.codes, width)
            mean = self.variable(STATISTICS, f"mean_{name}", jnp.zeros, shape).value[camera]
            spread = self.variable(STATISTICS, f"spread_{name}", jnp.ones, shape).value[camera]
            x = (features[name] - mean[:, None]) / spread[:, None]
            found[name] = jnp.where(mask[..., None], x, 0.0)
        return self.inner(Seen(found, mask, camera, keys), train)

    def example(self) -> tuple[Any, ...]:
        """One unit, to make a state with."""
        one = {name: np.zeros((1, self.window, width), np.float32) for name, width in self.widths}
        return one, np.ones((1, self.window), bool), np.zeros(1, np.int32)


def term_names(inner: nn.Module, widths: Mapping[str, int], window: int) -> tuple[str, ...]:
    """Names of a comparator's terms, sorted; nothing is computed."""
    features = {name: jnp.zeros((1, window, width)) for name, width in widths.items()}
    seen = Seen(features, jnp.ones((1, window), bool), jnp.zeros(1, jnp.int32))
    start = lambda: inner.init_with_output({"params": jax.random.key(0)}, seen, False)[0].scores
    return tuple(sorted(jax.eval_shape(start)))
