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
from typing import Any

import numpy as np

from gfvad.base.arrays import map_npy
from gfvad.base.progress import Progress, Silent
from gfvad.base.seals import lines_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.data import set_identity
from gfvad.data.frames.token_cache import CHECKED, TOKENS, Frames, compute
from gfvad.encoders.registry import FrameEncoder
from gfvad.encoders.token_folder import TokenFolder, token_file

DATASET = "vision tokens"
CHECK_BYTES = 64 << 20  # read at once when looking for values that are not finite


class TokenStore:
    """Tokens of the frames of V videos, read from disk where they are touched; the interface of a
    frame store (`cache.Store`).

    names [V]; lengths, offsets int64 [V] (frame t of video i is frame offsets[i] + t of all); grid
    (rows, columns), L = rows * columns; width D; fingerprint of encoder, frames and videos.
    """

    def __init__(
        self,
        names: Sequence[str],
        videos: Sequence[np.ndarray],
        grid: tuple[int, int],
        width: int,
        fingerprint: str,
    ):
        self.names, self.grid, self.width, self.fingerprint = (
            tuple(names),
            (int(grid[0]), int(grid[1])),
            int(width),
            fingerprint,
        )
        # plain views: indexing np.memmap itself costs a Python call more for every result
        self._videos = [np.asarray(video) for video in videos]
        self.lengths = np.array([len(video) for video in videos], np.int64)
        self.offsets = np.cumsum(self.lengths) - self.lengths

    def __repr__(self) -> str:
        return f"TokenStore({self.fingerprint[:16]!r}, {len(self)} videos)"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def total(self) -> int:
        """Frames of all videos, T_total."""
        return int(self.lengths.sum())

    def video(self, i: int) -> np.ndarray:
        """Tokens of video i, a read-only view [T_i, L, D], float16 (float32 where a folder of
        tokens holds that)."""
        return self._videos[i]

    def clip(self, video: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Tokens of some frames (0-based) of a video in any order, repeats allowed: a copy [n,
        L, D]. IndexError outside the video."""
        indices, length = np.asarray(indices, np.int64), int(self.lengths[video])
        if indices.size and not (indices.min() >= 0 and indices.max() < length):
            raise IndexError(
                f"frames {indices.min()} to {indices.max()} of a video of {length} frames"
            )
        return self._videos[video][indices]


def open_tokens(
    encoder: FrameEncoder,
    frames: Frames | None,
    names: Sequence[str],
    lengths: Sequence[int],
    cache: str | os.PathLike,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, str, str], Progress] | None = Progress,
) -> TokenStore:
    """The tokens of all frames, from the cache folder where they are there, else computed into it
    (for 'tokens:' only checked, once).

    `names` and `lengths` (frames) are those of the videos of `frames`, which may be None for a
    TokenFolder. One folder in `cache` stands for an encoder's fingerprint, the frames' and the
    videos. Another process that computes the same is waited for. `say` gets what is going on in a
    line, `progress(total, label, unit)` reports the work (None: silent). Raises DataError, naming
    the video, for frames or tokens that do not fit, values that are not finite in float16, and a
    full disk.
    """
    say = say or (lambda line: None)
    if frames is None and encoder is not None and not isinstance(encoder, TokenFolder):
        raise ConfigError(
            f"vision encoder {encoder.name!r} needs the frames of the videos, found None"
        )
    names, lengths = tuple(map(str, names)), tuple(map(int, lengths))
    if encoder is None:
        raise ConfigError(
            "vision encoder 'patches' is trained in the model: there are no tokens to open"
        )
    if len(names) != len(lengths) or not names or min(lengths) < 1 or len(set(names)) < len(names):
        raise DataError(
            f"tokens: {len(names)} names and {len(lengths)} lengths, expected one length of at"
            " least 1 frame for each of the distinct names"
        )
    # [V + 1]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    videos_line = lines_hash([f"{name} {length}" for name, length in zip(names, lengths)])
    if isinstance(encoder, TokenFolder):
        return _open_folder(encoder, names, offsets, videos_line, Path(cache), say, progress)
    key = lines_hash([encoder.fingerprint, _frames_fingerprint(frames, len(names)), videos_line])
    target = Path(cache) / "tokens" / f"{encoder.name}-{key[:16]}"
    identity = {
        "format": set_identity.FORMAT,
        "dataset": DATASET,
        "modalities": {encoder.name: encoder.width},
        "splits": {
            "all": {"videos": len(names), "frames": int(offsets[-1]), "grid": list(encoder.grid)}
        },
        "source": key,
    }
    if not manifest_lib.is_current(target, identity):
        with manifest_lib.locked(target):
            if not manifest_lib.is_current(target, identity):  # another process may have been at it
                manifest_lib.refuse_foreign(target, DATASET)
                compute(encoder, frames, names, offsets, identity, target, say, progress)
    # [T_total, L, D]
    tokens = map_npy(target / TOKENS)
    videos = tuple(tokens[start:stop] for start, stop in zip(offsets[:-1], offsets[1:]))
    return TokenStore(names, videos, encoder.grid, encoder.width, key)


def _frames_fingerprint(frames: Frames, videos: int) -> str:
    """The frame store's own fingerprint, else a hash of all its frames."""
    own = getattr(frames, "fingerprint", None)
    if own is not None:
        return str(own() if callable(own) else own)
    content = (np.ascontiguousarray(frames.video(i)) for i in range(videos))
    return lines_hash([f"{v.shape} {hashlib.sha256(v.reshape(-1)).hexdigest()}" for v in content])


# ---- tokens made elsewhere


def _open_folder(
    encoder: TokenFolder,
    names: tuple[str, ...],
    offsets: np.ndarray,
    videos_line: str,
    cache: Path,
    say: Callable,
    progress: Any,
) -> TokenStore:
    """The files of a folder of tokens as a store. Names and shapes are checked always, values
    once for each state of the folder."""
    paths = [encoder.folder / f"{name}.npy" for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        found = f"{len(missing)} of {len(paths)} videos have no tokens, e.g. {missing[0].name}"
        raise DataError(
            f"{encoder.folder}: {found}; expected NAME.npy for every video: export them, or correct"
            " the names"
        )
    videos = tuple(map(token_file, paths))
    for path, video, length in zip(paths, videos, np.diff(offsets)):
        expected = (int(length), math.prod(encoder.grid), encoder.width)
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
    key = lines_hash([encoder.fingerprint, videos_line])
    stamp = cache / "tokens" / f"{encoder.name}-{key[:16]}.{CHECKED}"
    if not stamp.is_file():
        say(f"tokens: checking the values of {len(names)} videos in {encoder.folder} (once)")
        with (progress or Silent)(int(offsets[-1]), "tokens (check)", "frames") as bar:
            for path, video in zip(paths, videos):
                _check_values(path, video, bar)
        with manifest_lib.locked(stamp):
            manifest_lib.write_json(stamp, {"folder": str(encoder.folder), "fingerprint": key})
    return TokenStore(names, videos, encoder.grid, encoder.width, key)


def _check_values(path: Path, video: np.ndarray, bar: Any) -> None:
    """DataError naming the first frame with a value that is not finite."""
    step = max(1, CHECK_BYTES // max(1, video[0].nbytes))
    for start in range(0, len(video), step):
        bad = ~np.isfinite(video[start : start + step]).all(axis=(1, 2))
        if bad.any():
            raise DataError(
                f"{path}: NaN or infinity in frame {start + int(bad.argmax())}, expected finite"
                " tokens: export the video again"
            )
        bar.advance(len(bad))
