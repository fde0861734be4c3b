"""Ground truth that cannot be: one audit after loading, the same for every layout and for sets of
frames.

Weak layouts: `Layout.checked` calls `check_truth`, so that the check of a folder,
preparation, training and evaluation all get it; `Crops` and `require_trainable` look at a whole
part. Sets of frames: `data/frames/truth.py` calls `frame_labels` and `pixel_labels`.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gfvad.base.errors import DataError
from gfvad.base.names import some
from gfvad.base.types import Video
from gfvad.data.ground_truth import EMPTY
from gfvad.measure.frames import labels_from_spans

# units by which rows and frames may differ: extractors treat the last part of a snippet differently
MAX_GAP = 1


class Stated(NamedTuple):
    """What the files of a set say of one video, before anything is cut."""

    frames: int | None = None  # its length; None where no file says it
    spans: np.ndarray = EMPTY  # int64 [S, 2], half-open frames
    frames_source: str = ""  # the file that gives the length
    spans_source: str = ""  # the file that gives the spans
    rows: int | None = None  # rows of a table with a line a unit; None where there is none
    rows_source: str = ""


def check_truth(video: Video, units: int, stated: Stated) -> None:
    """Raises DataError, naming the video, where its ground truth cannot be. units: N rows of
    features, which are not looked at."""
    name, frames = video.name, video.num_frames
    unit = video.unit_frames or max(1, frames // max(units, 1))
    gap = stated.frames is not None and abs(units - stated.frames // unit) > MAX_GAP
    if stated.frames is not None and gap and video.unit_frames:
        raise DataError(
            f"{stated.frames_source}: {name} has {stated.frames:,} frames, which is"
            f" {stated.frames // unit} snippets of {unit}, and {units} rows of features; expected a"
            f" difference of at most {MAX_GAP}: mend the file, or extract this video again"
        )
    if stated.rows is not None and stated.rows != units:
        raise DataError(
            f"{stated.rows_source}: {stated.rows} lines of {name}, and {units} rows of features;"
            " expected a line a row: extract this video again"
        )
    # published spans end up to a unit after their video is cut, and features may lack one more
    spans = np.asarray(stated.spans).reshape(-1, 2).tolist()
    for start, end in spans:
        if start >= frames + unit or end > frames + (1 + MAX_GAP) * unit:
            raise DataError(
                f"{stated.spans_source}: {name} has a span {start} to {end}, and {frames:,} frames;"
                " expected spans inside the video: mend the line, or give features of the whole"
                " video"
            )
    for span in video.spans.tolist():
        if not 0 <= span[0] < span[1] <= frames:
            raise DataError(
                f"{name}: span {span} in {frames:,} frames; expected 0 <= start < end <= frames:"
                " mend the annotation"
            )
    label = video.label
    if video.split == "test" and label in (0, 1) and bool(label) != bool(len(video.spans)):
        source, found, written = stated.spans_source or "the ground truth", "no abnormal frame", ""
        if not label:
            found = f"{labels_from_spans(video.spans, frames).sum():,} abnormal frames"
        elif spans:
            written = f" (its spans there: {', '.join(f'{a}-{b}' for a, b in spans[:3])})"
        raise DataError(
            f"{source}: {name} has label {label} and {found} among its {frames:,}"
            f" frames{written}; expected some exactly in abnormal videos: mend the label or the"
            " spans"
        )


def align(features: Mapping[str, np.ndarray], where: str) -> tuple[dict[str, np.ndarray], int]:
    """Modalities [C, N_m, D] cut to the shortest, and how many were cut. Raises DataError for a
    gap of more than MAX_GAP rows."""
    units = {m: array.shape[1] for m, array in features.items()}
    shortest, longest = min(units.values()), max(units.values())
    if longest - shortest > MAX_GAP:
        rows = ", ".join(f"{m} {n}" for m, n in units.items())
        raise DataError(
            f"{where}: modalities of {rows} rows; "
            f"expected a difference of at most {MAX_GAP}, extract or copy the odd one again"
        )
    cut = sum(n > shortest for n in units.values())
    return {m: array[:, :shortest] for m, array in features.items()}, cut


class Crops:
    """Numbers of crops of the videos of one part, a modality: they must be one number, else axes
    are swapped or crops lost."""

    def __init__(self):
        # modality -> video -> (crops, units)
        self._seen: dict[str, dict[str, tuple[int, int]]] = {}

    def add(self, modality: str, name: str, crops: int, units: int) -> None:
        """One more video."""
        self._seen.setdefault(modality, {})[name] = crops, units

    def require(self, modality: str, name: str, crops: int, units: int) -> None:
        """As `add`. Raises DataError where the video differs from the first one."""
        self.add(modality, name, crops, units)
        other, (count, of) = next(iter(self._seen[modality].items()))
        if count != crops:
            raise DataError(_unequal(modality, name, crops, units, f"{other} has {count} of {of}"))

    def odd(self) -> list[tuple[str, str]]:
        """(video, what is wrong) of those that differ from most."""
        found = []
        for modality, videos in self._seen.items():
            counts = collections.Counter(crops for crops, _ in videos.values())
            usual = max(counts, key=lambda crops: (counts[crops], -crops))
            others = f"{counts[usual]} videos have {usual}"
            alike = counts[usual] > 1
            if not alike:  # none of them is right
                others = f"{len(counts)} numbers among {len(videos)} videos"
            for name, one in videos.items() if len(counts) > 1 else ():
                if not alike or one[0] != usual:
                    found.append((name, _unequal(modality, name, *one, others)))
        return found


def _unequal(modality: str, name: str, crops: int, units: int, others: str) -> str:
    return (
        f"{name}: {modality} has {crops} crops of {units} units, {others}; expected the same number"
        " of crops in every video of a part. Are the axes swapped? Files are [units, crops,"
        " features]: transpose them, or extract the odd ones again"
    )


def require_trainable(train: Sequence[int], test: Sequence[int], where: str) -> str:
    """What a user should know of the labels of both parts before training; '' for nothing. Raises
    DataError where training cannot work.

    Args: train, test: labels of the videos (1 abnormal, 0 normal); where: the set, for the message.
    """
    counts = collections.Counter(int(label) for label in train)
    if not counts[0] or not counts[1]:
        raise DataError(
            f"{where}: {counts[1]} abnormal and {counts[0]} normal training videos; expected both"
            " kinds, for weak labels say what to tell apart: add the missing kind to the training"
            " part, or mend the labels"
        )
    if not len(test):
        raise DataError(f"{where}: no test videos; expected some to evaluate on: add the test part")
    if not any(int(label) == 1 for label in test):
        return (
            f"{where}: no abnormal video among {len(test)} test videos: AUC, AP and EER are"
            " undefined (null in the results)"
        )
    return ""


def frame_labels(array: np.ndarray, where: str, length: int | None = None) -> np.ndarray:
    """Labels of frames as uint8 [T]. Raises DataError for another shape or length (None: any),
    and values that are not 0 or 1."""
    array = np.asarray(array)
    if array.ndim != 1 or not array.size or (length is not None and len(array) != length):
        many = f", {length} of them: use the frames that the labels were made for"
        expected = f"one 0 or 1 a frame{'' if length is None else many}"
        raise DataError(f"{where}: shape {array.shape}; expected {expected}")
    return _zeros_and_ones(array, where, "frame", (0, 1)).astype(np.uint8)


def pixel_labels(array: np.ndarray, where: str) -> np.ndarray:
    """Masks of pixels as bool, of the same shape. Raises DataError for values that are not 0 and
    1 (or 0 and 255, as pictures have it)."""
    array = np.asarray(array)
    picture = array.size and array.dtype.kind in "iu" and array.max() == 255
    return _zeros_and_ones(array, where, "place", (0, 255) if picture else (0, 1)) != 0


def _zeros_and_ones(
    array: np.ndarray, where: str, place: str, allowed: tuple[int, int]
) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: values of type {array.dtype}; expected 0 and 1: write them again as numbers"
        )
    bad = np.argwhere(~np.isin(array, allowed))
    if len(bad):
        index = tuple(bad[0].tolist())
        at = index[0] if len(index) == 1 else list(index)
        raise DataError(
            f"{where}: value {array[index]} at {place} {at} (from 0), {len(bad):,} such in all;"
            " expected 0 and 1, 1 where abnormal: write the labels again"
        )
    return array


def check_table(array: np.ndarray, count: int, where: str, allowed: Sequence[object] = ()) -> None:
    """Raises DataError where a list beside an array of videos has another length, or values that
    are not allowed (none given: any)."""
    if array.shape != (count,):
        raise DataError(
            f"{where}: shape {list(array.shape)}; expected {count} entries, one a video: write it"
            " again"
        )
    text = lambda value: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    bad = [i for i, value in enumerate(array.tolist()) if allowed and text(value) not in allowed]
    if bad:
        raise DataError(
            f"{where}: {array.tolist()[bad[0]]!r} at {bad[0]} (from 0), {len(bad):,} such;"
            f" expected {some(map(str, allowed))}"
        )
