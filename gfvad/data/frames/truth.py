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
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.arrays import load_npy, load_npz
from gfvad.base.files import read_bytes, read_text, require_regular, whole_number
from gfvad.base.names import Names, match_names, near, some
from gfvad.base.types import DataError
from gfvad.data.frames import decode
from gfvad.data.frames.cache import Say, say_on_stderr
from gfvad.data.frames.video_folders import VideoFile, frames_of
from gfvad.data.truth_audit import frame_labels, pixel_labels

LABELS = (
    "test_spans.txt",
    "testing/test_frame_mask",
    "test/test_frame_mask",
    "test_frame_mask",
    "Test/*.m",
)
MASKS = (
    "test_masks_packed.npz",
    "testing/test_pixel_mask",
    "test/test_pixel_mask",
    "test_pixel_mask",
    "ground_truth_demo/testing_label_mask",
    "testing_label_mask",
)


class Masks(Sequence):
    """Pixel masks of V videos, each bool [T_i, H, W], read when it is asked for (all at once
    would take gigabytes)."""

    def __init__(self, load: Callable[[int], np.ndarray], count: int):
        self._load, self._count = load, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> np.ndarray:
        if not -self._count <= i < self._count:
            raise IndexError(i)
        return self._load(i % self._count)


class Truth(NamedTuple):
    """Ground truth of V videos."""

    labels: tuple[np.ndarray, ...]  # V x uint8 [T_i], 1 abnormal
    spans: tuple[np.ndarray, ...]  # V x int64 [S, 2] runs of abnormal frames, half-open, from 0
    masks: Masks | None  # V x bool [T_i, H, W]; None where there are none
    source: str  # the files in words, for the report


def find_truth(
    root: str | os.PathLike,
    videos: Sequence[VideoFile],
    lengths: Sequence[int],
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
    root = Path(root).expanduser()
    if not root.is_dir():
        return None
    if not videos:
        raise DataError(f"{root}: no test videos; expected some to evaluate on")
    names, lengths = [video.name for video in videos], np.asarray(lengths, np.int64)
    labels_path, masks_path = (
        _first(root, spans, LABELS, "labels of frames"),
        _first(root, masks, MASKS, "masks") or _ucsd_masks(videos),
    )
    if labels_path is None and masks_path is None:
        return None
    labels = read_labels(labels_path, names, lengths) if labels_path else None
    found = open_masks(masks_path, videos) if masks_path else None
    if found is not None:
        by_mask = [
            _checked(mask, name, int(n), masks_path, 3).any((1, 2)).astype(np.uint8)
            for mask, name, n in zip(found, names, lengths)
        ]
        if labels is not None:
            _require_agreement(names, labels, by_mask, labels_path, masks_path)
        labels = by_mask if labels is None else labels
    source = " and ".join(str(path) for path in (labels_path, masks_path) if path)
    return Truth(tuple(labels), tuple(runs(row) for row in labels), found, source)


def check_before_decoding(
    root: str | os.PathLike,
    videos: Sequence[VideoFile],
    train: Sequence[VideoFile],
    *,
    spans: str | os.PathLike = "",
    masks: str | os.PathLike = "",
) -> bool:
    """Whether ground truth lies in `root`, as `find_truth` looks for it; of what needs no lengths
    of the videos, raises DataError as it does.

    Also where an array of frame labels says that a training video is abnormal: the model learns
    what is normal from all of them.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        return False
    labels_path, masks_path = (
        _first(root, spans, LABELS, "labels of frames"),
        _first(root, masks, MASKS, "masks") or _ucsd_masks(videos),
    )
    if labels_path and labels_path.is_dir():
        names = [video.name for video in videos]
        for file in _file_a_video(labels_path, ".npy", names):
            frame_labels(load_npy(file), str(file))
        for video in train:
            file = labels_path / f"{video.name}.npy"
            if (
                video.name not in names
                and file.is_file()
                and frame_labels(load_npy(file), str(file)).any()
            ):
                raise DataError(
                    f"{file}: abnormal frames of {video.name!r}, which is a training video;"
                    " expected normal ones only: move it to the test part"
                )
    return bool(labels_path or masks_path)


def undefined(truth: Truth) -> str:
    """What a user should know before the model is run: that all frames are of one kind; '' where
    both are there."""
    abnormal, frames = sum(int(row.sum()) for row in truth.labels), sum(map(len, truth.labels))
    kind = (
        "no frame is abnormal"
        if not abnormal
        else "every frame is abnormal"
        if abnormal == frames
        else ""
    )
    return (
        f"{truth.source}: {kind} of {frames:,} in {len(truth.labels)} test videos: AUC, AP and EER"
        " are undefined (null in the results)"
        if kind
        else ""
    )


def _first(root: Path, given: str | os.PathLike, usual: Sequence[str], what: str) -> Path | None:
    """The path that was given, which must be there, else the first of the usual ones that is."""
    if str(given):
        path = root / Path(given).expanduser()
        if not path.exists():
            raise DataError(
                f"{path}: not found; expected {what} of the test videos: check the name, or give"
                " none to have them looked for"
            )
        return path
    return next((path for name in usual for path in sorted(root.glob(name))), None)


def runs(labels: np.ndarray) -> np.ndarray:
    """Runs of ones in labels [T]: int64 [S, 2], half-open."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels, [0]]).astype(np.int8)))
    return edges.reshape(-1, 2).astype(np.int64)


# ---- labels of frames


def read_labels(path: Path, names: Sequence[str], lengths: Sequence[int]) -> list[np.ndarray]:
    """Labels uint8 [T_i] of each video from a file of spans, UCSD's .m, or a folder with an .npy
    a video. Raises DataError."""
    if path.is_dir():
        files = _file_a_video(path, ".npy", names)
        return [
            frame_labels(_checked(load_npy(file), name, int(n), file, 1), str(file))
            for file, name, n in zip(files, names, lengths)
        ]
    return (
        read_matlab_spans(path, names, lengths)
        if path.suffix == ".m"
        else read_spans(path, names, lengths)
    )


def read_spans(path: Path, names: Sequence[str], lengths: Sequence[int]) -> list[np.ndarray]:
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
                f" {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
        _mark(labels[i], first, last, where, names[i])
    return labels


def read_matlab_spans(path: Path, names: Sequence[str], lengths: Sequence[int]) -> list[np.ndarray]:
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


# ---- masks


def open_masks(path: Path, videos: Sequence[VideoFile]) -> Masks:
    """Masks of each video from a packed .npz, or a folder with an .npy, a .mat or a folder of
    images NAME_gt a video. Raises DataError."""
    names = [video.name for video in videos]
    if path.suffix == ".npz":
        return _packed(path, names, videos)
    if not path.is_dir():
        raise DataError(
            f"{path}: expected masks: a packed .npz, or a folder of .npy, .mat or NAME_gt folders"
        )
    if any(p.suffix.lower() == ".mat" for p in path.iterdir()):
        mats = _file_a_video(path, ".mat", names)
        return Masks(lambda i: _load_mat(mats[i]), len(mats))
    if any(path.glob("*_gt")):
        folders = [path / f"{name}_gt" for name in names]
        return Masks(lambda i: _bitmaps(folders[i]), len(folders))
    files = _file_a_video(path, ".npy", names)
    return Masks(lambda i: pixel_labels(load_npy(files[i]), str(files[i])), len(files))


def _ucsd_masks(videos: Sequence[VideoFile]) -> Path | None:
    """UCSD's folder of videos where each has its masks beside it."""
    beside = all(video.path.with_name(f"{video.path.name}_gt").is_dir() for video in videos)
    return videos[0].path.parent if videos and beside else None


def _packed(path: Path, names: Sequence[str], videos: Sequence[VideoFile]) -> Masks:
    """Masks of a packed npz; the width is that of the videos, for the last byte of a row may be
    padded."""
    packed = load_npz(path)
    found = match_names(names, list(packed))
    if -1 in found:
        lost = names[found.index(-1)]
        raise DataError(
            f"{path}: no masks of video {lost!r}{near(lost, packed)}, found"
            f" {', '.join(list(packed)[:8])}; expected an array a test video"
        )
    if unused := [name for k, name in enumerate(packed) if k not in set(found)]:
        say_on_stderr(
            f"note: {path}: {len(unused)} of {len(packed)} arrays are of no test video here, and"
            f" are left out: {some(unused)}"
        )
    rows = [list(packed.values())[k] for k in found]
    for name, row in zip(names, rows):
        if row.ndim != 3 or row.dtype != np.uint8:
            raise DataError(
                f"{path}: video {name!r} has {row.dtype} {list(row.shape)}, expected uint8 [frames,"
                " H, W / 8] of np.packbits"
            )
    widths = [decode.first_frame(video).shape[1] for video in videos]
    for name, row, width in zip(names, rows, widths):
        if row.shape[2] != -(-width // 8):
            raise DataError(
                f"{path}: video {name!r} has rows of {row.shape[2]} bytes, expected"
                f" {-(-width // 8)} for frames {width} pixels wide"
            )
    return Masks(lambda i: np.unpackbits(rows[i], axis=-1, count=widths[i]).astype(bool), len(rows))


def _bitmaps(folder: Path) -> np.ndarray:
    return np.stack([decode.read_image(path, decode.GREY) > 0 for path in frames_of(folder)])


MAT_ERRORS = (  # what scipy raises for a damaged file
    OSError,
    KeyError,
    ValueError,
    TypeError,
    NotImplementedError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


def _load_mat(path: Path) -> np.ndarray:
    """bool [T, H, W] of Avenue's `volLabel`: a cell a frame."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    require_regular(path, "Avenue's 'volLabel' with one mask a frame")
    try:
        cells = loadmat(path)["volLabel"]
        volume = np.stack([np.asarray(cell) for cell in cells.reshape(-1)])
    except MAT_ERRORS + (MatReadError,) as error:
        raise DataError(
            f"{path}: not readable ({error}); expected Avenue's 'volLabel' with one mask a frame"
        ) from None
    return pixel_labels(volume, str(path))


# ---- shared


def _file_a_video(
    folder: Path, suffix: str, names: Sequence[str], say: Say = say_on_stderr
) -> list[Path]:
    """The file of each video; `say` is told of the others. Raises DataError where one is missing
    or there twice in two spellings."""
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == suffix and not path.name.startswith(".")
    )
    spelt = Names(folder.name)
    for file in files:
        spelt.add(str(file), file.stem, file)
    found = match_names(names, [file.stem for file in files])
    if -1 in found:
        lost = names[found.index(-1)]
        raise DataError(
            f"{folder}: no {suffix} of video {lost!r}{near(lost, spelt)}, found {len(files)} files;"
            " expected one a test video, by its name"
        )
    if unused := [file.name for i, file in enumerate(files) if i not in set(found)]:
        say(
            f"note: {folder}: {len(unused)} of {len(files)} files are of no test video here, and"
            f" are left out: {some(unused)}"
        )
    return [files[k] for k in found]


def _checked(array: np.ndarray, name: str, length: int, where: Path, ndim: int) -> np.ndarray:
    if array.ndim != ndim or len(array) != length:
        raise DataError(
            f"{where}: video {name!r} has ground truth of shape {list(array.shape)}, expected"
            f" {length} frames{' x H x W' if ndim == 3 else ''}: use the frames the ground truth"
            " was made for"
        )
    return array


def _require_agreement(
    names: Sequence[str],
    labels: Sequence[np.ndarray],
    by_mask: Sequence[np.ndarray],
    labels_path: Path,
    masks_path: Path,
) -> None:
    for name, one, other in zip(names, labels, by_mask):
        differ = np.flatnonzero(one != other)
        if len(differ):
            t = int(differ[0])
            raise DataError(
                f"{labels_path} and {masks_path} disagree on {len(differ)} frames of video"
                f" {name!r}: frame {t + 1} (from 1) is {one[t]} by the first, {other[t]} by the"
                " masks; expected the same: remove the one that is wrong"
            )
