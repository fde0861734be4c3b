"""Arrays of a set with one entry a frame, prepared once in a cache folder and read through one
memory map.

A cache folder holds `data.bin` (the entries of all videos, one after the other, nothing else) and
`manifest.json`. Workers convert videos side by side into parts; the main thread appends the parts
in the order of the videos and notes each in the manifest, so that

- the bytes do not depend on the number of workers;
- what an interrupted run finished is kept, video by video, and a later call goes on behind it;
- a manifest says `complete` only when all is there, and readers look at nothing else.

A manifest also holds a fingerprint (names, sizes and times of the source files): where it differs,
everything is prepared anew. So is what a
damaged byte lies in, from that video on: the manifest has the SHA-256 of each video's entries,
compared when the store is opened (of a large one when a video is first read) and of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gfvad.base.files import atomically, remove_tree
from gfvad.base.locks import wait_for
from gfvad.base.progress import Progress
from gfvad.base.types import DataError
from gfvad.data.frames import decode
from gfvad.data.frames.finding import passed_over
from gfvad.data.frames.frame_arrays import (
    DATA,
    DIGEST,
    MANIFEST,
    PARTS,
    SEAL,
    Spec,
    Store,
    _read_manifest,
)
from gfvad.data.frames.video_folders import VideoFile, VideoFolder, fingerprint
from gfvad.data.prepared_folder import seal_of

VERSION = 1  # of the format: caches of another one are made anew
# bytes of entries that are compared with their checksums when a store is opened (below a second)
CHECK_AT_ONCE = 1 << 30


Convert = Callable[[VideoFile], Iterator[np.ndarray]]  # a video -> an entry [*item] a frame
Say = Callable[[str], None]


def say_on_stderr(text: str) -> None:
    """Default for messages."""
    print(text, file=sys.stderr, flush=True)


S = TypeVar("S", bound=Store)


def open_store(
    folder: VideoFolder,
    split: str,
    spec: Spec,
    convert: Convert,
    *,
    cache: str | os.PathLike,
    workers: int,
    say: Say,
    cls: type[S] = Store,
) -> S:
    """The store (of class `cls`) of a split, prepared first where the cache has none or a stale
    one. Two processes that ask at once: the second waits.

    Raises DataError where a video cannot be read (what was finished before is kept), or the cache
    cannot be written.
    """
    videos = folder.videos(split)
    if folder.passed:
        say(passed_over(folder.passed))
        folder.passed.clear()  # said once
    marks = [
        VERSION,
        spec.kind,
        spec.item,
        spec.dtype,
        spec.size,
        dict(spec.settings),
        str(folder.root.resolve()),
        folder.layout,
        split,
    ]
    key = hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:12]
    path = Path(cache).expanduser() / "video" / f"{spec.kind}-{split}-{key}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock"), say):
            manifest = _prepare(path, spec, videos, convert, workers, say)
            store = cls(path, spec, manifest["videos"])
            if store.data.nbytes <= CHECK_AT_ONCE:
                bad = next((i for i in range(len(store)) if not store.check(i)), None)
                if bad is not None:
                    say(
                        f"{spec.kind}: {store.names[bad]!r} in {path} is damaged, prepared anew"
                        " from there on"
                    )
                    manifest = {**manifest, "complete": False, "videos": manifest["videos"][:bad]}
                    _write_manifest(path, manifest)
                    store = cls(
                        path, spec, _prepare(path, spec, videos, convert, workers, say)["videos"]
                    )
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}): set data.cache_dir to a folder"
            " with write access and space"
        ) from None
    return store


def _prepare(
    path: Path, spec: Spec, videos: Sequence[VideoFile], convert: Convert, workers: int, say: Say
) -> dict:
    """Brings the folder to a complete manifest, which is returned. The lock is held."""
    mark, manifest = fingerprint(videos), _read_manifest(path)
    if manifest and manifest["fingerprint"] != mark:
        say(f"{spec.kind}: the files in {videos[0].path.parent} have changed, prepared anew")
        manifest = None
    if (
        manifest
        and manifest["complete"]
        and _bytes_of(manifest, spec) == (path / DATA).stat().st_size
    ):
        return manifest
    if not manifest or not _truncate(path / DATA, _bytes_of(manifest, spec)):
        remove_tree(path, (DATA, MANIFEST, PARTS))
        manifest = {"fingerprint": mark, "complete": False, "videos": []}
    shutil.rmtree(path / PARTS, ignore_errors=True)
    (path / PARTS).mkdir(parents=True)
    done = len(manifest["videos"])
    stated = [decode.stated_frames(video) for video in videos[done:]]
    total = sum(stated) if all(stated) else 0
    _require_space(path, total * spec.item_bytes)
    say(
        f"{spec.kind}: {len(videos) - done} videos to prepare in {path}"
        + (f", {done} are there" if done else "")
    )
    with Progress(total, spec.kind, "frames") as progress:
        _run(path, spec, videos[done:], convert, workers, progress, manifest)
    manifest["complete"] = True
    _write_manifest(path, manifest)
    (path / PARTS).rmdir()
    return manifest


def _run(
    path: Path,
    spec: Spec,
    videos: Sequence[VideoFile],
    convert: Convert,
    workers: int,
    progress: Progress,
    manifest: dict,
) -> None:
    """Converts videos on threads, a few ahead, and appends their parts in order."""
    stop, lock = threading.Event(), threading.Lock()

    def work(video: VideoFile, part: Path) -> dict:
        frames, digest = 0, hashlib.sha256()
        with part.open("wb") as file:
            for entry in convert(video):
                if stop.is_set():
                    break
                entry = np.ascontiguousarray(entry, spec.dtype).data
                digest.update(entry)
                file.write(entry)
                frames += 1
                with lock:
                    progress.advance()
        size = decode.first_frame(video).shape[:2]
        return {
            "name": video.name,
            "frames": frames,
            "fps": decode.frame_rate(video),
            "size": list(map(int, size)),
            DIGEST: digest.hexdigest(),
        }

    parts = [path / PARTS / f"{i}.bin" for i in range(len(videos))]
    pending: dict[int, Future] = {}
    with ThreadPoolExecutor(max(1, workers)) as pool, (path / DATA).open("ab") as data:
        try:
            for i in range(len(videos)):
                for ahead in range(i, min(len(videos), i + max(1, workers) + 1)):
                    if ahead not in pending:
                        pending[ahead] = pool.submit(work, videos[ahead], parts[ahead])
                manifest["videos"].append(pending[i].result())
                with parts[i].open("rb") as part:
                    shutil.copyfileobj(part, data, 1 << 22)
                data.flush()
                os.fsync(data.fileno())
                parts[i].unlink()
                _write_manifest(path, manifest)
        finally:
            stop.set()
            for future in pending.values():
                future.cancel()


def _bytes_of(manifest: Mapping[str, Any], spec: Spec) -> int:
    return sum(video["frames"] for video in manifest["videos"]) * spec.item_bytes


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    atomically(
        path / MANIFEST,
        lambda file: file.write(
            json.dumps({**manifest, SEAL: seal_of(manifest)}, indent=1).encode()
        ),
    )


def _truncate(path: Path, size: int) -> bool:
    """Cuts off what no manifest speaks of; False where the file is shorter than it should be."""
    if path.stat().st_size < size:
        return False
    os.truncate(path, size)
    return True


def _require_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if needed > free:
        raise DataError(
            f"{path}: {free / 1e9:,.1f} GB free, expected {needed / 1e9:,.1f} GB: set"
            " data.cache_dir to a larger disk, or read frames directly (mode='direct')"
        )


@contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    """Holds an exclusive lock on `path`; the system drops it when the process ends in any way."""
    with path.open("a+") as file:
        wait_for(file, path, path.with_suffix(""), say)
        yield
