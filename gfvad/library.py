"""What `import gfvad` offers to other people's code. From two arrays of features to graphs, a fused
graph and scores, inside a Flax model of your own:

    class Scorer(nn.Module):
        @nn.compact
        def __call__(self, video, sound):  # [B, N, D_video], [B, N, D_sound]
            graphs = [gfvad.relation(video), gfvad.relation(sound)]  # each [B, N, N]
            fused = gfvad.FusionOperator(order=4, channels=8)(graphs)  # [B, 8, N, N]
            return nn.sigmoid(nn.Dense(1)(fused.mean(-1).swapaxes(-1, -2)))[..., 0]  # [B, N]

All of it is the code that this project's own models run, to the bit; it works under jit, vmap and
grad. N are the units of a video (snippets, frames, patches, tokens). `mask` is True at real units,
[N] or [..., N]; where it is left out, all units are real. Rows and columns of padded units come out
exactly 0. Values without a meaning raise `gfvad.ConfigError`, with the project's name for the
setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.errors import ConfigError as ConfigError
from gfvad.base.errors import DataError as DataError
from gfvad.fusion import operator
from gfvad.fusion.coefficients import starting_values
from gfvad.graphs.expansion import expanded, real_pairs
from gfvad.graphs.relations import has_width, relationship_graph
from gfvad.nn import filter as filters
from gfvad.settings.kinds import default_config

if TYPE_CHECKING:
    from gfvad.measure.score_result import VideoScores
    from gfvad.tasks.scoring import Scorer

Graphs = jax.Array | Sequence[jax.Array]


DEFAULTS = default_config().model


def _settings(group: str, **changes: Any) -> Any:
    """A group of `config.model`, every other setting at its default."""
    return SimpleNamespace(**(DEFAULTS[group].to_dict() | changes))


def relation(
    x: jax.Array,
    kind: str = "cosine",
    mask: jax.Array | None = None,
    *,
    sigma: jax.Array | float | None = None,
    threshold: float = -1.0,
    neighbours: int = 0,
) -> jax.Array:
    """Relationship graphs of features: x [..., N, D] -> [..., N, N], how alike the units are.

    kind: cosine [-1, 1], cosine01 [0, 1], rbf (0, 1], or one of `register_relation`. sigma: width
    of rbf, in units of x; None takes the median distance of each video; an array may be learnt.
    threshold: relations below it are set to 0. neighbours: keeps the edges to the nearest ones of
    each unit; 0 keeps all. A unit of zeros is related to nothing. Raises ConfigError for an unknown
    kind, or a width of a kind that has none.

        x = jax.random.normal(jax.random.key(0), (8, 32, 128))  # 8 videos, 32 units
        graph = gfvad.relation(x)  # [8, 32, 32]
        sparse = gfvad.relation(x, "rbf", sigma=2.0, neighbours=5)
    """
    if sigma is not None and not has_width(kind):
        raise ConfigError(f"relation: kind {kind!r} has no width; leave sigma out")
    width, chosen = 0.0 if sigma is None else -1.0, {"threshold": threshold, "knn": neighbours}
    settings = _settings("relation", similarity=kind, sigma=width, **chosen)
    return _each(lambda x, mask: relationship_graph(x, mask, settings, sigma), x, 2, mask)


def expand(
    graph: jax.Array,
    kind: str = "hadamard",
    order: int = 4,
    mask: jax.Array | None = None,
    *,
    zeroth: str = "ones",
    restart: float = 0.15,
) -> jax.Array:
    """Families of graphs: [..., N, N] -> [..., order + 1, N, N], R^(0) to R^(order).

    kind: hadamard (powers of each relation), walk (relations over p hops), diffusion (the same with
    the probability `restart` of starting anew), or one of `register_expansion`. zeroth: R^(0) of
    hadamard, "ones" or "identity". Raises ConfigError for an unknown kind.

        terms = gfvad.expand(gfvad.relation(x), "walk", order=3)  # [8, 4, 32, 32]
    """
    if order < 0:
        raise ConfigError(f"expand: order is {order}; expected 0 or more")
    settings = _settings("expansion", kind=kind, order=order, zeroth=zeroth, restart=restart)
    return _each(lambda r, mask: expanded(r, mask, settings), graph, 2, mask)


def fuse(
    graphs: Graphs,
    coefficients: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    form: str = "cp",
    expansion: str = "hadamard",
    order: int | None = None,
) -> jax.Array:
    """One graph of several, by given coefficients: M graphs (a list of [..., N, N], or one array
    [..., M, N, N]) -> [..., N, N].

    form: cp, sum_r prod_m sum_p a[r, m, p] R_m^(p) with coefficients [r, M, P + 1]; full, of two
    graphs, sum_pq A[p, q] R_1^(p) R_2^(q) with [P + 1, P + 1]; outer, cp of rank 1; or one of
    `register_fusion`. None takes what a fresh operator starts near: a mixture of the graphs and
    their product. order: P; None takes it from the last axis of the coefficients, or 4. Raises
    ConfigError where coefficients do not fit. To learn them: `FusionOperator`.

        a = jnp.ones((1, 2, 3)) / 3  # rank 1, two graphs, order 2
        fused = gfvad.fuse([gfvad.relation(x), gfvad.relation(y)], a)  # [8, 32, 32]
    """
    stack = _stacked(graphs)
    count, rank = stack.shape[-3], DEFAULTS.fusion.rank
    given = None if coefficients is None else jnp.asarray(coefficients)
    if given is not None and given.ndim:
        order = given.shape[-1] - 1 if order is None else order
        rank = given.shape[0] if given.ndim == 3 else rank
    order = DEFAULTS.expansion.order if order is None else order
    family = _settings("expansion", kind=expansion, order=order)
    fusion = _settings("fusion", form=form, rank=rank)
    operator.check_fusion(fusion, family, count)
    diagonal = operator.has_diagonal_zeroth(family)
    (start,) = starting_values(fusion, family.order, count, diagonal)
    used = jnp.asarray(start, jnp.float32) if given is None else given
    if used.shape != start.shape:
        raise ConfigError(
            f"fuse: coefficients {used.shape} of form {form!r} for {count} graphs, order"
            f" {family.order}; expected {start.shape}"
        )
    return _fused(used[None], stack, mask, fusion, family)[..., 0, :, :]


class FusionOperator(nn.Module):
    """The learnable graph fusion operator: M graphs -> `channels` fused graphs.

        operator = gfvad.FusionOperator(order=4, channels=2)
        graphs = [gfvad.relation(x), gfvad.relation(y)]  # each [B, N, N]
        params = operator.init(jax.random.key(0), graphs)
        fused = operator.apply(params, graphs)  # [B, 2, N, N]

    One parameter array serves all videos: `a` [channels, rank, M, order + 1] of form cp, `A`
    [channels, order + 1, order + 1] of form full. Paper: "Learnable Expansion of Graph Operators"
    (ICLR 2025).
    """

    order: int = DEFAULTS.expansion.order  # P, highest power of a graph
    form: str = DEFAULTS.fusion.form  # cp | full and outer (of two graphs) | one of register_fusion
    rank: int = DEFAULTS.fusion.rank  # r of cp
    parametrisation: str = DEFAULTS.fusion.parametrisation  # free | nonneg | simplex
    start: str = DEFAULTS.fusion.start  # mean | minterms (free cp: products of R_m and 1 - R_m)
    channels: int = DEFAULTS.fusion.channels  # fused graphs
    expansion: str = (
        DEFAULTS.expansion.kind
    )  # hadamard | walk | diffusion | one of register_expansion

    @nn.compact
    def __call__(self, graphs: Graphs, mask: jax.Array | None = None) -> jax.Array:
        """M graphs, a list of [..., N, N] or one array [..., M, N, N] -> [..., channels, N, N].
        Raises ConfigError for settings that cannot work on so many graphs."""
        stack = _stacked(graphs)
        keys = ("form", "rank", "parametrisation", "start", "channels")
        fusion = _settings("fusion", **{key: getattr(self, key) for key in keys})
        family = _settings("expansion", kind=self.expansion, order=self.order)
        coefficients = operator.own_coefficients(self, stack.shape[-3], fusion, family)
        return _fused(coefficients, stack, mask, fusion, family)


class SparseFeatureFilter(filters.SparseFeatureFilter):
    """A mixture of narrow experts that keeps what its bottlenecks can carry: x [..., N, D] ->
    (y [..., N, D], statistics). There is no residual path: x - y is what was filtered out.

        filtered, stats = gfvad.SparseFeatureFilter(experts=15, topk=4)(x)
        loss = loss + 0.001 * stats.balance.mean()  # keeps all experts in use

    Fields: experts (routed ones), topk (kept for a unit), bottleneck (width), scale (of the
    router's weights), form (how experts are evaluated: auto, loop, folded, grouped, blocks; all
    give the same numbers). Source: MemoryOut / SFN-VAD. Raises ConfigError where topk > experts.
    """

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> Any:
        """x [..., N, D] -> (y of the same shape, FilterStats with the leading axes of x)."""
        call = nn.vmap(
            filters.SparseFeatureFilter.__call__,
            variable_axes={"params": None, "routing": 0},
            split_rngs={"params": False},
        )
        one = filters.SparseFeatureFilter.__call__
        return _each(lambda *pair: one(self, *pair), x, 2, mask, lambda *pairs: call(self, *pairs))


def load(model: str | Path, checkpoint: str = "last") -> Scorer:
    """A trained model, of a run's folder or an artefact's, ready for `score`: its name, threshold
    (a score from which on it is an alarm) and contributors (modalities or terms).

    checkpoint: of a run, last, best or a step. Raises DataError and ConfigError where the folder is
    neither, or cannot be used.

        model = gfvad.load("runs/xd")
        scores = gfvad.score(model, {"rgb": rgb, "audio": audio})  # each [N, D] -> [N]
        alarms = gfvad.score(model, "film.mp4").score >= model.threshold
    """
    from gfvad.tasks import task_of_folder

    path = Path(model).expanduser()
    return task_of_folder(path).open_scorer(path, checkpoint)


def score(
    model: Scorer | str | Path,
    inputs: Mapping[str, np.ndarray] | str | Path,
    descriptions: str | Path = "",
) -> np.ndarray | VideoScores:
    """Scores of one video, by a model of `load` or its folder.

    inputs: features {modality: [N, D]} -> float64 [N], the scores of the N units (a modality that
    is left out counts as absent; a model that knows time needs 'clock' [N], in seconds); or a video
    file (its features are extracted by the encoders of training) -> VideoScores, whose `start`,
    `end` (seconds) and `score` are [N]. descriptions: JSON lines, for a model that reads text.
    Raises DataError where a video cannot be scored, ConfigError for features of a model that reads
    frames.
    """
    from gfvad.tasks.scoring import Request

    scorer = load(model) if isinstance(model, (str, Path)) else model
    if isinstance(inputs, Mapping):
        return scorer.score("video", inputs)["scores"]
    with TemporaryDirectory(prefix="gfvad-") as folder:
        texts, out = str(descriptions), Path(folder)
        request = Request(Path(scorer.path), (str(inputs),), out, descriptions=texts)
        given = scorer.find(request, lambda names: None)
        for path, reason in given.failed:
            raise DataError(f"{path}: {reason}")
        if len(given.videos) != 1:
            raise DataError(f"{inputs}: {len(given.videos)} videos; expected one")
        return given.videos[0].score()


def _each(
    function: Callable[..., Any],
    x: jax.Array,
    axes: int,
    mask: jax.Array | None,
    batched: Callable[..., Any] | None = None,
) -> Any:
    """function(x, mask) over all axes before the last `axes`, of which the last but one is N."""
    x = jnp.asarray(x)
    if x.ndim < axes:
        raise ConfigError(f"an array of shape {x.shape}; expected {axes} axes or more, [..., N, *]")
    lead, units = x.shape[: x.ndim - axes], x.shape[-2]
    real = jnp.ones(units, bool) if mask is None else jnp.asarray(mask, bool)
    if real.shape[-1:] != (units,) or real.shape[:-1] not in ((), lead):
        raise ConfigError(f"mask {real.shape}; expected {(units,)} or {(*lead, units)}")
    if not lead:
        return function(x, real)
    real = jnp.broadcast_to(real, (*lead, units)).reshape(-1, units)
    found = (batched or jax.vmap(function))(x.reshape(-1, *x.shape[len(lead) :]), real)
    return jax.tree.map(lambda y: y.reshape(*lead, *y.shape[1:]), found)


def _stacked(graphs: Graphs) -> jax.Array:
    """A list of M graphs [..., N, N], or one array of them -> [..., M, N, N]."""
    listed = isinstance(graphs, (list, tuple))
    stack = jnp.stack([jnp.asarray(g) for g in graphs], -3) if listed else jnp.asarray(graphs)
    if stack.ndim < 3 or stack.shape[-1] != stack.shape[-2]:
        raise ConfigError(f"graphs of shape {stack.shape}; expected [..., M, N, N], or a list")
    return stack


def _fused(
    coefficients: jax.Array,
    graphs: jax.Array,
    mask: jax.Array | None,
    fusion: Any,
    family: Any,
) -> jax.Array:
    """Coefficients [G, ...] over graphs [..., M, N, N] -> [..., G, N, N]."""

    def one(graphs: jax.Array, mask: jax.Array) -> jax.Array:
        ready = operator.prepared(graphs, mask, fusion, family)
        found = operator.combined(coefficients, ready, fusion, family)
        return jnp.where(real_pairs(mask), found, 0.0)

    return _each(one, graphs, 3, mask)
