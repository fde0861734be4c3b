"""Impossible values of a predictive configuration (configs/predictive.py), refused by name
before any work."""

from __future__ import annotations

import math

from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.settings.config import flatten, nearest
from gfvad.tasks.prediction.score_terms import TERMS

LAYOUTS = ("auto", "frames", "ucsd", "videos", "any")
CHOICES = {
    "data.layout": LAYOUTS,
    "data.channels": (1, 3),
    "data.store": ("memmap", "direct"),
    "data.text_encoder": ("minilm", "hash"),
    "model.flow_from": ("frame", "joint"),
    "model.skip": ("patch", "frame", "none"),
    "model.filter.form": ("auto", "loop", "folded", "grouped", "blocks"),
    "optim.name": ("adamw", "adam", "sgd"),
    "optim.schedule": ("constant", "cosine"),
    "eval.metric": ("auc", "ap"),
    "parallel.backend": ("pmap", "shard_map"),
}
AT_LEAST = {
    "data.height": 1,
    "data.width": 1,
    "data.clip_frames": 2,
    "data.stride": 1,
    "data.workers": 1,
    "data.flow_cell": 1,
    "data.eval_batch_size": 1,
    "model.patch": 1,
    "model.cell": 1,
    "model.width": 1,
    "model.heads": 1,
    "model.mlp": 1,
    "model.vision_layers": 0,
    "model.motion_layers": 0,
    "model.joint_layers": 0,
    "model.decoder_layers": 1,
    "model.pixel_width": 1,
    "model.text_hidden": 1,
    "model.pace_width": 2,
    "model.filter.experts": 1,
    "model.filter.topk": 1,
    "model.filter.bottleneck": 1,
    "model.filter.memory_items": 0,
    "loss.pace_fastest": 2,
    "train.steps": 1,
    "train.batch_size": 1,
    "train.log_every": 1,
    "train.eval_every": 1,
    "train.checkpoint_every": 1,
    "train.keep": 1,
    "optim.warmup_steps": 0,
    "optim.weight_decay": 0,
    "optim.clip_norm": 0,
    "eval.bootstrap": 0,
    "parallel.devices": 0,
    "score.spatial": 1,
    "score.temporal": 1,
    "score.text_frames": 1,
    "score.perturbations": 1,
    "score.ridge": 0,
    "seed": 0,
    **{
        f"loss.{name}": 0
        for name in (
            "frame",
            "text",
            "contrast",
            "flow",
            "pace",
            "balance",
            "pace_motion",
            "pace_still",
        )
    },
}


def validate(config: ConfigDict) -> None:
    """Raises ConfigError naming the key, its value and what is valid; 'a,b' given for a tuple of
    names is split."""
    names = tuple(
        part.strip() for item in config.score.terms for part in str(item).split(",") if part.strip()
    )
    config.score.terms = names
    leaves = flatten(config)

    def refuse(key: str, expected: str) -> None:
        raise ConfigError(f"config.{key} = {leaves[key]!r}: expected {expected}")

    for key, valid in CHOICES.items():
        if leaves[key] not in valid:
            hint = nearest(leaves[key], valid) if isinstance(leaves[key], str) else ""
            raise ConfigError(
                f"config.{key} = {leaves[key]!r}{hint} (one of {', '.join(map(str, valid))})"
            )
    for key, least in AT_LEAST.items():
        if leaves[key] < least:
            refuse(key, f"{least} or more")
    if not leaves["optim.learning_rate"] > 0:
        refuse("optim.learning_rate", "a number above 0")
    if not 0 < leaves["data.validation_fraction"] <= 0.5:
        refuse(
            "data.validation_fraction",
            "a fraction above 0, at most 0.5: scores are calibrated on the videos that are"
            " held out",
        )
    for name in names:
        if name not in TERMS:
            raise ConfigError(
                f"config.score.terms = {name!r}{nearest(name, TERMS)} (of {', '.join(TERMS)})"
            )
    if not names or len(set(names)) < len(names):
        refuse("score.terms", f"at least one of {', '.join(TERMS)}, each once")
    check_sizes(config, refuse)
    from gfvad.fusion.operator import check_fusion
    from gfvad.nn.filters import FILTERS  # imports jax, which starts no backend

    kind, f = config.model.filter.kind, config.model.filter
    FILTERS.find(kind)
    if kind == "sffm" and f.topk > f.experts:
        raise ConfigError(
            f"config.model.filter.topk = {f.topk}: expected at most config.model.filter.experts ="
            f" {f.experts}"
        )
    check_fusion(
        config.model.fusion,
        config.model.expansion,
        1 + config.model.motion + bool(config.data.train_descriptions),
    )


def check_sizes(config: ConfigDict, refuse) -> None:
    """Patches tile the frame, cells tile patches, heads divide the width, the pace network's
    cells tile the frame."""
    data, model = config.data, config.model
    for side in ("height", "width"):
        step = model.patch * 4 // math.gcd(model.patch, 4) if model.pace else model.patch
        if data[side] % step:
            refuse(
                f"data.{side}",
                f"a multiple of {step} (model.patch = {model.patch}"
                + (", and of the 4 pixels of a cell of the pace network)" if model.pace else ")"),
            )
    if model.patch % model.cell:
        refuse("model.cell", f"a divisor of model.patch = {model.patch}")
    if model.width % model.heads or model.width % data.clip_frames:
        refuse(
            "model.width",
            f"a multiple of model.heads = {model.heads} and of data.clip_frames ="
            f" {data.clip_frames}",
        )
