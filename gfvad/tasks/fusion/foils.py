"""What graph fusion is compared with: feature-level fusion behind the same interface, trained by
the same loop and losses.

    features {m: [N, D_m]}, mask [N] -> content path (content.py, the graph detector's own) ->
    fusion -> perceptron -> Output without graph

Only the fusion differs from the graph detector: z_m [N, H] is the embedding of a unit in modality m
times c_m [N], what the unit counts there (0 where it is absent, 1 where it counts wholly). How each
kind treats an absent modality:

concat           zeros in its place
add              adds nothing
product          the factor 1, so that one silent modality does not silence the others
gated            gate 0, and the other gates sum to 1
bilinear         the factor 1, as in product
cross_attention  is attended to by nobody and takes up nothing itself; then as concat
mtn_concat/_add  gives zeros (neighbours in time see its unit as zeros); then as concat or add
transformer      gives zeros in its place; then as concat, with time, through two layers
late             its logit is that of model.head.absent (0: the branch's own constant)

With one modality every kind is allowed: add, product, gated and cross_attention are then the plain
network, which is concat of one. No kind but the multi-scale temporal networks and the transformer
knows the order of units. Padded units never reach a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.nn.blocks import Attention, Block
from gfvad.nn.temporal_conv import TemporalConv
from gfvad.tasks.fusion.content import Arrays, Confident, ContentModel
from gfvad.tasks.fusion.heads import branch_logits, logit_of

NETWORKS = ("mtn_concat", "mtn_add")
TEMPORAL = (*NETWORKS, "transformer")  # that know the order of units
KINDS = ("concat", "add", "product", "gated", "bilinear", "cross_attention", *TEMPORAL, "late")
LAYERS = 2  # of the transformer
LONGEST = 10_000.0  # wavelength of its slowest place, over 2 pi units
DILATIONS = (1, 2, 4)  # of MTN, in units
# channels of a branch of MTN where its width is not given: LayerNorm of fewer keeps little more
# than signs
LEAST_WIDTH = 8
# attention logit of a key that nobody may see; finite, so that a row without any other gives no NaN
HIDDEN_KEY = -1e9
TINY = 1e-30  # divisor of a sum of gates that are all 0


class FeatureFusion(ContentModel):
    """Feature-level fusion of any number of modalities by config.model.foil.kind.

    Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'.
    """

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux).

        aux, of the kind late: 'branch/m' [N], the logits of each modality. Raises DataError where
        features are not those the model was built for.
        """
        self.check_shapes(features, mask)
        # {m: [N, D_m]}, {m: [N]}
        raw, _, counts = self.standardise_features(features, mask, train)
        # {m: [N, H]}
        content = self.embed_content(raw, counts, {}, train)
        aux = {}
        if self.config.foil.kind == "late":
            logits, aux = self.late(content, counts)
        else:
            logits = self.perceptron(self.fuse(content, counts, mask), train)
        hide = lambda z: jnp.where(mask, z, 0.0)
        none = jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype)
        return Output(hide(logits), none, {f"branch/{m}": hide(z) for m, z in aux.items()})

    def fuse(self, content: Arrays, counts: Confident, mask: jax.Array) -> jax.Array:
        """Embeddings {m: [N, H]} of all modalities -> one a unit [N, F]."""
        cfg, kind = self.config.foil, self.config.foil.kind
        if kind == "cross_attention":
            content = CrossAttention(cfg.heads, name="cross")(content, counts)
        if kind in NETWORKS:
            networks = {m: TemporalNetwork(cfg.width, name=f"mtn_{m}") for m in content}
            content = {m: networks[m](z, counts[m], mask) for m, z in content.items()}
        if kind in ("add", "mtn_add"):
            return jnp.asarray(sum(content.values()))
        if kind == "product":
            return product(content, counts)
        if kind == "gated":
            return GatedSum(name="gates")(content, counts)
        if kind == "bilinear":
            return LowRankBilinear(cfg.rank, name="bilinear")(content, counts)
        if kind == "transformer":
            return Transformer(cfg.heads, name="transformer")(content, counts, mask)
        return jnp.concatenate(list(content.values()), -1)

    def perceptron(self, fused: jax.Array, train: bool) -> jax.Array:
        """[N, F] -> logits [N]; a unit without content starts at the logit of model.head.prior."""
        hidden = nn.gelu(nn.Dense(self.config.foil.hidden, name="hidden")(fused))
        drop = nn.Dropout(self.config.dropout, deterministic=not train, name="drop_hidden")
        hidden = drop(hidden)
        return nn.Dense(1, bias_init=self.prior_logit(), name="logit")(hidden)[:, 0]

    def late(self, content: Arrays, counts: Confident) -> tuple[jax.Array, Arrays]:
        """Late fusion: (gated sum of the logits of the modalities [N], those logits {m: [N]}).

        A dense layer a modality, trained by its own losses (loss.branch, and those of units) alone:
        no gradient of the sum reaches it. That is the head `branches` with detach, without graphs:
        no gnn, no relations, nothing diffused. Gates: model.head.gates, () is 1 each.
        """
        branches = branch_logits(content, counts, self.config.head.prior, self.config.head.absent)
        gates = self.config.head.gates or (1.0,) * len(branches)
        parts = jax.lax.stop_gradient(branches)
        z = sum(gate * z for gate, z in zip(gates, parts.values()))
        return z + self.param("bias", nn.initializers.zeros, ()), branches

    def prior_logit(self) -> nn.initializers.Initializer:
        """Where the bias of a logit starts."""
        return nn.initializers.constant(logit_of(self.config.head.prior))


def product(factors: Arrays, counts: Confident) -> jax.Array:
    """Element-wise product over modalities with the neutral element 1 where one is absent: {m: [N,
    F]}, {m: [N]} -> [N, F].

    prod_m (x_m + 1 - c_m) - prod_m (1 - c_m), where x_m is 0 for c_m = 0: the product of those that
    are there, 0 where none is, and x of a single modality; in between it is continuous in what a
    unit counts (ours; with c = 1 the plain product).
    """
    rest = [1.0 - counts[m][:, None] for m in factors]
    whole = reduce(jnp.multiply, [x + r for x, r in zip(factors.values(), rest)])
    return whole - reduce(jnp.multiply, rest)


class GatedSum(nn.Module):
    """sum_m g_m z_m with gates from all embeddings, g = softmax over modalities, weighted by what a
    unit counts in each.

    g_m = c_m exp(l_m) / sum_k c_k exp(l_k), l = dense([z_1 .. z_M]) [N, M]. After the gated
    multimodal unit (Arevalo et al. 2017), with one gate a modality.
    """

    @nn.compact
    def __call__(self, content: Arrays, counts: Confident) -> jax.Array:
        """{m: [N, H]}, {m: [N]} -> [N, H]."""
        # [N, M]
        weight = jnp.stack([counts[m] for m in content], -1)
        logits = nn.Dense(len(content), name="gate")(jnp.concatenate(list(content.values()), -1))
        there = weight > 0
        largest = jax.lax.stop_gradient(jnp.where(there, logits, -jnp.inf).max(-1, keepdims=True))
        gates = weight * jnp.exp(jnp.where(there, logits - largest, 0.0))
        gates = gates / jnp.maximum(gates.sum(-1, keepdims=True), TINY)
        # [N, M, H] -> [N, H]
        return (gates[..., None] * jnp.stack(list(content.values()), 1)).sum(1)


class LowRankBilinear(nn.Module):
    """Low-rank bilinear pooling of any number of modalities, prod_m tanh(U_m z_m + b_m) where all
    are there.

    Kim et al. 2017, Hadamard product for low-rank bilinear pooling, with its tanh; the output
    projection P is the perceptron's first layer. A modality that counts c is the factor c tanh(U z
    + b) + 1 - c, so 1 where it is absent, see `product`.
    """

    rank: int  # F

    @nn.compact
    def __call__(self, content: Arrays, counts: Confident) -> jax.Array:
        """{m: [N, H]}, {m: [N]} -> [N, rank]."""
        factors = {
            m: counts[m][:, None] * jnp.tanh(nn.Dense(self.rank, name=f"project_{m}")(z))
            for m, z in content.items()
        }
        return product(factors, counts)


class CrossAttention(nn.Module):
    """Each modality's units attend to the units of all other modalities of the same video, with a
    residual path.

    Multi-head attention of Vaswani et al. 2017, across modalities as in MACIL-SD, for any number of
    them: y_m,i = z_m,i + c_m,i attention(z_m,i; {z_k,j, k != m}), with attention weights in
    proportion to c_k,j exp(q k / sqrt d).
    """

    heads: int

    @nn.compact
    def __call__(self, content: Arrays, counts: Confident) -> Arrays:
        """{m: [N, H]}, {m: [N]} -> {m: [N, H]}; unchanged where there is one modality."""
        if len(content) == 1:
            return content
        out = {}
        for m, z in content.items():
            others = [k for k in content if k != m]
            # [(M - 1) N, H], [(M - 1) N]
            keys, weight = (jnp.concatenate([x[k] for k in others]) for x in (content, counts))
            there = weight > 0
            bias = jnp.where(there, jnp.log(jnp.where(there, weight, 1.0)), HIDDEN_KEY)
            # [1, N, (M - 1) N]
            bias = jnp.broadcast_to(bias, (1, z.shape[0], keys.shape[0]))
            found = Attention(self.heads, name=f"attend_{m}")(z, keys, bias)
            out[m] = z + counts[m][:, None] * jnp.where(there.any(), found, 0.0)
        return out


class TemporalNetwork(nn.Module):
    """Multi-scale temporal network of one modality (RTFM; Tian et al. 2021, section 3.2), on unit
    embeddings.

    Three dilated convolutions (kernel 3, dilations 1, 2, 4) beside a 1x1 convolution with a
    non-local block (no softmax, divided by the number of units), side by side into a convolution of
    kernel 3, with a residual path. Of the published network two things differ: LayerNorm stands
    where it has batch normalisation, since a model here sees one video at a time and keeps no batch
    statistics; and what it adds to a unit is times what the unit counts, so that an absent modality
    stays zero.
    """

    width: int = 0  # channels of each of the four branches; 0: a quarter of H, at least LEAST_WIDTH

    @nn.compact
    def __call__(self, x: jax.Array, counts: jax.Array, mask: jax.Array) -> jax.Array:
        """Embeddings [N, H] in the order of time, what units count [N], mask bool [N] -> [N, H]."""
        hide = lambda y: jnp.where(mask[:, None], y, 0.0)
        units, width = x.shape[-1], self.width or max(x.shape[-1] // 4, LEAST_WIDTH)
        x = hide(x)
        # [N, width] each; units beyond either end, and padded ones, are zeros
        scales = [nn.relu(TemporalConv(width, 3, d, d, name=f"dilated_{d}")(x)) for d in DILATIONS]
        scales = [hide(nn.LayerNorm(name=f"norm_{d}")(y)) for d, y in zip(DILATIONS, scales)]
        whole = nn.relu(nn.Dense(width, use_bias=False, name="reduce")(x))
        # [N, 4 width] -> [N, H]
        joined = jnp.concatenate([*scales, hide(self.non_local(whole, mask))], -1)
        update = nn.relu(TemporalConv(units, 3, 1, use_bias=False, name="join")(joined))
        update = nn.LayerNorm(name="norm")(update)
        return hide(x + counts[:, None] * update)

    def non_local(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """x + norm(W (theta(x) phi(x)^T / n) g(x)), n real units: [N, C] -> [N, C] (Wang et al.
        2018, dot product).

        It starts as the identity, as the published block does.
        """
        inner = max(x.shape[-1] // 2, 1)
        query, key, value = (nn.Dense(inner, name=name)(x) for name in ("theta", "phi", "g"))
        # [N, N]
        affinity = jnp.where(mask[None, :], query @ key.T, 0.0) / jnp.maximum(mask.sum(), 1)
        gathered = nn.Dense(x.shape[-1], name="w")(affinity @ value)
        return x + nn.LayerNorm(scale_init=nn.initializers.zeros, name="norm_w")(gathered)


def places(count: int, width: int) -> jax.Array:
    """Sines and cosines of the place of a unit, [N, F] (Vaswani et al. 2017, section 3.5; sines
    first)."""
    steps = jnp.arange((width + 1) // 2) / max((width + 1) // 2, 1)
    angle = jnp.arange(count)[:, None] / LONGEST**steps
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)[:, :width]


class Transformer(nn.Module):
    """The embeddings of all modalities side by side, with their places in time, through two layers
    of self-attention over the units of the video (Vaswani et al. 2017, pre-norm). A unit without
    any modality has no place either, and nobody attends to it."""

    heads: int

    @nn.compact
    def __call__(self, content: Arrays, counts: Confident, mask: jax.Array) -> jax.Array:
        """{m: [N, H]}, {m: [N]}, mask bool [N] -> [N, M H]."""
        x = jnp.concatenate(list(content.values()), -1)
        there = mask & (sum(counts.values()) > 0)
        x = jnp.where(there[:, None], x + places(*x.shape), 0.0)
        # [heads, N, N]
        bias = jnp.broadcast_to(
            jnp.where(there, 0.0, HIDDEN_KEY), (self.heads, x.shape[0], x.shape[0])
        )
        for layer in range(LAYERS):
            x = Block(self.heads, name=f"layer_{layer}")(x, bias)
        return nn.LayerNorm(name="norm")(x)
