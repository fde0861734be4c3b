"""Which videos come from one source (a scene, a camera, a recording): videos of one source in
training and in testing make a model look better than it is on the next one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from gfvad.base.types import ConfigError

# cosine distance at which groups of pictures are still one source. Chosen on the 80 training clips
# of docs/your_own_video.md, whose 27 sources were told apart by eye: 29 groups, adjusted Rand index
# 0.92
APART = 0.6
MOST = 4000  # videos whose distances are all computed
COLUMN, NAMES, SCENES, FEATURES = "column", "names", "scenes", "features"


def cluster(x: np.ndarray) -> np.ndarray:
    """Sources of V videos from a description of their scenes [V, D] -> int [V], counted from 0 in
    the order of the videos.

    Average linkage of cosine distances of standardised columns, cut at APART. A description of
    zeros, and each video of more than MOST, is a source of its own.
    """
    x = np.asarray(x, np.float64)
    if not 1 < len(x) <= MOST:
        return np.arange(len(x))
    deviation = x.std(0)
    z = (x - x.mean(0)) / np.where(deviation > 1e-6, deviation, 1.0)
    length = np.linalg.norm(z, axis=1)
    known = x.any(1)
    told = np.flatnonzero((length > 1e-9) & known)
    found = np.arange(len(x)) + len(x)
    found[known & (length <= 1e-9)] = 0  # all of them are the mean itself
    if len(told) > 1:
        tree = linkage(z[told] / length[told, None], "average", metric="cosine")
        found[told] = fcluster(tree, APART, "distance")
    return numbered(found.tolist())


def numbered(values: Sequence[object]) -> np.ndarray:
    """Equal values to equal numbers, counted from 0 as they come."""
    first: dict[object, int] = {}
    return np.array([first.setdefault(value, len(first)) for value in values], np.int64)


def by_pattern(names: Sequence[str], pattern: str) -> np.ndarray:
    """Sources by names: what the pattern's first group (else the whole match) holds; a name that it
    does not fit is a source of its own. Raises ConfigError for a pattern that is none, or that fits
    no name."""
    try:
        found = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise ConfigError(
            f"config.data.source_pattern = {pattern!r}: no regular expression ({error}); expected"
            r" one whose first group is a video's source, as ^(\d+)_"
        ) from None
    if not any(found):
        raise ConfigError(
            f"config.data.source_pattern = {pattern!r}: fits none of {len(names)} training videos"
            f" ({', '.join(names[:3])}); expected their source in its first group"
        )
    return numbered([m[m.re.groups and 1] if m else ("", n) for m, n in zip(found, names)])


def by_column(names: Sequence[str], column: Mapping[str, str]) -> np.ndarray | None:
    """Sources as a table states them; a video without one is a source of its own. None where the
    table states none of these."""
    if not any(column.get(name) for name in names):
        return None
    return numbered([column.get(name) or ("", name) for name in names])
