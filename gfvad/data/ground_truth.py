"""Frame ground truth of the published sets: how many frames a test video has, which are abnormal,
and whole label vectors.

The published sets disagree about a video's length because their features do: a snippet is 16
frames, and a last part of a snippet is dropped (XD-Violence, 1024-d UCF-Crime), counted up (2048-d
UCF-Crime, ShanghaiTech, Ped2), or depends on the extractor. See docs/data.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.names import Names, canonical
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.measure.frames import labels_from_spans, spans_of

SNIPPET = 16  # frames of a snippet in every published feature set
XD_TOTAL, XD_POSITIVE = 2_330_384, 537_805  # frames, abnormal frames of the 800 test videos
UCF_TOTAL_2048, UCF_TOTAL_1024 = 1_114_144, 1_109_680
SHANGHAI_TOTALS = (142_912, 143_888, 140_112)
PED2_TOTAL, PED2_POSITIVE = 3_200, 904
PED2_FRAMES = (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180)  # of the test clips


class Truth(NamedTuple):
    """Ground truth of one video."""

    num_frames: int  # T
    spans: np.ndarray  # int64 [S, 2], half-open, inside [0, T)
    # S entries; '' where a video has several classes and the annotation does not say which
    span_classes: tuple[str, ...]


EMPTY = np.zeros((0, 2), np.int64)


def xd_frames(frames: int) -> int:
    """Frames of the XD-Violence ground truth of a video with n frames: ((n - 1) // 16) * 16."""
    return (frames - 1) // SNIPPET * SNIPPET


def snippets_up(frames: int) -> int:
    """Frames counted up to whole snippets: ceil(n / 16) * 16."""
    return -(-frames // SNIPPET) * SNIPPET


def snippets_down(frames: int) -> int:
    """Frames counted down to whole snippets: floor(n / 16) * 16."""
    return frames // SNIPPET * SNIPPET


def cut(spans: np.ndarray, num_frames: int, classes: Sequence[str] = ()) -> Truth:
    """Spans cut to [0, T), spans beyond T dropped: published lengths end up to one snippet before
    the video does.

    A span's class is the video's where it has one, else ''.
    """
    spans = np.minimum(np.asarray(spans, np.int64).reshape(-1, 2), num_frames)
    spans = spans[spans[:, 0] < spans[:, 1]]
    return Truth(num_frames, spans, (classes[0] if len(classes) == 1 else "",) * len(spans))


def labels(truth: Truth) -> np.ndarray:
    """Truth -> uint8 [T] frame labels."""
    return labels_from_spans(truth.spans, truth.num_frames)


# ---- XD-Violence


def xd_truth(name: str, num_frames: int, spans: Mapping[str, np.ndarray]) -> Truth:
    """Truth of an XD-Violence test video of `num_frames` ground-truth frames; `spans` is
    `annotations.parse_xd`.

    Raises DataError where the name has no known label or an abnormal video no annotation.
    """
    known = annotations.xd_classes(name)
    key = annotations.find_name(spans, name)
    if known is None or bool(known[0]) != (key is not None):
        found = "an unknown label"
        if known is not None:
            found = f"label {known[0]} and {'an' if key else 'no'} annotation"
        raise DataError(
            f"{name}: {found}; expected '_label_A' without or '_label_' and classes with a line in"
            " annotations.txt"
        )
    return cut(spans[key] if key else EMPTY, num_frames, known[1])


def xd_test(folder: Path) -> dict[str, Truth]:
    """{name: Truth} of every test video in `frame_counts.txt`, in its order, from that file and
    `annotations.txt` in `folder`."""
    counts = annotations.parse_frame_counts(folder / "frame_counts.txt")
    spans = annotations.parse_xd(folder / "annotations.txt")
    require_counts(folder, [n for n in spans if annotations.find_name(counts, n) is None])
    return {name: xd_truth(name, xd_frames(n), spans) for name, n in counts.items()}


def require_counts(folder: Path, lost: Sequence[str]) -> None:
    """Raises DataError where annotated videos have no frame counts."""
    if lost:
        raise DataError(
            f"{folder / 'frame_counts.txt'}: {len(lost)} annotated videos are absent, e.g."
            f" {lost[0]!r}; expected a line for each"
        )


# ---- UCF-Crime, ShanghaiTech, Ped2


def ucf_counts(path: Path) -> Names:
    """{name as of its files: frames} of UCF-Crime's `frame_counts.txt`, which has short names.
    Raises DataError for a video under both."""
    table = Names(path.name)
    for name, frames in annotations.parse_frame_counts(path).items():
        table.add(str(path), annotations.ucf_name(name), frames)
    return table


def ucf_test(folder: Path, counted: str) -> dict[str, Truth]:
    """{name: Truth} of the UCF-Crime test videos from `temporal_annotations.txt` and
    `frame_counts.txt` in `folder`.

    counted 'up': 1,114,144 frames, end frames in (the 2048-d features); 'down': 1,109,824 frames,
    end frames out. The vector published with the 1024-d features is 144 frames shorter: 9 of the 20
    videos whose length divides by 16 lack their last snippet there, and only the features
    themselves say which.
    """
    if counted not in ("up", "down"):
        raise DataError(f"UCF-Crime lengths counted {counted!r}; expected 'up' or 'down'")
    events = annotations.parse_ucf(folder / "temporal_annotations.txt", inclusive=counted == "up")
    counts = ucf_counts(folder / "frame_counts.txt")
    require_counts(folder, [name for name in events if name not in counts])
    length = snippets_up if counted == "up" else snippets_down
    return {n: cut(e.spans, length(counts[n]), e.classes) for n, e in events.items()}


def mask_truth(mask: np.ndarray, num_frames: int, classes: Sequence[str] = ()) -> Truth:
    """Frame mask [n] and T ground-truth frames -> Truth. Where T > n the last label goes on,
    where T < n the mask is cut (as published)."""
    mask = np.asarray(mask).ravel()
    if not len(mask):
        raise DataError("frame mask without frames; expected one 0 or 1 a frame")
    extended = np.concatenate([mask, np.repeat(mask[-1:], max(0, num_frames - len(mask)))])
    return cut(spans_of(extended[:num_frames]), num_frames, classes)


def ped2_truth(
    name: str, num_frames: int, spans: Mapping[str, np.ndarray], clip_frames: int | None = None
) -> Truth:
    """Truth of a Ped2 clip as TEVAD publishes it: 904 positive of 3,200 frames over its test part.
    clip_frames: of the clip (None: as published).

    That vector takes the set's 1-based frame numbers as 0-based ones, so every span starts one
    frame late and ends one frame late (inside the clip), and the last label goes on to the end of
    the last snippet. Kept so that results compare.
    """
    if name not in spans:
        return Truth(num_frames, EMPTY, ())
    if clip_frames is None:
        clip_frames = PED2_FRAMES[int(name.removeprefix("Test")) - 1]
    mask = np.zeros(clip_frames, np.uint8)
    for start, end in spans[name]:
        mask[start + 1 : end + 1] = 1
    return mask_truth(mask, num_frames)


# ---- published snippet scores


def label_vector(truths: Mapping[str, Truth], order: Sequence[str]) -> np.ndarray:
    """uint8 [sum of T] frame labels of the videos in `order`: what published scores, repeated 16
    times a snippet, are held against.

    Raises DataError where a video has no truth or the order repeats or lacks one.
    """
    missing = [name for name in order if name not in truths]
    if missing or len(set(order)) != len(order) or len(order) != len(truths):
        detail = f"{len(set(order))} different of {len(order)} names"
        detail = f"{len(missing)} without ground truth, e.g. {missing[0]!r}" if missing else detail
        raise DataError(
            f"order of videos: {detail}; expected each of the {len(truths)} videos once"
        )
    return np.concatenate([labels(truths[name]) for name in order])


def read_order(path: Path) -> list[str]:
    """Video names of `test_order.txt`, one a line."""
    return [canonical(line) for _, line in annotations.read_lines(path, "one video name a line")]


def split_snippets(
    scores: np.ndarray, truths: Mapping[str, Truth], order: Sequence[str]
) -> dict[str, np.ndarray]:
    """Scores [all snippets in `order`] -> {name: [T / 16]}. Raises DataError where their number
    is not that of the ground truth."""
    counts = [truths[name].num_frames // SNIPPET for name in order]
    if np.ndim(scores) != 1 or len(scores) != sum(counts):
        raise DataError(
            f"snippet scores {np.shape(scores)}; expected one for each of the {sum(counts):,}"
            " snippets of the ground truth"
        )
    return dict(zip(order, np.split(np.asarray(scores), np.cumsum(counts)[:-1])))
