"""One window of one video in front of a trained detector: what it says of it, and of the same with
feature sets or units taken away. For explanations; scores themselves are `evaluate.py`'s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gfvad.data import pipeline
from gfvad.data.streams import CLOCK
from gfvad.tasks.fusion.detector import TOLD
from gfvad.train.state import TrainState, of_each_member

BRANCH = "branch/"  # of Output.aux


class Window(NamedTuple):
    """Units of a video as they are scored together, padded to a static length N."""

    features: Mapping[str, np.ndarray]  # modality (and clock) -> float32 [C, N, D]
    mask: np.ndarray  # bool [N]
    start: int  # the first one's number in the video


class Seen(NamedTuple):
    """What R readings (members of an ensemble x crops) say of a window, float64."""

    logits: np.ndarray  # [R, N]
    graph: np.ndarray  # [R, G, N, N] fused; [R, 0, N, N] for models without
    branches: Mapping[str, np.ndarray]  # name -> [R, N]; {} for heads without
    # what else the model tells: graphs [R, M, N, N]; of a bank bank_keys [R, N, D], bank_says
    # [R, N], described [R, N]
    told: Mapping[str, np.ndarray]


def windows_of(records: Any, index: int, data_cfg: Any) -> Iterator[Window]:
    """The windows of evaluation of a video, in the order of time."""
    one = data_cfg.copy_and_resolve_references()
    one.eval_batch_size = 1
    found = [
        Window(
            {m: np.asarray(x[0], np.float32) for m, x in batch.features.items()},
            np.asarray(batch.mask[0]),
            int(batch.start[0]),
        )
        for batch in pipeline.EvalBatches(records, [index], one, (0, 1))
    ]
    yield from sorted(found, key=lambda window: window.start)


def window_of(records: Any, index: int, unit: int, data_cfg: Any) -> Window:
    """The window that a unit of a video lies in."""
    every = windows_of(records, index, data_cfg)
    return [window for window in every if window.start <= unit][-1]


class Probe:
    """A detector with its weights; compiled once a static length."""

    def __init__(self, model: Any, state: TrainState, config: ConfigDict):
        self.model, self.config = model, config
        self.state = state._replace(opt_state=())
        self._see = jax.jit(self._told)
        self._logits = jax.jit(lambda *given: self._told(*given)[0].logits)

    @property
    def members(self) -> list[dict[str, Any]]:
        """Parameters of each member of an ensemble."""
        every = of_each_member(lambda state: state.params, self.state)
        count = len(jax.tree.leaves(every)[0])
        return [jax.tree.map(lambda x, r=r: np.asarray(x[r]), every) for r in range(count)]

    def constants(self, collection: str) -> dict[str, np.ndarray]:
        """A collection of constants with a leading axis of members; {} without it."""
        if collection not in self.state.constants:
            return {}
        found = of_each_member(lambda state: state.constants[collection], self.state)
        return {name: np.asarray(x, np.float64) for name, x in found.items()}

    def see(self, window: Window, known: np.ndarray | None = None) -> Seen:
        """All that is said of a window. known: bool [units of the bank], which of them count."""
        seen, branches = self._see(self._known(known), dict(window.features), window.mask)
        names = branch_names(self.config) if branches is not None else ()
        parts = {} if branches is None else dict(zip(names, np.asarray(branches, np.float64)))
        told = {name: np.asarray(x, np.float64) for name, x in seen.told.items()}
        logits, graph = (np.asarray(x, np.float64) for x in (seen.logits, seen.graph))
        return Seen(logits, graph, parts, told)

    def logit(self, window: Window, place: int, known: np.ndarray | None = None) -> float:
        """The logit of the score of the unit at a place in the window; known: as `see`."""
        logits = self._logits(self._known(known), dict(window.features), window.mask)
        return mean_logit(np.asarray(logits, np.float64)[:, place])

    def _known(self, known: np.ndarray | None) -> TrainState:
        if known is None:
            return self.state
        bank = dict(self.state.constants["bank"])
        bank["known"] = bank["known"] * np.asarray(known, np.float32)
        return self.state._replace(constants={**self.state.constants, "bank": bank})

    def _told(self, state: TrainState, features: Mapping[str, Any], mask: Any) -> Any:
        crops = max(x.shape[0] for x in features.values())
        every = {m: jnp.broadcast_to(x, (crops, *x.shape[1:])) for m, x in features.items()}

        def of_member(member: TrainState) -> Any:
            variables = {"params": member.params, **member.constants}

            def one(crop: Mapping[str, jax.Array]) -> Any:
                out, more = self.model.apply(variables, crop, mask, train=False, mutable=[TOLD])
                branches = [z for name, z in out.aux.items() if name.startswith(BRANCH)]
                stacked = jnp.stack(branches) if branches and is_sum(self.config) else None
                return Seen(out.logits, out.graph, {}, more.get(TOLD, {})), stacked

            # one crop after another, for N x N graphs of all at once would be large
            return jax.lax.map(one, every)

        seen, branches = of_each_member(of_member, state)
        joined = lambda x: x.reshape(
            x.shape[0] * crops, *x.shape[2:]
        )  # [members, C, ...] -> [R, ...]
        return jax.tree.map(joined, seen), (
            None if branches is None else jnp.moveaxis(joined(branches), 1, 0)
        )


def unit_scores_of(probe: Probe, records: Any, index: int) -> np.ndarray:
    """float64 [n] scores of all units of a video, as evaluation has them."""
    found = []
    for window in windows_of(records, index, probe.config.data):
        logits = probe.see(window).logits[:, window.mask]
        found.append(np.exp(-np.logaddexp(0.0, -logits)).mean(0))
    return np.concatenate(found)


def is_sum(config: ConfigDict) -> bool:
    """Whether a model's logit is a sum of branches."""
    return config.model.name == "graph_fusion" and config.model.head.kind == "branches"


def branch_names(config: ConfigDict) -> list[str]:
    """Branches of the head `branches`, in their order: that of its gates."""
    model, sets = config.model, list(config.data.modalities)
    if model.evidence == "sources":
        return sets
    names = sets + [f"{m}_residual" for m in sets if m in model.filter.modalities]
    return names + ["gnn"] * (model.head.layers > 0) + ["graph"] * bool(model.head.relations)


def without_sets(window: Window, names: Iterable[str]) -> Window:
    """The window with feature sets that are absent everywhere."""
    left_out = set(names)
    return window._replace(
        features={m: x * 0 if m in left_out else x for m, x in window.features.items()}
    )


def without_units(window: Window, places: Iterable[int]) -> Window:
    """The window with units that are absent in every feature set: they have no relation to any
    other, and say nothing."""
    gone, found = list(places), {}
    for m, x in window.features.items():
        found[m] = x
        if m != CLOCK and gone:
            found[m] = x.copy()
            found[m][:, gone] = 0
    return window._replace(features=found)


def mean_logit(logits: np.ndarray) -> float:
    """The logit of the mean of the scores sigmoid(logits) [R]."""
    log_mean = lambda z: np.logaddexp.reduce(-np.logaddexp(0.0, -z)) - np.log(len(z))
    return float(log_mean(logits) - log_mean(-logits))
