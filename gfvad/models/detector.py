"""The detector: features of one video -> filter -> relationship graphs -> fusion operator -> head -> Output.

Every stage is one method, in the order of docs/architecture.md. One video at a time; steps vmap it over B, and nothing in it
couples videos. A unit whose raw features in a modality are all zero (a silent second, a missing modality, padding) is *absent*
there: it stays zero through standardisation and filter, so its relations in that modality are 0 and it enters no statistic.
"""
from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from gfvad.fusion.operator import FusionOperator
from gfvad.graphs.relations import relationship_graph, temporal
from gfvad.models.filter import SparseFeatureFilter
from gfvad.models.heads import BranchHead, DegreeHead, GnnHead, RowHead
from gfvad.types import DataError, Output

MIN_STD = 1e-6  # a constant feature is not divided by its standard deviation
NORM_EPSILON = 1e-12  # keeps the gradient of the residual norm finite at 0

Arrays = dict[str, jax.Array]
Confident = Mapping[str, jax.Array]  # modality -> [N], how much a unit counts in it: 0 absent, 1 wholly


class Modality(NamedTuple):
    """A feature set and its constant statistics over the training split (tuples, so that a module stays hashable)."""

    name: str
    width: int  # D
    mean: tuple[float, ...] = ()  # [D]; () where unknown yet: restored with the parameters
    std: tuple[float, ...] = ()  # [D]


def direction(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features whose length says how much they count -> (unit vectors [N, D], lengths [N] in [0, 1]); zeros stay zeros, with finite gradients."""
    squared = jnp.square(x).sum(-1)
    length = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return x / jnp.where(squared > 0, length, 1.0)[:, None], jnp.minimum(length, 1.0)


def standardise(x: jax.Array, mask: jax.Array, mean: jax.Array, std: jax.Array, mode: str) -> tuple[jax.Array, jax.Array]:
    """Takes the mean [D] (`center`), and divides by the deviation [D] (`standardize`), of present units; the others become 0.

    x [N, D], mask bool [N] -> (x [N, D], present bool [N]: real, with a feature that is not 0). mode `none` changes no value.
    """
    x = jnp.where(mask[:, None], x, 0.0)
    present = mask & (x != 0).any(-1)
    if mode != "none":
        x = x - mean
    if mode == "standardize":
        x = x / jnp.where(std > MIN_STD, std, 1.0)
    return jnp.where(present[:, None], x, 0.0), present


class GraphFusionDetector(nn.Module):
    """Graph fusion of any number of modalities, with the sparse feature filter as an option (graph_fusion 1 - 6).

    Collections: 'params', and 'constants' (feature statistics, never trained). Random streams: 'dropout', and 'pair' where
    model.fusion.graphs is random_pair.
    """

    config: FrozenConfigDict  # config.model
    modalities: tuple[Modality, ...] = dataclasses.field(repr=False)
    standardize: str = "center"  # config.data.standardize
    units: int = 0  # N, which the row head is bound to; others ignore it

    @nn.compact
    def __call__(self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [G, N, N], aux).

        aux, where filters are on: 'balance' [] (sum over modalities), 'usage/m' [E], 'router_entropy/m' [],
        'reconstruction' [N] (squared error of filtered against raw features, mean over D, summed over modalities).
        Raises DataError where features are not those the model was built for.
        """
        self.check_shapes(features, mask)
        # {m: [N, D_m]}, {m: bool [N]}, {m: [N]}
        raw, present, counts = self.standardise_features(features, mask)
        # {m: [N, D_m]} of the filtered modalities
        filtered, aux = self.filter_features(raw, present)
        residual = {m: raw[m] - y for m, y in filtered.items()}
        # [M, N, N]
        graphs = self.relation_graphs({"raw": raw, "filtered": filtered, "residual": residual}, mask)
        # [G, N, N]
        fused = FusionOperator(self.config.fusion, self.config.expansion, name="fusion")(graphs, mask, train=train)
        # [N]
        logits, branches = self.unit_logits(fused, raw, counts, residual, mask, train)
        return Output(logits, fused, aux | {f"branch/{name}": z for name, z in branches.items()})

    def check_shapes(self, features: Mapping[str, jax.Array], mask: jax.Array) -> None:
        """Refuses features of other modalities or widths than the model was built for."""
        expected = {m.name: (mask.shape[0], m.width) for m in self.modalities}
        found = {name: tuple(x.shape) for name, x in features.items()}
        if any(found.get(name) != shape for name, shape in expected.items()):
            raise DataError(
                f"features are {found}, the model was built for {expected} ([N, D]): give every modality of data.modalities at its width"
            )

    def standardise_features(self, features: Mapping[str, jax.Array], mask: jax.Array) -> tuple[Arrays, Arrays, Confident]:
        """All modalities with the constants of the training split: ({m: [N, D]}, {m: present bool [N]}, {m: how much a unit counts [N]})."""
        raw, present, counts = {}, {}, {}
        for name, width, mean, std in self.modalities:
            mean = self.variable("constants", f"mean_{name}", lambda m=mean, d=width: jnp.asarray(m or (0.0,) * d, jnp.float32)).value
            std = self.variable("constants", f"std_{name}", lambda s=std, d=width: jnp.asarray(s or (1.0,) * d, jnp.float32)).value
            x, length = jnp.where(mask[:, None], features[name], 0.0), 1.0
            if name in self.config.confidence:
                x, length = direction(x)
            raw[name], present[name] = standardise(x, mask, mean, std, self.standardize)
            counts[name] = jnp.where(present[name], length, 0.0)
        return raw, present, counts

    def filter_features(self, raw: Arrays, present: Arrays) -> tuple[Arrays, dict[str, Any]]:
        """Sparse feature filter of the modalities that have one: ({m: [N, D]}, aux)."""
        cfg = self.config.filter
        filtered, aux = {}, {}
        for m in (m.name for m in self.modalities if m.name in cfg.modalities):
            module = SparseFeatureFilter(cfg.experts, cfg.topk, cfg.bottleneck, cfg.scale, name=f"filter_{m}")
            filtered[m], stats = module(raw[m], present[m])
            aux[f"usage/{m}"], aux[f"router_entropy/{m}"] = stats.usage, stats.router_entropy
            aux["balance"] = aux.get("balance", 0.0) + stats.balance
            aux["reconstruction"] = aux.get("reconstruction", 0.0) + jnp.square(raw[m] - filtered[m]).mean(-1)
        return filtered, aux

    def relation_graphs(self, sets: Mapping[str, Arrays], mask: jax.Array) -> jax.Array:
        """One graph for each chosen feature set of each modality, then the temporal one: [M, N, N]."""
        cfg = self.config.relation
        graphs = [self.relation_graph(source, m, x, mask) for source in cfg.sources for m, x in sets[source].items()]
        if cfg.temporal_tau > 0:
            graphs.append(temporal(mask, cfg.temporal_tau))
        return jnp.stack(graphs)

    def relation_graph(self, source: str, modality: str, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Relationship graph of one feature set, [N, D] -> [N, N], with its learned projection and rbf width where configured."""
        cfg = self.config.relation
        width = x.shape[-1]
        if cfg.projection > 0:
            # no bias: an absent unit must stay zero
            x = nn.Dense(cfg.projection, use_bias=False, name=f"projection_{source}_{modality}")(x)
        if cfg.similarity != "rbf" or cfg.sigma >= 0:
            return relationship_graph(x, mask, cfg)
        # learnt as a logarithm, so that it stays positive; the initial projection keeps the variance of a feature
        distance = self.typical_distance(modality) * math.sqrt(x.shape[-1] / width)
        log_sigma = self.param(f"log_sigma_{source}_{modality}", nn.initializers.constant(math.log(distance)), ())
        return relationship_graph(x, mask, cfg, jnp.exp(log_sigma))

    def typical_distance(self, modality: str) -> float:
        """Root mean square distance of two independent training units, sqrt(2 sum_d std_d^2): where a learnt rbf width starts."""
        width, std = next((m.width, m.std) for m in self.modalities if m.name == modality)
        known = std if std and self.standardize != "standardize" else (1.0,) * width
        return math.sqrt(2.0 * max(sum(s * s for s in known), MIN_STD))

    def unit_logits(
        self, fused: jax.Array, raw: Arrays, counts: Confident, residual: Arrays, mask: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """(logits [N], those of each branch). The row and degree heads see graphs only, as in the paper; gnn and branches see content too."""
        cfg = self.config.head
        if cfg.kind == "row":
            return RowHead(self.units, name="head")(fused, mask), {}
        if cfg.kind == "degree":
            return DegreeHead(cfg.hidden, cfg.alpha, cfg.topk, name="head")(fused, mask), {}
        content = self.embed_content(raw, counts, residual, train)
        size = (cfg.hidden, cfg.layers, cfg.alpha, cfg.topk, self.config.dropout)
        if cfg.kind == "branches":
            branches = BranchHead(*size, cfg.relations, tuple(cfg.gates), cfg.detach, cfg.mix, cfg.prior, name="head")
            return branches(fused, content, mask, train=train)
        return GnnHead(*size, name="head")(fused, jnp.concatenate(list(content.values()), -1), mask, train=train), {}

    def embed_content(self, raw: Arrays, counts: Confident, residual: Arrays, train: bool) -> Arrays:
        """Unit embeddings {m: [N, embed_dim]} of every modality, and {m residual: [N, 1]}, residual norms of the filtered ones.

        Each is times what its unit counts: 0 where absent, so that the logit of a fading unit goes to the branch's own constant.
        """
        parts = {}
        for m, x in raw.items():
            x = nn.Dropout(self.config.input_dropout, deterministic=not train)(x)
            # [N, H]
            x = nn.gelu(nn.LayerNorm(name=f"norm_{m}")(nn.Dense(self.config.embed_dim, name=f"embed_{m}")(x)))
            x = nn.Dropout(self.config.dropout, deterministic=not train)(x)
            parts[m] = counts[m][:, None] * x
        for m, x in residual.items():
            # [N, 1]: root mean square, so that it does not grow with D
            norm = jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + NORM_EPSILON)
            parts[f"{m}_residual"] = counts[m][:, None] * norm
        return parts
