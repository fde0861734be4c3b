"""Where settings differ: a table a class and a table a video, of runs over seeds
(`gfvad compare breakdown`).

Values are means over seeds. Of a class: frame AUC of its videos together with all normal videos. Of
a video: its share of the set's pairs of an abnormal and a normal frame that are ordered wrongly, as
the abnormal side (missed) and as the normal side (false alarms), each pair counted half to either
side of it; a set's shares sum to 1 - AUC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.measure.metrics import roc_auc

SHOWN = 12  # videos in the table, those that cost the most
SIDES = ("left", "right")

Scores = Mapping[str, np.ndarray]  # video -> [T]
Labels = Mapping[str, np.ndarray]  # video -> uint8 [T]


def pairs_lost(
    video: ScoredVideo, normal: np.ndarray, abnormal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(normal frames of the set scored above each abnormal frame [T], abnormal ones scored below
    each normal frame [T]); 0 elsewhere.

    normal, abnormal: the scores of all frames of the set of either kind, ascending.
    """
    y = video.labels.astype(bool)
    missed = np.where(y, len(normal) - np.searchsorted(normal, video.scores, side="right"), 0)
    return missed, np.where(y, 0, np.searchsorted(abnormal, video.scores, side="left"))


def lost_shares(scores: Scores, labels: Labels) -> dict[str, tuple[float, float]]:
    """Video -> (missed, false alarms): shares of all abnormal-normal pairs of frames, ties half;
    all of them sum to 1 - AUC."""
    y = np.concatenate([labels[name] for name in labels]).astype(bool)
    z = np.concatenate([scores[name] for name in labels])
    normal, abnormal = np.sort(z[~y]), np.sort(z[y])
    pairs = len(normal) * len(abnormal)
    found = {}
    for name, own in labels.items():
        positive, z = own.astype(bool), scores[name]
        # in a sorted list, counted half where level
        rank = lambda known, x: 0.5 * np.add(*(np.searchsorted(known, x, s) for s in SIDES))
        above, below = len(normal) - rank(normal, z[positive]), rank(abnormal, z[~positive])
        found[name] = (float(above.sum()) / pairs / 2, float(below.sum()) / pairs / 2)
    return found


def class_auc(
    scores: Scores, labels: Labels, classes: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[int, float]]:
    """Class -> (its videos, frame AUC of them and all videos without a class)."""
    normal = [name for name in labels if not classes[name]]
    found = {}
    for kind in sorted({kind for kinds in classes.values() for kind in kinds}):
        own = [name for name in labels if kind in classes[name]]
        chosen = own + normal
        y, z = (np.concatenate([part[name] for name in chosen]) for part in (labels, scores))
        found[kind] = (len(own), float(roc_auc(z, y)))
    return found


def tables(
    runs: Mapping[str, Sequence[Scores]], labels: Labels, classes: Mapping[str, tuple[str, ...]]
) -> str:
    """Markdown of both tables. runs: setting -> the scores of each seed."""
    by_class = [[class_auc(z, labels, classes) for z in seeds] for seeds in runs.values()]
    lines = [["class", "videos", *runs], ["---"] * (2 + len(runs))]
    for kind, (count, _) in by_class[0][0].items():
        means = [np.mean([one[kind][1] for one in seeds]) for seeds in by_class]
        lines.append([kind, str(count), *(f"{mean:.3f}" for mean in means)])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    by_video = {
        name: {v: np.mean([lost_shares(s, labels)[v] for s in seeds], axis=0) for v in labels}
        for name, seeds in runs.items()
    }
    worst = sorted(labels, key=lambda v: -max(by_video[name][v].sum() for name in runs))[:SHOWN]
    lines = [["video", "frames", "abnormal", *(f"{name}: missed / false alarms" for name in runs)]]
    lines.append(["---"] * (3 + len(runs)))
    for v in worst:
        cells = (" / ".join(f"{100 * x:.2f}" for x in by_video[name][v]) for name in runs)
        lines.append([v, f"{len(labels[v]):,}", f"{int(labels[v].sum()):,}", *cells])
    return text + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
