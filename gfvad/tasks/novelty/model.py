"""The model of graph novelty: joint relations of a unit to a bank of normal units, one a term.

Learnt are a scale a feature set and a weight a term, tens of numbers at most; the bank, and the
spread of each feature, are constants of the state, so that a checkpoint holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gfvad.graphs.bipartite import log_joint_relation, novelty, squared_distances
from gfvad.train.state import TrainState

BANK = "bank"  # collection of the constants
NEW = -1  # part of a unit that is in no part of the bank
APART = 1e6  # squared distance of units that are not to be compared


class GraphNovelty(nn.Module):
    """Novelty of units by each term.

    Fields: widths: (feature set, its features D), in order; terms: the feature sets of each joint
    relation; within: feature sets that are compared within one camera; scales: what each set counts
    at the start; bank, nearest, softness: as in config.model; banks: 1, or one for each camera and
    place, with `bank` units each.
    """

    widths: tuple[tuple[str, int], ...]
    terms: tuple[tuple[str, ...], ...]
    within: tuple[str, ...]
    scales: tuple[float, ...]
    bank: int
    nearest: int
    softness: float
    banks: int = 1

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, jax.Array],
        camera: jax.Array,
        part: jax.Array,
        train: bool = False,
        alike: bool = False,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Args: features: set -> [N, D]; camera int32 [N], or which of the banks; part int32 [N]:
        no unit is compared with its own part (NEW: with all); alike: all units are of the bank of
        the first one, which is cheaper.

        Returns (novelty of each term [N, T], weight of each term [T], offset []).
        """
        names = [name for name, _ in self.widths]
        offsets = self.param("scale", nn.initializers.zeros, (len(names),))
        weights = self.param("weight", nn.initializers.zeros, (len(self.terms),))
        offset = self.param("offset", nn.initializers.zeros, ())
        constants = declare_bank(self, self.widths, self.bank, self.banks)

        def kept(name: str) -> jax.Array:
            """A constant; of several banks that of all units, or of each [N, ...]."""
            value = constants[name]
            if self.banks == 1:
                return value
            return value[camera[0]] if alike else value[camera]

        known = {name: kept(f"units_{name}") for name in names}
        spread, cameras, parts = kept("spread"), kept("camera"), kept("part")
        factor = jnp.asarray(self.scales) * jnp.exp(offsets) / spread
        squares = {
            name: squared_distances(
                features[name] * factor[..., i, None], known[name] * factor[..., i, None, None]
            )
            for i, name in enumerate(names)
        }
        own = jnp.where(part[:, None] == parts, APART, 0.0)
        elsewhere = jnp.where(camera[:, None] == cameras, 0.0, APART)
        found = []
        for term in self.terms:
            apart = own + elsewhere if set(term) & set(self.within) else own
            distances = [squares[name] for name in term]
            graph = log_joint_relation([*distances, apart], self.softness)
            found.append(novelty(graph, self.nearest))
        return jnp.stack(found, -1), jnp.exp(weights), offset

    def example(self) -> tuple[Any, ...]:
        """One unit, to make a state with."""
        one = {name: np.zeros((1, width), np.float32) for name, width in self.widths}
        index = np.zeros(1, np.int32)
        return one, index, index


def declare_bank(
    module: nn.Module, widths: Sequence[tuple[str, int]], bank: int, banks: int
) -> dict[str, jax.Array]:
    """The constants of a bank as variables of a module; of several banks they have a leading axis.
    Args: as the fields of GraphNovelty."""
    several = (banks,) if banks > 1 else ()
    shape = (*several, bank)
    constant = lambda name, start, *given: module.variable(BANK, name, start, *given).value
    found = {
        f"units_{name}": constant(f"units_{name}", jnp.zeros, (*shape, width))
        for name, width in widths
    }
    return found | {
        "spread": constant("spread", jnp.ones, (*several, len(widths))),
        "camera": constant("camera", jnp.zeros, shape, jnp.int32),
        "part": constant("part", jnp.zeros, shape, jnp.int32),
    }


def build_model(config: Any, widths: Mapping[str, int], bank: int, banks: int = 1) -> GraphNovelty:
    """The model of a checked config; widths: feature set -> D; bank: units of each of `banks`."""
    m = config.model
    return GraphNovelty(
        tuple((name, int(widths[name])) for name in config.data.modalities),
        tuple(split_term(term) for term in m.terms),
        tuple(m.within_camera),
        tuple(map(float, m.scales)),
        bank,
        min(m.nearest, bank),
        float(m.softness),
        banks,
    )


def split_term(term: str) -> tuple[str, ...]:
    """'velocity*size' -> ('velocity', 'size')."""
    return tuple(name.strip() for name in term.split("*"))


def all_columns(config: ConfigDict) -> tuple[tuple[str, ...], ...]:
    """The terms of a config, each feature set alone, and all of them."""
    return (*(split_term(t) for t in config.model.terms), *sets_alone(config))


def sets_alone(config: ConfigDict) -> tuple[tuple[str, ...], ...]:
    """Each feature set alone, and all of them: what floors are made of."""
    sets = tuple(config.data.modalities)
    return tuple(dict.fromkeys([(name,) for name in sets] + [sets]))


def with_columns(
    model: GraphNovelty, state: TrainState, config: ConfigDict
) -> tuple[GraphNovelty, TrainState]:
    """(the model of all columns, its state)."""
    columns = all_columns(config)
    weight = np.zeros(len(columns), np.float32)
    weight[: len(config.model.terms)] = np.asarray(state.params["weight"])
    wider = model.clone(terms=columns)
    return wider, state._replace(params={**state.params, "weight": weight}, opt_state=())


def filled_bank(units: Mapping[str, np.ndarray], camera: Any, part: Any) -> dict[str, np.ndarray]:
    """The constants of a bank of normal units, or of several ones (a leading axis); spread: root
    mean variance of each feature set over the units of a bank."""
    spread = [np.maximum(np.sqrt(x.var(-2).mean(-1)), 1e-6) for x in units.values()]
    bank = {f"units_{name}": np.asarray(x, np.float32) for name, x in units.items()}
    return bank | {
        "spread": np.stack(spread, -1).astype(np.float32),
        "camera": np.asarray(camera, np.int32),
        "part": np.asarray(part, np.int32),
    }
