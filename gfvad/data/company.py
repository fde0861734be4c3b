"""Feature sets that are relations to the other units of the same frame (gfvad/fusion/company.py),
and messages between them, for any units that have boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.types import ConfigError
from gfvad.data.unit_videos import UnitVideo

SETS = ("company", "relative")
CHUNK = 1 << 20  # pairs of units that are compared at once
ROUND = 8  # units of a frame are padded to a multiple of this


class Places(NamedTuple):
    """Where the n units of a video are: those of one frame and one group are together."""

    frame: np.ndarray  # int64 [n]
    group: np.ndarray  # int64 [n]
    box: np.ndarray  # float64 [n, 4]


def places_of(units: UnitVideo) -> Places:
    """Of the units of a video."""
    return Places(units.tracks.frame, units.group, units.tracks.box)


def added(
    features: Mapping[str, np.ndarray], places: Places, data_cfg: Any
) -> dict[str, np.ndarray]:
    """The feature sets of config.data.modalities, in order: those given {set: [n, D]} and, where
    they are asked for, SETS, which tell of the others by the first set."""
    if not set(SETS) & set(data_cfg.modalities):
        return dict(features)
    from gfvad.fusion.company import COMPANY, KINDS  # which loads jax

    x, widths = features[base_of(data_cfg)], (float(data_cfg.near), float(data_cfg.alike))
    found = by_frame(lambda *units: COMPANY(*units, *widths), places, x)
    found = found or [np.zeros((0, KINDS), np.float32), np.zeros_like(x, np.float32)]
    every = {**features, **dict(zip(SETS, found, strict=True))}
    return {name: every[name] for name in data_cfg.modalities}


def base_of(data_cfg: Any) -> str:
    """The set that relations to others are made of: the first. Raises ConfigError where that is
    itself a relation."""
    first = data_cfg.modalities[0]
    if first in SETS:
        raise ConfigError(
            f"config.data.modalities: {first!r} stands first; expected before it the feature set"
            " by which units of a frame are related, such as velocity or speed"
        )
    return first


def spread_beside(
    values: np.ndarray, places: Places, near: float, x: np.ndarray | None = None, alike: float = 1.0
) -> np.ndarray:
    """float64 [n, T]: of each unit the mean of values [n, T] over it and those near it in its
    frame; x [n, D]: and alike in these features."""
    from gfvad.fusion.company import BESIDE

    x = np.zeros((len(values), 0)) if x is None else x
    found = by_frame(lambda *units: (BESIDE(*units, near, alike),), places, values, x)
    return found[0].astype(np.float64) if found else values


def by_frame(
    step: Callable[..., Sequence[Any]], places: Places, *of_units: np.ndarray
) -> list[np.ndarray]:
    """What a step gives of the units of each frame, (box, *of_units, mask) -> arrays [F, N, ...]:
    each array as float32 [n, ...] in the order of the units; of_units: [n, D] each."""
    found: list[np.ndarray] = []
    for units, real in frames_of(places):
        index = np.maximum(units, 0)
        given = (x[index].astype(np.float32) for x in of_units)
        made = step(centred(places.box[index], real), *given, real)
        if not found:
            found = [np.zeros((len(places.frame), *a.shape[2:]), np.float32) for a in made]
        for into, a in zip(found, made, strict=True):
            into[units[real]] = np.asarray(a)[real]
    return found


def centred(box: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Boxes [F, N, 4] as float32, moved by the middle of all, so that no digit of a distance is
    lost."""
    middle = box[real].reshape(-1, 2, 2).mean((0, 1))
    return (box - np.tile(middle, 2)).astype(np.float32)


def frames_of(places: Places) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(units int64 [F, N], -1 at padding; real bool [F, N]) of frames together, of few different
    sizes, so that little is compiled; none without a unit."""
    order = np.lexsort((places.group, places.frame))
    keys = np.stack([places.frame[order], places.group[order]])
    starts = np.flatnonzero(np.any(np.diff(keys, prepend=keys[:, :1] - 1), axis=0))
    sizes = np.diff(np.append(starts, len(order)))
    widths = -(-sizes // ROUND) * ROUND
    for width in np.unique(widths):
        chosen = np.flatnonzero(widths == width)
        most = max(1, CHUNK // int(width) ** 2)
        for first in range(0, len(chosen), most):
            part = chosen[first : first + most]
            count = min(most, 1 << (len(part) - 1).bit_length())
            real = np.zeros((count, width), bool)
            real[: len(part)] = np.arange(width) < sizes[part, None]
            units = np.full((count, width), -1, np.int64)
            inside = [starts[i] + np.arange(int(sizes[i])) for i in part]
            units[real] = order[np.concatenate(inside)]
            yield units, real
