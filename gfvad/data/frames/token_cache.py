"""Patch tokens of frames computed into a folder, video by video; an interrupted run goes on with
the video it stopped at."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np

from gfvad.base.array_headers import read_header
from gfvad.base.progress import Progress
from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.encoders.registry import FrameEncoder

TOKENS, DONE, CHECKED = "tokens.npy", "done.txt", "checked.json"
# frames between two steps of the progress line; the encoder cuts them into its own batches
CHUNK = 64


class Frames(Protocol):
    """What this file needs of a frame store. It may have `fingerprint` (a string); without it
    the frames themselves are hashed at every opening."""

    def video(self, i: int) -> np.ndarray: ...  # uint8 [T_i, h, w, C], C = 1 or 3


class TokenJob(NamedTuple):
    """What tokens are computed of."""

    encoder: FrameEncoder
    frames: Frames
    names: Sequence[str]
    offsets: np.ndarray  # int64 [V + 1], of the videos in all frames


def compute(job: TokenJob, identity: dict, target: Path, say: Callable[[str], object]) -> None:
    """Fills the partial folder from the first video it lacks on and puts it in place of
    `target`. Needs the lock."""
    encoder, _, names, offsets = job
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
        with Progress(left, f"tokens ({encoder.name})", "frames") as bar:
            _fill(job, done, partial, bar)
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


def _fill(job: TokenJob, done: int, partial: Path, bar: Progress) -> None:
    """Computes the videos from `done` on. By plain writes, not through the map: a full disk is
    then an error instead of a signal that kills."""
    encoder, frames, names, offsets = job
    header = read_header(partial / TOKENS)
    begin, shape = header.offset, header.shape[1:]
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


def _to_disk(file: IO) -> None:
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
