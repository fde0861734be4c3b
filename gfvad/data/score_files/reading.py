"""What a file says: one array a video, or one array for all of them, with or without the order and
the lengths of the videos.

Names of members that are understood, in .npz, .mat and .json (and columns of a CSV):

    scores, score, pred, preds, predictions, anomaly_scores   what is evaluated
    labels, label, gt, ground_truth, frame_labels             0 normal, 1 abnormal, a frame
    names, name, videos, video, order                         the videos, in the order of the array
    lengths, length, counts                                   how many entries each video has

A member `scores` is one array for all videos, or maps (or lists, beside names) an array a video.
`scores_NAME`, `scores/NAME` and the like are of one video. Without any of these, every member is a
video of that name, and a single one is all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.names import canonical, first_of
from gfvad.base.types import DataError
from gfvad.data.score_files.containers import is_mapping, read_members, texts_of

SCORES, LABELS = "scores", "labels"
WORDS = {
    SCORES: ("scores", "score", "preds", "pred", "predictions", "prediction", "anomaly_scores"),
    LABELS: ("labels", "label", "gt", "ground_truth", "frame_labels"),
}
ORDER = ("names", "name", "videos", "video", "order")
LENGTHS = ("lengths", "length", "counts")


class Content(NamedTuple):
    """What a file holds of scores, or of labels."""

    path: Path
    videos: dict[str, np.ndarray]  # by name, [T] each; {} where all stand in one array
    one: np.ndarray | None  # [sum of T]; None where each video has its own
    order: tuple[str, ...]  # of the videos in it, where the file says it
    lengths: tuple[int, ...]  # of the videos in it, where the file says it

    @property
    def total(self) -> int:
        """Entries in all."""
        whole = self.one if self.one is not None else ()
        return len(whole) + sum(map(len, self.videos.values()))


def read_content(path: Path, kind: str = SCORES) -> Content:
    """The scores (or labels) of a file. Raises DataError where it holds none, for what is no
    number or not finite, and for labels that are not 0 or 1."""
    members = read_members(path)
    found = of_members(path, members, kind)
    if found is None:
        expected = f"an array {kind!r}, one array a video, or one array for all"
        raise DataError(
            f"{path}: no {kind}, found {first_of(sorted(members), 5) or 'nothing'}; expected"
            f" {expected}: see docs/compare_scores.md"
        )
    return found


def of_members(path: Path, members: Mapping[str, Any], kind: str) -> Content | None:
    """What members hold of a kind; None where it is nothing."""
    order, lengths = _order(path, members), _lengths(path, members)
    own = next((word for word in WORDS[kind] if word in members), None)
    if own is None and "" in members:
        own = ""
    if own is not None:
        member, where = members[own], f"{path}{f', {own}' if own else ''}"
        return _of_member(path, member, where, kind, (order, lengths))
    videos = _prefixed(members, kind)
    if not videos and not any(_prefixed(members, other) for other in WORDS):
        other = {word for words in WORDS.values() for word in words}
        videos = {k: v for k, v in members.items() if k not in (*other, *ORDER, *LENGTHS)}
        if len(videos) == 1:  # 'arr_0' of numpy.savez, or whatever it is called
            ((name, member),) = videos.items()
            return _of_member(path, member, f"{path}, {name}", kind, (order, lengths))
    if not videos:
        return None
    return Content(path, _by_video(path, videos, kind), None, (), ())


def _of_member(
    path: Path, member: Any, where: str, kind: str, said: tuple[tuple[str, ...], tuple[int, ...]]
) -> Content:
    """A member that holds all videos. said: their order and lengths."""
    order, lengths = said
    if is_mapping(member):
        return Content(path, _by_video(path, member, kind), None, (), ())
    rows = member if isinstance(member, list) else None
    if isinstance(member, np.ndarray) and member.ndim > 1 and len(order) == len(member) > 1:
        rows = list(member)  # [V, T], cut to lengths
        if lengths and len(lengths) == len(rows):
            rows = [row[:length] for row, length in zip(rows, lengths)]
    if rows is None:
        return Content(path, {}, vector(member, where, kind), order, lengths)
    if len(order) != len(rows):
        raise DataError(
            f"{where}: {len(rows)} arrays and {len(order) or 'no'} names; expected a name a video"
            f" beside them: add the list 'names' in the order of the arrays"
        )
    return Content(path, _by_video(path, dict(zip(order, rows)), kind), None, order, ())


def _by_video(path: Path, videos: Mapping[str, Any], kind: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, array in videos.items():
        key = canonical(str(name))
        if key in found:
            raise DataError(f"{path}: video {key!r} stands twice; expected every video once")
        found[key] = vector(array, f"{path}, {name}", kind)
    return found


def _prefixed(members: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """{NAME: array} of members 'scores_NAME', 'scores/NAME', 'scores.NAME'."""
    found = {}
    for key, member in members.items():
        match = re.fullmatch(rf"(?:{'|'.join(WORDS[kind])})[_/.](.+)", key, flags=re.S)
        if match:
            found[match[1]] = member
    return found


def vector(array: Any, where: str, kind: str) -> np.ndarray:
    """An array as one-dimensional numbers: axes of length 1 go. float64 scores, uint8 labels.

    Raises DataError for another shape, what is no number or not finite, and labels but 0 and 1.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        what = "no plain numbers" if array.dtype.kind == "O" else f"of type {array.dtype}"
        raise DataError(f"{where}: {what}; expected one number a frame or snippet")
    shape, array = array.shape, np.squeeze(array)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != 1 or not array.size:
        advice = ""
        if array.ndim == 2:
            advice = ": take the mean over crops first, or the column of the class that counts"
        raise DataError(f"{where}: shape {shape}; expected [T] or [T, 1]{advice}")
    if kind == LABELS:
        if not ((array == 0) | (array == 1)).all():
            odd = array[~((array == 0) | (array == 1))][0]
            raise DataError(
                f"{where}: a label {odd}; expected 0 (normal) and 1 (abnormal): threshold or recode"
                " them first"
            )
        return array.astype(np.uint8)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array))
        raise DataError(
            f"{where}: {len(bad):,} of {len(array):,} scores are not finite (the first,"
            f" {array[bad[0]]}, at index {bad[0]}); expected numbers: mend what made them"
        )
    return array


def _order(path: Path, members: Mapping[str, Any]) -> tuple[str, ...]:
    for word in ORDER:
        if (names := texts_of(members.get(word))) is not None:
            found = tuple(canonical(name) for name in names)
            if len(set(found)) < len(found):
                twice = next(name for name in found if found.count(name) > 1)
                raise DataError(
                    f"{path}, {word}: {twice!r} stands twice; expected every video once"
                )
            return found
    return ()


def _lengths(path: Path, members: Mapping[str, Any]) -> tuple[int, ...]:
    for word in LENGTHS:
        member = members.get(word)
        if isinstance(member, np.ndarray) and member.dtype.kind in "iuf":
            return whole_lengths(member.reshape(-1), f"{path}, {word}")
    return ()


def whole_lengths(numbers: Sequence[float] | np.ndarray, where: str) -> tuple[int, ...]:
    """Lengths of videos. Raises DataError for one that is no whole number above 0."""
    for number in numbers:
        if not (np.isfinite(number) and number >= 1 and number == int(number)):
            raise DataError(f"{where}: a length {number}; expected whole numbers above 0")
    return tuple(int(number) for number in numbers)
