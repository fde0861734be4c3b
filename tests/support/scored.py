"""Scored videos made by hand."""

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.measure.frames import spans_of


def scored(name, scores, labels, **more):
    """A ScoredVideo from frame scores [T] and labels [T]."""
    labels = np.asarray(labels, np.uint8)
    spans = spans_of(labels)
    known = {"classes": (), "spans": spans, "span_classes": ("",) * len(spans)}
    known |= {"unit_frames": 1, "fps": 0.0, "label": int(labels.any())}
    return ScoredVideo(name, np.asarray(scores, np.float64), labels, **(known | more))


def random_videos(n=6, seed=0, decimals=2):
    """n videos, every second one with one or two events; scores in [0, 1] with many ties."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        frames = int(rng.integers(30, 60))
        labels = np.zeros(frames, np.uint8)
        if i % 2:
            labels[5:14], labels[20 : 20 + int(rng.integers(3, 8))] = 1, 1
        scores = np.round(0.7 * rng.random(frames) + 0.3 * labels, decimals)
        found.append(scored(f"v{i}", scores, labels))
    return found
