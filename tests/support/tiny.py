"""A problem small enough to train in a second, with every loss term and every kind of
randomness: used by the training tests."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from configs import common
from gfvad.base.types import Batch, Output, Video
from gfvad.tasks.fusion import registry

UNITS = 16
DIMS = {"rgb": 6, "audio": 3}
EXPERTS = 4


def config(**overrides: Any):
    """common.get_config() at the smallest sizes, every loss term on; overrides as
    train__steps=10."""
    c = common.get_config()
    c.data.modalities, c.data.train_units, c.data.eval_lengths, c.data.eval_batch_size = (
        tuple(DIMS),
        UNITS,
        (8, 16),
        4,
    )
    c.data.validation_fraction = 0.2
    c.loss.update(
        {
            "topk_divisor": 4,
            "label_smoothing": 0.05,
            "smoothness": 0.1,
            "sparsity": 0.1,
            "balance": 0.1,
        }
    )
    c.loss.update({"variance": 1e-3, "variance_alpha": 0.2, "variance_k": 3})
    c.train.update(
        {
            "steps": 12,
            "batch_size": 8,
            "log_every": 3,
            "eval_every": 4,
            "checkpoint_every": 3,
            "keep": 2,
        }
    )
    c.optim.warmup_steps = 3
    for key, value in overrides.items():
        group, name = key.split("__")
        c[group][name] = value
    return c


def detector(c):
    """The project's own detector at its smallest, with everything on that can be: filter,
    residual graphs, random pair, dropout."""
    c.model.update({"embed_dim": 4, "input_dropout": 0.1})
    c.model.head.update({"hidden": 4, "topk": 3})
    c.model.filter.update({"modalities": ("rgb",), "experts": EXPERTS, "topk": 2, "bottleneck": 2})
    (
        c.model.expansion.order,
        c.model.fusion.rank,
        c.model.fusion.graphs,
        c.model.relation.sources,
    ) = (2, 2, "random_pair", ("raw", "residual"))
    stats = {m: {"mean": np.full(d, 0.1), "std": np.ones(d)} for m, d in DIMS.items()}
    return registry.build_model(c, DIMS, stats)


class TinyDetector(nn.Module):
    """A linear detector with a learnt graph, routing, dropout and a random pair: all that a step
    has to handle."""

    dropout: float = 0.3

    @nn.compact
    def __call__(self, features, mask, *, train: bool) -> Output:
        scale = self.variable("constants", "scale", lambda: jnp.full((), 0.5)).value
        # [N, D]
        x = jnp.concatenate([features[name] for name in sorted(features)], -1) * scale
        x = nn.Dropout(self.dropout, deterministic=not train)(jnp.where(mask[:, None], x, 0.0))
        # [N, E]
        routing = nn.softmax(nn.Dense(EXPERTS, name="router")(x))
        usage = jnp.where(mask[:, None], routing, 0.0).sum(0) / jnp.maximum(mask.sum(), 1)
        # [2, N, N]
        a = self.param("fusion_a", nn.initializers.ones_init(), (2, 3))
        pairs = mask[:, None] & mask[None, :]
        base = jnp.where(pairs, jnp.tanh(x @ x.T), 0.0)
        graphs = jnp.stack([a[g, 0] + a[g, 1] * base + a[g, 2] * base**2 for g in range(2)])
        graph = (
            graphs[jax.random.randint(self.make_rng("pair"), (), 0, 2)][None]
            if train
            else graphs[:1]
        )
        graph = jnp.where(pairs, graph, 0.0)
        # [N]
        hidden = jnp.concatenate(
            [x, graph[0].sum(-1, keepdims=True) / jnp.maximum(mask.sum(), 1)], -1
        )
        return Output(
            nn.Dense(1, name="head")(hidden)[:, 0],
            graph,
            {"balance": EXPERTS * jnp.square(usage).sum(), "usage/rgb": usage},
        )


def batch(size: int = 8, seed: int = 0, units: int = UNITS, dims=DIMS) -> Batch:
    """A training batch with short videos, one example of each unusual kind (padded, unlabelled)
    and a signal to learn."""
    rng = np.random.default_rng(seed)
    label = (np.arange(size) % 2).astype(np.float32)
    lengths = rng.integers(units // 2, units + 1, size)
    mask = np.arange(units) < lengths[:, None]
    features = {
        m: rng.normal(size=(size, units, d)).astype(np.float32) * mask[..., None]
        for m, d in dims.items()
    }
    first = features[next(iter(dims))]
    first[:, : units // 4, 0] += 2 * label[:, None]
    valid = np.ones(size, bool)
    label[size // 2], valid[-1] = -1, size < 3
    zeros = np.zeros(size, np.int32)
    position = (seed * size + np.arange(size)).astype(np.int32)
    return Batch(
        features,
        mask & valid[:, None],
        label,
        valid,
        np.arange(size, dtype=np.int32),
        zeros,
        position,
    )


class TinyRecords:
    """In-memory records with the interface of gfvad/data/features/records.py."""

    def __init__(
        self, videos: int = 20, seed: int = 0, crops: int = 2, nan_in: str = "", longest: int = 40
    ):
        rng = np.random.default_rng(seed)
        self.videos = []
        for i in range(videos):
            n, label = int(rng.integers(3, longest)), i % 2
            features = {
                m: rng.normal(size=(crops if m == "rgb" else 1, n, d)).astype(np.float32)
                for m, d in DIMS.items()
            }
            features["rgb"][:, : n // 2 + 1, 0] += 2 * label
            name = f"video{i:02d}"
            if name == nan_in:
                features["audio"][0, :, 1] = np.nan
            spans = np.array([[0, 16 * (n // 2 + 1)]] if label else np.zeros((0, 2)), np.int64)
            self.videos.append(
                Video(
                    name,
                    "train",
                    features,
                    label,
                    ("X",) * label,
                    16 * n + 3,
                    spans,
                    ("X",) * label,
                    16,
                    25.0,
                )
            )
        self.dataset, self.split, self.modalities, self.dims = (
            "tiny",
            "train",
            tuple(DIMS),
            dict(DIMS),
        )
        self.names = tuple(v.name for v in self.videos)
        self.labels = np.array([v.label for v in self.videos], np.int64)
        self.lengths = np.array([v.features["rgb"].shape[1] for v in self.videos], np.int64)
        self.crops = {
            m: np.array([v.features[m].shape[0] for v in self.videos], np.int64) for m in DIMS
        }

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, i) -> Video:
        return self.videos[int(i)]

    def meta(self, i) -> Video:
        return self.videos[int(i)]._replace(features={})

    def nbytes(self, indices=None) -> int:
        return sum(
            x.nbytes
            for i in (range(len(self)) if indices is None else indices)
            for x in self.videos[int(i)].features.values()
        )

    def __repr__(self) -> str:
        return f"TinyRecords({len(self)})"


def largest_difference(a, b):
    """Over all leaves, as floats."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)).max()) for x, y in pairs
    )
