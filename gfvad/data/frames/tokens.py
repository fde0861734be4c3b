"""Patch tokens of every frame of a set of videos, computed once by a frozen encoder (`encoders/`)
and kept as one float16 memory map on disk.

A cache folder holds tokens.npy [T_total, L, D], index.json (names, lengths, grid) and manifest.json
(written last, see data/prepared_folder.py). It is complete or absent; an interrupted run leaves a
hidden folder beside it, and the next run goes on with the video it stopped at.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gfvad.base.arrays import map_npy
from gfvad.base.progress import Progress
from gfvad.base.seals import lines_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.data import set_identity
from gfvad.data.frames.frame_arrays import GivenArrays
from gfvad.data.frames.token_cache import CHECKED, TOKENS, Frames, TokenJob, compute
from gfvad.encoders.registry import FrameEncoder
from gfvad.encoders.token_folder import TokenFolder, token_file

DATASET = "vision tokens"
CHECK_BYTES = 64 << 20  # read at once when looking for values that are not finite


class TokenStore(GivenArrays):
    """Tokens of the frames of V videos, read-only views [T_i, L, D] of files on disk: float16
    (float32 where a folder of tokens holds that).

    grid (rows, columns), L = rows * columns; width D; fingerprint of encoder, frames and videos.
    """

    def __init__(
        self,
        names: Sequence[str],
        videos: Sequence[np.ndarray],
        grid: tuple[int, int],
        width: int,
        fingerprint: str,
    ):
        super().__init__(names, videos)
        self.grid, self.width = (int(grid[0]), int(grid[1])), int(width)
        self.fingerprint = fingerprint

    def __repr__(self) -> str:
        return f"TokenStore({self.fingerprint[:16]!r}, {len(self)} videos)"


def open_tokens(
    encoder: FrameEncoder | None,
    frames: Frames | None,
    names: Sequence[str],
    lengths: Sequence[int] | np.ndarray,
    cache: str | os.PathLike,
    say: Callable[[str], object] = lambda line: None,
) -> TokenStore:
    """The tokens of all frames, from the cache folder where they are there, else computed into it
    (for 'tokens:' only checked, once).

    `names` and `lengths` (frames) are those of the videos of `frames`, which may be None for a
    TokenFolder. One folder in `cache` stands for an encoder's fingerprint, the frames' and the
    videos. Another process that computes the same is waited for. `say` gets what is going on in a
    line. Raises DataError, naming the video, for frames or tokens that do not fit, values that are
    not finite in float16, and a full disk.
    """
    if encoder is None:
        raise ConfigError(
            "vision encoder 'patches' is trained in the model: there are no tokens to open"
        )
    names, lengths = tuple(map(str, names)), tuple(map(int, lengths))
    if len(names) != len(lengths) or not names or min(lengths) < 1 or len(set(names)) < len(names):
        raise DataError(
            f"tokens: {len(names)} names and {len(lengths)} lengths, expected one length of at"
            " least 1 frame for each of the distinct names"
        )
    listed = lines_hash([f"{name} {length}" for name, length in zip(names, lengths)])
    if isinstance(encoder, TokenFolder):
        key = lines_hash([encoder.fingerprint, listed])
        stamp = Path(cache) / "tokens" / f"{encoder.name}-{key[:16]}.{CHECKED}"
        videos = _open_folder(encoder, names, lengths)
        if not stamp.is_file():
            say(f"tokens: checking the values of {len(names)} videos in {encoder.folder} (once)")
            with Progress(sum(lengths), "tokens (check)", "frames") as bar:
                for name, video in zip(names, videos):
                    _check_values(encoder.folder / f"{name}.npy", video, bar)
            with manifest_lib.locked(stamp):
                manifest_lib.write_json(stamp, {"folder": str(encoder.folder), "fingerprint": key})
        return TokenStore(names, videos, encoder.grid, encoder.width, key)
    if frames is None:
        raise ConfigError(
            f"vision encoder {encoder.name!r} needs the frames of the videos, found None"
        )
    key = lines_hash([encoder.fingerprint, _frames_fingerprint(frames, len(names)), listed])
    job = TokenJob(encoder, frames, names, np.cumsum([0, *lengths]))
    target = Path(cache) / "tokens" / f"{encoder.name}-{key[:16]}"
    identity = {
        "format": set_identity.FORMAT,
        "dataset": DATASET,
        "modalities": {encoder.name: encoder.width},
        "splits": {
            "all": {"videos": len(names), "frames": sum(lengths), "grid": list(encoder.grid)}
        },
        "source": key,
    }
    if not manifest_lib.is_current(target, identity):
        with manifest_lib.locked(target):
            if not manifest_lib.is_current(target, identity):  # another process may have been at it
                manifest_lib.refuse_foreign(target, DATASET)
                compute(job, identity, target, say)
    tokens = map_npy(target / TOKENS)  # [T_total, L, D]
    videos = [tokens[start:stop] for start, stop in zip(job.offsets, job.offsets[1:])]
    return TokenStore(names, videos, encoder.grid, encoder.width, key)


def _frames_fingerprint(frames: Frames, videos: int) -> str:
    """The frame store's own fingerprint, else a hash of all its frames."""
    own = getattr(frames, "fingerprint", None)
    if own is not None:
        return str(own)
    content = (np.ascontiguousarray(frames.video(i)) for i in range(videos))
    return lines_hash([f"{v.shape} {hashlib.sha256(v.data).hexdigest()}" for v in content])


# ---- tokens made elsewhere


def _open_folder(
    encoder: TokenFolder, names: Sequence[str], lengths: Sequence[int]
) -> list[np.ndarray]:
    """The files of a folder of tokens as maps, one a video. Raises DataError for names and shapes
    that do not fit."""
    paths = [encoder.folder / f"{name}.npy" for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        found = f"{len(missing)} of {len(paths)} videos have no tokens, e.g. {missing[0].name}"
        raise DataError(
            f"{encoder.folder}: {found}; expected NAME.npy for every video: export them, or correct"
            " the names"
        )
    videos = list(map(token_file, paths))
    for path, video, length in zip(paths, videos, lengths):
        expected = (length, math.prod(encoder.grid), encoder.width)
        if video.shape != expected:
            what = (
                "one row a frame"
                if video.shape[1:] == expected[1:]
                else f"L and D of the folder's first file, grid {encoder.grid}"
            )
            raise DataError(
                f"{path}: tokens {list(video.shape)}, expected {list(expected)} ({what}): export"
                " them from the same frames by one model"
            )
    return videos


def _check_values(path: Path, video: np.ndarray, bar: Progress) -> None:
    """DataError naming the first frame with a value that is not finite."""
    step = max(1, CHECK_BYTES // max(1, video[0].nbytes))
    for start in range(0, len(video), step):
        part = video[start : start + step]
        finite = np.isfinite(part).all(axis=(1, 2))
        if not np.all(finite):
            raise DataError(
                f"{path}: NaN or infinity in frame {start + int(np.argmin(finite))}, expected"
                " finite tokens: export the video again"
            )
        bar.advance(len(part))
