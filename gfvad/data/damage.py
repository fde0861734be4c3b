"""Damage to the sentences of training videos, drawn anew each time a video is learnt from, so that
a model expects other people's words: sentences that are left out, that say nothing, that come late
or are put otherwise (config.data.damage). Evaluation is never damaged. Numpy only.

A sentence is known by its embedding: neighbouring units with features of one direction are one
sentence, and a unit whose features are all zero is not described. Lengths, which say how much a
description counts (data.text_assign = "decay"), stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError

SAME = 1e-4  # 1 - cosine up to which two neighbouring units have one sentence
DESCRIBED = 0.5  # length of a feature from which a unit is described, and not only near to one
AMOUNTS = ("silent", "dropped", "generic", "late", "filled", "noise", "style")


def active(cfg: Any) -> bool:
    """Whether a config.data.damage (None: an earlier version's) asks for any."""
    return cfg is not None and any(cfg[name] > 0 for name in AMOUNTS)


def check_damage(cfg: Any, modalities: tuple[str, ...]) -> None:
    """Raises ConfigError where config.data.damage asks for damage to a modality that is not
    there."""
    if active(cfg) and cfg.modality not in modalities:
        name = next(name for name in AMOUNTS if cfg[name] > 0)
        raise ConfigError(
            f"config.data.damage.{name} = {cfg[name]} concerns config.data.damage.modality ="
            f" {cfg.modality!r}{nearest(str(cfg.modality), modalities)}; expected one of"
            " config.data.modalities"
        )


def sentences(x: np.ndarray) -> np.ndarray:
    """int [N]: the sentence of each unit of x [N, D], numbered in the order of time; -1 where
    nothing is said."""
    length = np.linalg.norm(x, axis=1)
    told = length > 0
    unit = x / np.where(told, length, 1.0)[:, None]
    same = np.zeros(len(x), bool)
    same[1:] = told[1:] & told[:-1] & ((unit[1:] * unit[:-1]).sum(1) > 1 - SAME)
    return np.where(told, np.cumsum(told & ~same) - 1, -1)


def damaged(
    x: np.ndarray, cfg: Any, rng: np.random.Generator, another: Callable[[], np.ndarray]
) -> np.ndarray:
    """x [N, D] of a video after config.data.damage, a new array.

    another() gives the features [N', D] of a normal training video. With probability `silent`
    nothing is said of the whole video. Else, of each sentence: with probability `late` it moves by
    up to late_units units, either way, over what is said there; with probability `dropped` it is
    left out; with probability `generic` it becomes one of a normal video; its direction gets noise
    of `noise` times its length, and that of all sentences of the video one offset, `style` times
    their length. With probability `filled` every stretch of units that are not described gets a
    sentence of a normal video.
    """
    if rng.random() < cfg.silent:
        return np.zeros_like(x)
    numbers = sentences(x)
    width, out = x.shape[1], np.zeros_like(x)
    style = cfg.style * rng.standard_normal(width) / np.sqrt(width)
    count = numbers.max(initial=-1) + 1
    draws = rng.random((3, count))
    late, dropped, generic = draws < np.array([cfg.late, cfg.dropped, cfg.generic])[:, None]
    moves = rng.integers(-cfg.late_units, cfg.late_units + 1, count)
    said = lambda: words(another(), rng)
    # those that move come last, over what is said there
    for k in np.argsort(late, kind="stable"):
        if dropped[k]:
            continue
        units = np.flatnonzero(numbers == k)
        length = np.linalg.norm(x[units], axis=1, keepdims=True)
        direction = said() if generic[k] else x[units[0]] / length[0]
        noise = cfg.noise * rng.standard_normal(width) / np.sqrt(width)
        places = units + (moves[k] if late[k] else 0)
        kept = (places >= 0) & (places < len(x))
        out[places[kept]] = (length * unit_of(direction + noise + style))[kept]
    if rng.random() < cfg.filled:
        silent = np.linalg.norm(out, axis=1) < DESCRIBED
        starts = np.flatnonzero(silent & ~np.append(False, silent[:-1]))
        for start in starts.tolist():
            stop = start + int(np.argmin(np.append(silent[start:], False)))
            out[start:stop] = unit_of(said() + style)
    return out


def words(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The direction [D] of one described unit of x [N, D], drawn evenly; zeros where there is
    none."""
    told = np.flatnonzero((x != 0).any(1))
    return unit_of(x[rng.choice(told)]) if len(told) else np.zeros(x.shape[1])


def unit_of(x: np.ndarray) -> np.ndarray:
    """x [D] over its length; zeros stay zeros."""
    length = np.linalg.norm(x)
    return x / length if length > 0 else x
