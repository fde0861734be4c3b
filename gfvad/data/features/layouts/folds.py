"""Folds of the videos of one set: each video is tested once, by a model that has not seen it nor
its near-duplicates. Numpy and scipy only.

Near-duplicates are found by what was measured of the videos, not by their names, and every group of
them stays in one fold. Groups are dealt to folds class by class, so that each fold holds its share
of every class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gfvad.base.types import ConfigError

ALIKE = 0.9  # cosine of mean features from which two videos are near-duplicates
SHARED = 0.5  # and the part of the sentences of the shorter one that both have


def tested_of(data_cfg: Any) -> tuple[int, int]:
    """(fold that is tested, how many there are) of config.data. Raises ConfigError where that fold
    is none of them."""
    count, fold = int(data_cfg.folds), int(data_cfg.fold)
    if not 0 <= fold < count:
        raise ConfigError(
            f"config.data.fold = {fold} of config.data.folds = {count}: expected a fold from 0"
            f" to {max(count - 1, 1)}; gfvad ablate without config.data.fold takes each in turn"
        )
    return fold, count


def near_duplicates(means: np.ndarray, sentences: Sequence[Sequence[str]]) -> np.ndarray:
    """int [V]: the group of each video, numbered by its first video.

    Two videos are near-duplicates where the cosine of their mean features [V, D], less the mean of
    all, is above ALIKE, or where at least two and SHARED of the sentences of the one with fewer are
    the other's too, word by word; a group is whatever such pairs join.
    """
    count, means = len(means), np.asarray(means, np.float64)
    unit = means - means.mean(0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    first, second = np.nonzero(np.triu(unit @ unit.T > ALIKE, 1))
    told = [frozenset(own) for own in sentences]
    tellers: dict[str, list[int]] = {}
    for video, own in enumerate(told):
        for sentence in own:
            tellers.setdefault(sentence, []).append(video)
    pairs = {(a, b) for videos in tellers.values() for a in videos for b in videos if a < b}
    both = lambda a, b: len(told[a] & told[b])
    least = lambda a, b: max(2, SHARED * min(len(told[a]), len(told[b])))
    said = sorted(pair for pair in pairs if both(*pair) >= least(*pair))
    rows = np.concatenate([first, [a for a, _ in said]]).astype(int)
    columns = np.concatenate([second, [b for _, b in said]]).astype(int)
    linked = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(linked, directed=False)[1]


def deal(names: Sequence[str], strata: Sequence[str], groups: np.ndarray, folds: int) -> np.ndarray:
    """int [V]: the fold of each video, 0 to folds - 1; depends on nothing but its arguments.

    Groups, the largest first and then by a hash of their names, go to the fold that holds fewest of
    the stratum (class) of their first video, of equal ones to the one that holds fewest videos.
    Raises ConfigError for fewer than two folds, or more than groups.
    """
    members: dict[int, list[int]] = {}
    for video, group in enumerate(np.asarray(groups).tolist()):
        members.setdefault(group, []).append(video)
    if not 2 <= folds <= len(members):
        raise ConfigError(
            f"config.data.folds = {folds}: expected 2 to {len(members)} (videos that are no"
            " near-duplicates)"
        )
    told = lambda videos: hashlib.sha256(str(names[videos[0]]).encode()).hexdigest()
    kinds = {name: place for place, name in enumerate(sorted(set(strata)))}
    held, found = np.zeros((len(kinds), folds), int), np.zeros(len(names), int)
    for videos in sorted(members.values(), key=lambda own: (-len(own), told(own))):
        of_kind = held[kinds[strata[videos[0]]]]
        fold = min(range(folds), key=lambda k: (of_kind[k], held[:, k].sum(), k))
        for video in videos:
            held[kinds[strata[video]], fold] += 1
            found[video] = fold
    return found
