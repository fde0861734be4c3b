"""Ground truth of the test part: which frames are abnormal, and where in them.

Labels of frames, from the first of these that is there:

    test_spans.txt                       `video first last`, from 1, both in, several lines a video
                                         allowed; no line: a normal video
    testing/test_frame_mask/NAME.npy     [T] of 0 / 1 (ShanghaiTech)
    Test/*.m                             UCSD's own: `gt_frame = [61:180]`, in the order of the
                                         videos

Masks of pixels, likewise; without labels of frames they also say which frames are abnormal:

    test_masks_packed.npz                an array a video: np.packbits of [T, H, W] along the last
                                         axis
    Test/NAME_gt/*.bmp                   UCSD; only where every video has them (Ped1 has ten)
    testing/test_pixel_mask/NAME.npy     [T, H, W] (ShanghaiTech)
    ground_truth_demo/testing_label_mask/N_label.mat, or testing_label_mask/: `volLabel` (Avenue)

Names are matched as `names.match_names` does. Where both kinds are there they must agree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.arrays import load_npy
from gfvad.base.files import read_bytes, read_text, whole_number
from gfvad.base.names import match_names, near, some
from gfvad.base.types import DataError
from gfvad.data.frames.clips import Lengths
from gfvad.data.frames.decode import exact_frames
from gfvad.data.frames.masks import MASKS, Masks, file_a_video, open_masks, ucsd_masks
from gfvad.data.frames.video_folders import VideoFile
from gfvad.data.truth_audit import frame_labels
from gfvad.measure.frames import spans_of

LABELS = (
    "test_spans.txt",
    "testing/test_frame_mask",
    "test/test_frame_mask",
    "test_frame_mask",
    "Test/*.m",
)


MOST_FRAMES = 10_000_000  # of a video that does not say


class Truth(NamedTuple):
    """Ground truth of V videos."""

    labels: tuple[np.ndarray, ...]  # V x uint8 [T_i], 1 abnormal
    spans: tuple[np.ndarray, ...]  # V x int64 [S, 2] runs of abnormal frames, half-open, from 0
    masks: Masks | None  # V x bool [T_i, H, W]; None where there are none
    source: str  # the files in words, for the report


def find_truth(
    root: str | os.PathLike,
    videos: Sequence[VideoFile],
    lengths: Lengths,
    *,
    spans: str | os.PathLike = "",
    masks: str | os.PathLike = "",
) -> Truth | None:
    """The ground truth that lies in `root` for the videos with `lengths` [V] frames; None where
    none does.

    spans, masks: the file or folder of either kind, relative to root (''; as the file's head says,
    also where only the other is given).
    Raises DataError, naming the video, where a length differs from the frames, a video lacks its
    file, or spans and masks disagree.
    """
    if Path(root).expanduser().is_dir() and not videos:
        raise DataError(f"{root}: no test videos; expected some to evaluate on")
    labels_path, masks_path = _places(root, videos, spans, masks)
    names = [video.name for video in videos]
    labels = read_labels(labels_path, names, lengths) if labels_path else None
    found = None
    if masks_path:
        found = open_masks(masks_path, videos)
        by_mask = [
            np.asarray(_checked(mask, name, int(n), masks_path, 3).any((1, 2)), np.uint8)
            for mask, name, n in zip(found, names, lengths)
        ]
        for name, one, other in zip(names, labels or (), by_mask):
            differ = np.flatnonzero(one != other)
            if len(differ):
                t = int(differ[0])
                raise DataError(
                    f"{labels_path} and {masks_path} disagree on {len(differ)} frames of video"
                    f" {name!r}: frame {t + 1} (from 1) is {one[t]} by the first, {other[t]} by the"
                    " masks; expected the same: remove the one that is wrong"
                )
        labels = labels or by_mask
    if labels is None:
        return None
    source = " and ".join(str(path) for path in (labels_path, masks_path) if path)
    return Truth(tuple(labels), tuple(map(spans_of, labels)), found, source)


def check_before_decoding(
    root: str | os.PathLike,
    videos: Sequence[VideoFile],
    train: Sequence[VideoFile],
    *,
    spans: str | os.PathLike = "",
    masks: str | os.PathLike = "",
) -> bool:
    """Whether ground truth lies in `root`, as `find_truth` looks for it; of what needs no lengths
    of the videos but those that their files state, raises DataError as it does.

    Also where an array of frame labels says that a training video is abnormal: the model learns
    what is normal from all of them.
    """
    labels_path, masks_path = _places(root, videos, spans, masks)
    names = [video.name for video in videos]
    if labels_path and not labels_path.is_dir():
        # a file never has more frames than it states; where it does not, any may be right
        read_labels(labels_path, names, [exact_frames(video) or MOST_FRAMES for video in videos])
    if labels_path and labels_path.is_dir():
        for file in file_a_video(labels_path, ".npy", names):
            frame_labels(load_npy(file), str(file))
        for name in sorted({video.name for video in train} - set(names)):
            file = labels_path / f"{name}.npy"
            if file.is_file() and frame_labels(load_npy(file), str(file)).any():
                raise DataError(
                    f"{file}: abnormal frames of {name!r}, which is a training video; expected"
                    " normal ones only: move it to the test part"
                )
    return bool(labels_path or masks_path)


def _places(
    root: str | os.PathLike,
    videos: Sequence[VideoFile],
    spans: str | os.PathLike,
    masks: str | os.PathLike,
) -> tuple[Path | None, Path | None]:
    """Where labels of frames and masks of pixels lie, None where they do not."""
    root = Path(root).expanduser()
    if not root.is_dir():
        return None, None
    return (
        _first(root, spans, LABELS, ("labels of frames", "config.data.spans")),
        _first(root, masks, MASKS, ("masks", "config.data.masks")) or ucsd_masks(videos),
    )


def undefined(truth: Truth) -> str:
    """What a user should know before the model is run: that all frames are of one kind; '' where
    both are there."""
    abnormal, frames = sum(int(row.sum()) for row in truth.labels), sum(map(len, truth.labels))
    if 0 < abnormal < frames:
        return ""
    return (
        f"{truth.source}: {'every frame is' if abnormal else 'no frame is'} abnormal of {frames:,}"
        f" in {len(truth.labels)} test videos: AUC, AP and EER are undefined (null in the results)"
    )


def _first(
    root: Path, given: str | os.PathLike, usual: Sequence[str], named: tuple[str, str]
) -> Path | None:
    """The path that was given, which must be there, else the first of the usual ones that is.
    named: what it holds, and the setting that gives it."""
    what, key = named
    if str(given):
        path = root / Path(given).expanduser()
        if not path.exists():
            raise DataError(
                f"{path}: not found; expected {what} of the test videos: check {key}, or leave it"
                " empty to have them looked for"
            )
        return path
    return next((path for name in usual for path in sorted(root.glob(name))), None)


# ---- labels of frames


def read_labels(path: Path, names: Sequence[str], lengths: Lengths) -> list[np.ndarray]:
    """Labels uint8 [T_i] of each video from a file of spans, UCSD's .m, or a folder with an .npy
    a video. Raises DataError."""
    if path.is_dir():
        files = file_a_video(path, ".npy", names)
        return [
            frame_labels(_checked(load_npy(file), name, int(n), file, 1), str(file))
            for file, name, n in zip(files, names, lengths)
        ]
    read = read_matlab_spans if path.suffix == ".m" else read_spans
    return read(path, names, lengths)


def read_spans(path: Path, names: Sequence[str], lengths: Lengths) -> list[np.ndarray]:
    """Labels uint8 [T_i] of each video from lines `video first last` (from 1, both in; # starts a
    comment).

    Raises DataError, naming the line, for a malformed line, an unknown video, or frames outside the
    video.
    """
    labels = [np.zeros(int(n), np.uint8) for n in lengths]
    for number, line in enumerate(read_text(path, "lines `video first last`").split("\n"), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        where = f"{path}, line {number}"
        first, last = (
            (whole_number(word) for word in words[1:]) if len(words) == 3 else (None, None)
        )
        if first is None or last is None:
            raise DataError(
                f"{where}: {line.strip()!r}; expected `video first last` with frames counted from 1"
            )
        i = match_names(words[:1], names)[0]
        if i < 0:
            raise DataError(
                f"{where}: unknown video {words[0]!r}{near(words[0], names)}; expected one of"
                f" {some(names)}"
            )
        _mark(labels[i], first, last, where, names[i])
    return labels


def read_matlab_spans(path: Path, names: Sequence[str], lengths: Lengths) -> list[np.ndarray]:
    """Labels from UCSD's .m: '61:180' or '5:90, 140:200' a video, in the order of the videos."""
    content = read_bytes(path, "UCSD's .m of abnormal frames").decode("utf-8", "replace")
    ranges = re.findall(r"gt_frame\s*=\s*\[([^\]]*)\]", content)
    if len(ranges) != len(names):
        raise DataError(
            f"{path}: {len(ranges)} lists of frames, expected one for each of {len(names)} test"
            " videos: take the set's own file and folders"
        )
    labels = [np.zeros(int(n), np.uint8) for n in lengths]
    for i, row in enumerate(ranges):
        for first, last in re.findall(r"(\d+)\s*:\s*(\d+)", row):
            _mark(labels[i], int(first), int(last), str(path), names[i])
    return labels


def _mark(labels: np.ndarray, first: int, last: int, where: str, name: str) -> None:
    if not 1 <= first <= last <= len(labels):
        raise DataError(
            f"{where}: abnormal frames {first} to {last} of video {name!r}, which has frames 1 to"
            f" {len(labels)}; expected frames of the video"
        )
    labels[first - 1 : last] = 1


def _checked(array: np.ndarray, name: str, length: int, where: Path, ndim: int) -> np.ndarray:
    if array.ndim != ndim or len(array) != length:
        raise DataError(
            f"{where}: video {name!r} has ground truth of shape {list(array.shape)}, expected"
            f" {length} frames{' x H x W' if ndim == 3 else ''}: use the frames the ground truth"
            " was made for"
        )
    return array
