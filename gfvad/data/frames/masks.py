"""Masks of pixels of test videos, in the formats that the sets are published in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gfvad.base.arrays import load_npy, load_npz
from gfvad.base.files import require_regular
from gfvad.base.names import Names, match_names, near, some
from gfvad.base.types import DataError
from gfvad.data.frames import decode
from gfvad.data.frames.cache import Say, say_on_stderr
from gfvad.data.frames.video_folders import VideoFile, frames_of
from gfvad.data.truth_audit import pixel_labels

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
        return self._load(range(self._count)[i])


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
        mats = file_a_video(path, ".mat", names)
        return Masks(lambda i: _load_mat(mats[i]), len(mats))
    if any(path.glob("*_gt")):
        folders = [path / f"{name}_gt" for name in names]
        images = lambda i: [decode.read_image(p, decode.GREY) > 0 for p in frames_of(folders[i])]
        return Masks(lambda i: np.stack(images(i)), len(folders))
    files = file_a_video(path, ".npy", names)
    return Masks(lambda i: pixel_labels(load_npy(files[i]), str(files[i])), len(files))


def ucsd_masks(videos: Sequence[VideoFile]) -> Path | None:
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
    widths = [decode.first_frame(video).shape[1] for video in videos]
    for name, row, width in zip(names, rows, widths):
        if row.ndim != 3 or row.dtype != np.uint8:
            raise DataError(
                f"{path}: video {name!r} has {row.dtype} {list(row.shape)}, expected uint8 [frames,"
                " H, W / 8] of np.packbits"
            )
        if row.shape[2] != -(-width // 8):
            raise DataError(
                f"{path}: video {name!r} has rows of {row.shape[2]} bytes, expected"
                f" {-(-width // 8)} for frames {width} pixels wide"
            )
    return Masks(lambda i: np.unpackbits(rows[i], axis=-1, count=widths[i]).astype(bool), len(rows))


def _load_mat(path: Path) -> np.ndarray:
    """bool [T, H, W] of Avenue's `volLabel`: a cell a frame."""
    from scipy.io import loadmat

    require_regular(path, "Avenue's 'volLabel' with one mask a frame")
    try:
        cells = loadmat(path)["volLabel"]
        volume = np.stack([np.asarray(cell) for cell in cells.reshape(-1)])
    except Exception as error:  # scipy's for damaged files are of many kinds
        raise DataError(
            f"{path}: not readable ({error}); expected Avenue's 'volLabel' with one mask a frame"
        ) from None
    return pixel_labels(volume, str(path))


# ---- shared


def file_a_video(
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
