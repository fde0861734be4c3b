"""The detector: features of one video -> filter -> relationship graphs -> fusion operator -> head
-> Output.

Every stage is one method, in the order of docs/architecture.md. One video at a time; steps vmap it
over B, and nothing in it couples videos. A unit whose raw features in a modality are all zero (a
silent second, a missing modality, padding) is *absent*
there: it stays zero through standardisation and filter, so its relations in that modality are 0 and
it enters no statistic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.fusion.operator import FusionByRows, FusionOperator
from gfvad.graphs.relations import learns_width, relationship_graph, temporal, temporal_seconds
from gfvad.graphs.row_blocks import RowBlocks, relation_rows, time_rows
from gfvad.nn.filter import SparseFeatureFilter
from gfvad.tasks.fusion import described_events, video_bank
from gfvad.tasks.fusion.by_rows import clock_of, require_row_model
from gfvad.tasks.fusion.content import (
    MIN_STD,
    Arrays,
    Confident,
    ContentModel,
    Linear,
    without_left_out,
)
from gfvad.tasks.fusion.heads import BranchHead, DegreeHead, GnnHead, RowHead, logit_of
from gfvad.tasks.fusion.losses import LossInputs


def drop_edges(key: jax.Array, graphs: jax.Array, rate: float) -> jax.Array:
    """Sets edges of graphs [G, N, N] to 0 with probability `rate`, i-j and j-i together, and
    divides the others by 1 - rate.

    The diagonal stays. Every channel is drawn by itself; the expected graph is the graph (after
    DropEdge, Rong et al. 2020, with inverted scaling).
    """
    kept = jnp.triu(jax.random.bernoulli(key, 1.0 - rate, graphs.shape), 1)
    kept = kept | jnp.swapaxes(kept, -1, -2)
    own = jnp.eye(graphs.shape[-1], dtype=bool)
    return jnp.where(own, graphs, jnp.where(kept, graphs / (1.0 - rate), 0.0))


TOLD = "told"  # collection of what is not among the outputs
NO_MODALITY = ("none",)  # of model.relation.modalities: temporal graphs alone


def related(model: Any, names: Iterable[str]) -> list[str]:
    """Those of some modalities that have graphs (model.relation.modalities), in their order."""
    chosen = model.relation.modalities
    return [name for name in names if not chosen or name in chosen]


class GraphFusionDetector(ContentModel):
    """Graph fusion of any number of modalities, with the sparse feature filter as an option
    (graph_fusion 1 - 6).

    Collections: 'params', and 'constants' (feature statistics, never trained). Random streams:
    'dropout', and 'pair' where model.fusion.graphs is random_pair.
    """

    units: int = 0  # N, which the row head is bound to; others ignore it

    def tell(self, **values: Any) -> None:
        """Keeps values on the way for who asks for the collection TOLD (explained.py)."""
        for name, value in {} if self.is_initializing() else values.items():
            self.sow(TOLD, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: None)

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [G, N, N], aux).

        aux, where filters are on: 'balance' [] (sum over modalities), 'usage/m' [E],
        'router_entropy/m' [], 'reconstruction' [N] (squared error of filtered against raw features,
        mean over D, summed over modalities).
        Raises DataError where features are not those the model was built for.
        """
        self.check_shapes(features, mask)
        # {m: [N, D_m]}, {m: bool [N]}, {m: [N]}
        raw, present, counts = self.standardise_features(features, mask, train)
        branches = self.linear_branches()
        if branches:
            raw, present, counts = without_left_out(branches, raw, present, counts)
        # {m: [N, D_m]} of the filtered modalities
        filtered, aux = self.filter_features(raw, present)
        residual = {m: raw[m] - y for m, y in filtered.items()}
        sets = {"raw": raw, "filtered": filtered, "residual": residual}
        if 0 < self.config.relation.rows < mask.shape[0]:
            rows = self.fused_rows(sets, features.get("clock"), mask, train)
            logits, parts = self.unit_logits(rows, raw, counts, residual, mask, train)
            # the graph is nowhere whole
            return Output(
                logits, jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype), aux | parts
            )
        # [M, N, N]
        graphs = self.relation_graphs(sets, features.get("clock"), mask)
        if branches:
            graphs = self.neutral_left_out(branches, graphs, mask)
        self.tell(graphs=graphs)
        # [G, N, N]
        operator = FusionOperator(self.config.fusion, self.config.expansion, name="fusion")
        fused = operator(graphs, mask, train=train)
        # [N]; the graph itself is given out whole, for the degree-variance loss and pictures
        seen = self.drop_edges(fused, train)
        if branches:
            logits, parts = self.sum_logits(branches, seen, raw, counts, mask, train)
        else:
            logits, parts = self.unit_logits(seen, raw, counts, residual, mask, train)
        return Output(logits, fused, aux | parts)

    def filter_features(self, raw: Arrays, present: Arrays) -> tuple[Arrays, dict[str, Any]]:
        """Sparse feature filter of the modalities that have one: ({m: [N, D]}, aux)."""
        cfg = self.config.filter
        filtered, aux = {}, {}
        for m in (m.name for m in self.modalities if m.name in cfg.modalities):
            size = cfg.experts, cfg.topk, cfg.bottleneck, cfg.scale
            module = SparseFeatureFilter(*size, epsilon=cfg.epsilon, name=f"filter_{m}")
            filtered[m], stats = module(raw[m], present[m])
            aux[f"usage/{m}"], aux[f"router_entropy/{m}"] = stats.usage, stats.router_entropy
            aux["balance"] = aux.get("balance", 0.0) + stats.balance
            lost = jnp.square(raw[m] - filtered[m]).mean(-1)
            aux["reconstruction"] = aux.get("reconstruction", 0.0) + lost
        return filtered, aux

    def relation_graphs(
        self, sets: Mapping[str, Arrays], clock: jax.Array | None, mask: jax.Array
    ) -> jax.Array:
        """One graph for each chosen feature set of each modality, then the temporal ones: [M, N,
        N]. clock [N, 1] in seconds."""
        cfg = self.config.relation
        graphs = [
            self.relation_graph(source, m, x, mask)
            for source in cfg.sources
            for m, x in sets[source].items()
            if m in related(self.config, sets[source])
        ]
        if cfg.temporal_tau > 0:
            graphs.append(temporal(mask, cfg.temporal_tau))
        if cfg.temporal_seconds > 0:
            graphs.append(temporal_seconds(clock_of(clock), mask, cfg.temporal_seconds))
        return jnp.stack(graphs)

    def fused_rows(
        self, sets: Mapping[str, Arrays], clock: jax.Array | None, mask: jax.Array, train: bool
    ) -> RowBlocks:
        """The fused graphs by rows. Raises ConfigError where the model needs them whole."""
        cfg = require_row_model(self.config, train).relation
        made = [
            self.relation_graph(source, m, x, mask, relation_rows)
            for source in cfg.sources
            for m, x in sets[source].items()
            if m in related(self.config, sets[source])
        ]
        if cfg.temporal_tau > 0:
            index = jnp.arange(mask.shape[0], dtype=jnp.float32)
            made.append(time_rows(index, mask, cfg.temporal_tau))
        if cfg.temporal_seconds > 0:
            made.append(time_rows(clock_of(clock), mask, cfg.temporal_seconds))
        fuse = FusionByRows(self.config.fusion, self.config.expansion, name="fusion")(len(made))
        return RowBlocks(lambda units: fuse(jnp.stack([rows(units) for rows in made])), cfg.rows)

    def neutral_left_out(
        self, branches: Mapping[str, Linear], graphs: jax.Array, mask: jax.Array
    ) -> jax.Array:
        """Graphs [M, N, N] of sets that are left out become 1 for every pair, which changes no
        product of graphs."""
        names = related(self.config, [m.name for m in self.modalities])
        of_sets = [(branches[name].weight != 0).any() for name in names]
        kept = of_sets * len(self.config.relation.sources)
        kept += [jnp.array(True)] * (len(graphs) - len(kept))
        pairs = (mask[:, None] & mask[None, :]).astype(graphs.dtype)
        return jnp.where(jnp.stack(kept)[:, None, None], graphs, pairs)

    def relation_graph(
        self,
        source: str,
        modality: str,
        x: jax.Array,
        mask: jax.Array,
        make: Callable[..., Any] = relationship_graph,
    ) -> Any:
        """Relationship graph of one feature set, [N, D] -> [N, N] (or what `make` makes of the
        same), with its learned projection and rbf width where configured."""
        cfg = self.config.relation
        width = x.shape[-1]
        if cfg.projection > 0:
            # no bias: an absent unit must stay zero
            x = nn.Dense(cfg.projection, use_bias=False, name=f"projection_{source}_{modality}")(x)
        if not learns_width(cfg):
            return make(x, mask, cfg)
        # learnt as a logarithm, so that it stays positive; the initial projection keeps the
        # variance of a feature
        distance = self.typical_distance(modality) * math.sqrt(x.shape[-1] / width)
        log_sigma = self.param(
            f"log_sigma_{source}_{modality}", nn.initializers.constant(math.log(distance)), ()
        )
        return make(x, mask, cfg, jnp.exp(log_sigma))

    def typical_distance(self, modality: str) -> float:
        """Root mean square distance of two independent training units, sqrt(2 sum_d std_d^2):
        where a learnt rbf width starts."""
        width, std = next((m.width, m.std) for m in self.modalities if m.name == modality)
        known = std if std and self.standardize != "standardize" else (1.0,) * width
        return math.sqrt(2.0 * max(sum(s * s for s in known), MIN_STD))

    def drop_edges(self, fused: jax.Array, train: bool) -> jax.Array:
        """In training, edges of the fused graphs are left out where model.edge_dropout is above
        0: [G, N, N] -> [G, N, N]."""
        rate = self.config.edge_dropout
        return drop_edges(self.make_rng("dropout"), fused, rate) if train and rate > 0 else fused

    def unit_logits(
        self,
        fused: Any,  # [G, N, N], or RowBlocks
        raw: Arrays,
        counts: Confident,
        residual: Arrays,
        mask: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Arrays]:
        """(logits [N], aux: {branch/NAME: logits}, and what the bank is written from). The row
        and degree heads see graphs only, as in the paper; gnn and branches see content too."""
        cfg = self.config.head
        if cfg.kind == "row":
            return RowHead(self.units, name="head")(fused, mask), {}
        if cfg.kind == "degree":
            return DegreeHead(cfg.hidden, cfg.alpha, cfg.topk, name="head")(fused, mask), {}
        content = self.embed_content(raw, counts, residual, train)
        size = (cfg.hidden, cfg.layers, cfg.alpha, cfg.topk, self.config.dropout)
        if cfg.kind == "branches":
            own = cfg.relations, tuple(cfg.gates), cfg.detach, cfg.mix, cfg.prior, cfg.absent
            head = BranchHead(*size, *own, cfg.whole, cfg.spread_trained, name="head")
            beside, aux = self.related_videos(raw, counts, train)
            beside = beside + self.related_events(raw, counts, train)
            logits, parts = head(fused, content, mask, counts, beside, train=train)
            return logits, {f"branch/{name}": z for name, z in parts.items()} | aux
        joined = jnp.concatenate(list(content.values()), -1)
        return GnnHead(*size, name="head")(fused, joined, mask, train=train), {}

    def sum_logits(
        self,
        branches: Mapping[str, Linear],
        fused: jax.Array,
        raw: Arrays,
        counts: Confident,
        mask: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Arrays]:
        """(logits [N], {branch/NAME: logits of a linear branch}): their sum over the fused graph. A
        branch says nothing (0) where its set is absent."""
        cfg = self.config.head
        logits = {m: counts[m] * (raw[m] @ w - offset) for m, (w, offset) in branches.items()}
        head = BranchHead(layers=0, relations=False, mix=cfg.mix, whole=cfg.whole, name="head")
        total, parts = head(fused, logits, mask, None, train=train)
        return total, {f"branch/{name}": z for name, z in parts.items()}

    def related_videos(
        self, raw: Arrays, counts: Confident, train: bool
    ) -> tuple[jax.Array | float, Arrays]:
        """(what the bank of training units says of each unit, times its share [N]; aux for writing
        the bank). 0 in training, and while the bank is empty."""
        cfg = self.config.bank
        there = self.is_initializing() or self.has_variable(video_bank.COLLECTION, "keys")
        if not cfg.modality or not there:  # the model without what training wrote
            return 0.0, {}
        width, found = raw[cfg.modality].shape[-1], {}
        for name, value in video_bank.empty(cfg.units, width)._asdict().items():
            kept = self.variable(video_bank.COLLECTION, name, jnp.asarray, value, jnp.float32)
            found[name] = kept.value
        described = counts[cfg.modality] > video_bank.DESCRIBED
        keys = video_bank.unit_vectors(jnp.where(described[:, None], raw[cfg.modality], 0.0))
        if train:
            return 0.0, {video_bank.KEYS: keys}
        said, any_known = video_bank.said_of_like(video_bank.Bank(**found), keys, cfg.sharpness)
        # of a unit that is not described, what a branch says there
        absent = self.config.head.absent
        silent = logit_of(absent) if absent > 0 else 0.0
        said = jnp.where(described, said, silent)
        self.tell(bank_keys=keys, bank_says=said, described=described)
        return jnp.where(any_known, cfg.share * said, 0.0), {}

    @nn.nowrap
    def after_step(self, variables: Mapping[str, Any], given: LossInputs) -> Mapping[str, Any]:
        """The collections that a step of training writes, as they are after it (step.py): the bank
        of training units."""
        if video_bank.KEYS not in given.output.aux:
            return {}
        bank = video_bank.Bank(**variables[video_bank.COLLECTION])
        keys, logits = given.output.aux[video_bank.KEYS], given.output.logits
        bank = video_bank.written(bank, keys, logits, given.batch, given.axis_name)
        return {video_bank.COLLECTION: bank._asdict()}

    def related_events(self, raw: Arrays, counts: Confident, train: bool) -> jax.Array | float:
        """What events in words say of each unit, times their share [N]; 0 of a unit that is not
        described, and in training."""
        cfg = self.config.events
        if not cfg.modality:
            return 0.0
        own = next(m for m in self.modalities if m.name == cfg.modality)
        kind = described_events.kinds(cfg)
        start = own.events or ((0.0,) * own.width,) * len(kind)
        events = self.variable("constants", "events", jnp.asarray, start, jnp.float32).value
        if train:
            return 0.0
        keys = video_bank.unit_vectors(self.as_given(cfg.modality, raw[cfg.modality]))
        said = described_events.said_by_events(keys, events, jnp.asarray(kind), cfg.sharpness)
        found = jnp.where(counts[cfg.modality] > video_bank.DESCRIBED, cfg.share * said, 0.0)
        self.tell(events_say=found)
        return found
