"""Arrays of a set with one entry a frame, prepared once in a cache folder and read through one
memory map.

A cache folder holds `data.bin` (the entries of all videos, one after the other, nothing else) and
`manifest.json`. Workers convert videos side by side into parts; the main thread appends the parts
in the order of the videos and notes each in the manifest, so that

- the bytes do not depend on the number of workers;
- what an interrupted run finished is kept, video by video, and a later call goes on behind it;
- a manifest says `complete` only when all is there, and readers look at nothing else.

A manifest also holds a fingerprint (names, sizes and times of the source files): where it differs,
everything is prepared anew. So is what a damaged byte lies in, from that video on: the manifest has
the SHA-256 of each video's entries, compared when the store is opened (of a large one when a video
is first read) and of itself.
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
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gfvad.base.files import remove_tree, write_json
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
    read_manifest,
)
from gfvad.data.frames.video_folders import VideoFile, VideoFolder, fingerprint
from gfvad.data.prepared_folder import seal_of

VERSION = 1  # of the format: caches of another one are made anew
# bytes of entries that are compared with their checksums when a store is opened (below a second)
CHECK_AT_ONCE = 1 << 30


Convert = Callable[[VideoFile], Iterator[np.ndarray]]  # a video -> an entry [*item] a frame
Say = Callable[[str], None]
S = TypeVar("S", bound=Store)


def say_on_stderr(text: str) -> None:
    """Default for messages."""
    print(text, file=sys.stderr, flush=True)


class Cache(NamedTuple):
    """Where stores are kept, and how they are prepared."""

    folder: str | os.PathLike
    workers: int = 2  # threads
    say: Say = say_on_stderr


class _Job(NamedTuple):
    """One store to prepare."""

    path: Path
    spec: Spec
    videos: Sequence[VideoFile]
    convert: Convert
    cache: Cache


def open_store(
    folder: VideoFolder,
    split: str,
    spec: Spec,
    convert: Convert,
    cache: Cache,
    cls: type[S] = Store,
) -> S:
    """The store (of class `cls`) of a split, prepared first where the cache has none or a stale
    one. Two processes that ask at once: the second waits.

    Raises DataError where a video cannot be read (what was finished before is kept), or the cache
    cannot be written.
    """
    videos = folder.videos(split)
    if folder.passed:
        cache.say(passed_over(folder.passed))
        folder.passed.clear()  # said once
    root = str(folder.root.resolve())
    marks = [VERSION, *spec[:4], dict(spec.settings), root, folder.layout, split]
    key = hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:12]
    path = Path(cache.folder).expanduser() / "video" / f"{spec.kind}-{split}-{key}"
    job = _Job(path, spec, videos, convert, cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # the system drops the lock when the process ends in any way
        with path.with_suffix(".lock").open("a+") as lock:
            wait_for(lock, Path(lock.name), path, cache.say)
            manifest = _prepare(job)
            store = cls(path, spec, manifest["videos"])
            if store.data.nbytes <= CHECK_AT_ONCE:
                bad = next((i for i in range(len(store)) if not store.check(i)), None)
                if bad is not None:
                    cache.say(
                        f"{spec.kind}: {store.names[bad]!r} in {path} is damaged, prepared anew"
                        " from there on"
                    )
                    manifest |= {"complete": False, "videos": manifest["videos"][:bad]}
                    _write_manifest(path, manifest)
                    store = cls(path, spec, _prepare(job)["videos"])
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}): set data.cache_dir to a folder"
            " with write access and space"
        ) from None
    return store


def _prepare(job: _Job) -> dict:
    """Brings the folder to a complete manifest, which is returned. The lock is held."""
    path, spec, videos, _, cache = job
    mark, manifest = fingerprint(videos), read_manifest(path)
    if manifest and manifest["fingerprint"] != mark:
        cache.say(f"{spec.kind}: the files in {videos[0].path.parent} have changed, prepared anew")
        manifest = None
    written = sum(v["frames"] for v in manifest["videos"]) * spec.item_bytes if manifest else 0
    found = (path / DATA).stat().st_size if manifest else -1
    if manifest and manifest["complete"] and found == written:
        return manifest
    if manifest and found >= written:
        os.truncate(path / DATA, written)  # what no manifest speaks of
    else:
        remove_tree(path, (DATA, MANIFEST, PARTS))
        manifest = {"fingerprint": mark, "complete": False, "videos": []}
    shutil.rmtree(path / PARTS, ignore_errors=True)
    (path / PARTS).mkdir(parents=True)
    done = len(manifest["videos"])
    stated = [decode.stated_frames(video) for video in videos[done:]]
    total = sum(stated) if all(stated) else 0
    free, needed = shutil.disk_usage(path).free, total * spec.item_bytes
    if needed > free:
        raise DataError(
            f"{path}: {free / 1e9:,.1f} GB free, expected {needed / 1e9:,.1f} GB: set"
            " data.cache_dir to a larger disk, or read frames directly (mode='direct')"
        )
    cache.say(
        f"{spec.kind}: {len(videos) - done} videos to prepare in {path}"
        + (f", {done} are there" if done else "")
    )
    with Progress(total, spec.kind, "frames") as progress:
        _convert(job, manifest, progress)
    manifest["complete"] = True
    _write_manifest(path, manifest)
    (path / PARTS).rmdir()
    return manifest


def _convert(job: _Job, manifest: dict, progress: Progress) -> None:
    """Converts the videos that are not in the manifest on threads, a few ahead, and appends their
    parts in order."""
    path, spec, videos, convert, cache = job
    videos, workers = videos[len(manifest["videos"]) :], max(1, cache.workers)
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
        return {
            "name": video.name,
            "frames": frames,
            "fps": decode.frame_rate(video),
            "size": list(decode.first_frame(video).shape[:2]),
            DIGEST: digest.hexdigest(),
        }

    parts = [path / PARTS / f"{i}.bin" for i in range(len(videos))]
    pending: dict[int, Future] = {}
    with ThreadPoolExecutor(workers) as pool, (path / DATA).open("ab") as data:
        try:
            for i in range(len(videos)):
                for ahead in range(i, min(len(videos), i + workers + 1)):
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


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    write_json(path / MANIFEST, {**manifest, SEAL: seal_of(manifest)})
