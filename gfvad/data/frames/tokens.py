"""Patch tokens of every frame of a set of videos, computed once by a frozen encoder (`encoders/`)
and kept as one float16 memory map on disk.

A cache folder holds tokens.npy [T_total, L, D], index.json (names, lengths, grid) and manifest.json
(written last, see data/prepared_folder.py). It is complete or absent; an interrupted run leaves a hidden
folder beside it, and the next run goes on with the video it stopped at.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gfvad.base.arrays import map_npy
from gfvad.base.files import lines_hash
from gfvad.base.progress import Progress, Silent
from gfvad.base.types import ConfigError, DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.encoders.registry import FrameEncoder
from gfvad.encoders.token_folder import TokenFolder, token_file

DATASET = "vision tokens"
TOKENS, DONE, CHECKED = "tokens.npy", "done.txt", "checked.json"
# frames between two steps of the progress line; the encoder cuts them into its own batches
CHUNK = 64
CHECK_BYTES = 64 << 20  # read at once when looking for values that are not finite


class Frames(Protocol):
    """What this file needs of a frame store. It may have `fingerprint` (a string); without it
    the frames themselves are hashed at every opening."""

    def video(self, i: int) -> np.ndarray: ...  # uint8 [T_i, h, w, C], C = 1 or 3


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
        "format": manifest_lib.FORMAT,
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
                _compute(encoder, frames, names, offsets, identity, target, say, progress)
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


# ---- computing


def _compute(
    encoder: FrameEncoder,
    frames: Frames,
    names: Sequence[str],
    offsets: np.ndarray,
    identity: dict,
    target: Path,
    say: Callable,
    progress: Any,
) -> None:
    """Fills the partial folder from the first video it lacks on and puts it in place of
    `target`. Needs the lock."""
    partial = target.parent / f".{target.name}.partial"
    shape = (int(offsets[-1]), math.prod(encoder.grid), encoder.width)
    done = _resume(partial, shape, identity)
    if done < len(names):
        left, row = int(offsets[-1] - offsets[done]), 2 * shape[1] * shape[2]
        manifest_lib.require_space(partial, left * row)
        again = f", going on with video {done + 1}" if done else ""
        say(
            f"tokens: {encoder.name}, {len(names)} videos, {shape[0]:,} frames,"
            f" {shape[0] * row / 1e9:.2f} GB in {target}{again}"
        )
        with (progress or Silent)(left, f"tokens ({encoder.name})", "frames") as bar:
            _fill(encoder, frames, names, offsets, done, partial, bar)
    # of a run killed right here: it must not list itself
    (partial / manifest_lib.MANIFEST).unlink(missing_ok=True)
    content = {
        "names": list(names),
        "lengths": np.diff(offsets).tolist(),
        "grid": list(encoder.grid),
        "encoder": encoder.fingerprint,
    }
    manifest_lib.write_json(partial / manifest_lib.INDEX, content)
    manifest_lib.finish(partial, identity, {"encoder": encoder.name})
    if target.exists():  # damaged: is_current said so
        shutil.rmtree(target)
    os.rename(partial, target)


def _resume(partial: Path, shape: tuple[int, int, int], identity: dict) -> int:
    """How many videos a partial folder of this very identity holds whole; a fresh folder and 0
    where there is none."""
    stamp = lines_hash([repr(sorted(identity.items())), repr(shape)])
    if (partial / DONE).is_file() and (partial / TOKENS).is_file():
        # a line counts when it is ended: the process may have been killed within one
        *lines, torn = (partial / DONE).read_text(encoding="utf-8", errors="replace").split("\n")
        if lines and lines[0] == stamp and lines[1:] == [str(i) for i in range(len(lines) - 1)]:
            if torn:
                (partial / DONE).write_text(
                    "".join(f"{line}\n" for line in lines), encoding="utf-8"
                )
            return len(lines) - 1
    shutil.rmtree(partial, ignore_errors=True)
    with _writing(partial, 0):
        partial.mkdir(parents=True)
        np.lib.format.open_memmap(
            partial / TOKENS, mode="w+", dtype=np.float16, shape=shape
        ).flush()
        (partial / DONE).write_text(f"{stamp}\n", encoding="utf-8")
    return 0


def _fill(
    encoder: FrameEncoder,
    frames: Frames,
    names: Sequence[str],
    offsets: np.ndarray,
    done: int,
    partial: Path,
    bar: Any,
) -> None:
    """Computes the videos from `done` on. By plain writes, not through the map: a full disk is
    then an error instead of a signal that kills."""
    tokens = map_npy(partial / TOKENS)
    begin, shape = tokens.offset, tokens.shape[1:]
    del tokens
    with (
        open(partial / TOKENS, "r+b") as file,
        open(partial / DONE, "a", encoding="utf-8") as finished,
    ):
        for i in range(done, len(names)):
            video = _rgb(frames.video(i), names[i], int(offsets[i + 1] - offsets[i]))
            file.seek(begin + int(offsets[i]) * math.prod(shape) * 2)
            for start in range(0, len(video), CHUNK):
                part = video[start : start + CHUNK]
                half = _half(
                    encoder.encode(part),
                    (len(part), *shape),
                    f"{encoder.name}: video {names[i]!r}, frames from {start}",
                )
                with _writing(partial, i):
                    file.write(half)
                bar.advance(len(part))
            with _writing(partial, i):  # the tokens reach the disk before the line that says so
                _to_disk(file)
                finished.write(f"{i}\n")
                _to_disk(finished)


def _to_disk(file: Any) -> None:
    """Flushes a file down to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _writing(partial: Path, done: int) -> Iterator[None]:
    """Turns a failed write into one DataError."""
    try:
        yield
    except OSError as error:
        again = f"; {done} videos are kept, run again" if done else ""
        raise DataError(
            f"{partial}: cannot be written ({error.strerror}): give data.cache_dir a folder with"
            f" write access and space{again}"
        ) from None


def _rgb(video: np.ndarray, name: str, length: int) -> np.ndarray:
    """Frames [T, h, w, 3] of a video with one (grey) or three channels."""
    if (
        video.dtype != np.uint8
        or video.ndim != 4
        or video.shape[-1] not in (1, 3)
        or len(video) != length
    ):
        raise DataError(
            f"video {name!r}: frames {video.dtype} {list(video.shape)}, expected uint8 [{length},"
            " h, w, 1 or 3]: prepare the frames anew"
        )
    return video if video.shape[-1] == 3 else np.broadcast_to(video, (*video.shape[:3], 3))


def _half(tokens: np.ndarray, shape: tuple[int, ...], where: str) -> bytes:
    """Tokens as float16; DataError for another shape, NaN, infinity and what float16 cannot
    hold."""
    if tokens.shape != shape:
        raise DataError(
            f"vision encoder {where}: tokens {list(tokens.shape)}, expected {list(shape)}: its grid"
            " and width do not say what it gives"
        )
    with np.errstate(over="ignore"):
        half = tokens.astype(np.float16)
    if not np.isfinite(half).all():
        largest = "NaN" if np.isnan(tokens).any() else f"{np.abs(tokens).max():g}"
        raise DataError(
            f"vision encoder {where}: tokens up to {largest}, expected finite float16 (65,504 at"
            " most): check the weights, or use another model"
        )
    return half.tobytes()


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
