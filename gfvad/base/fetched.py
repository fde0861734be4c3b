"""Folders of a bucket, kept locally with checksums: read at full speed, copied once.

The store says each object's size and digest (MD5 where it has one); both are kept beside the copy.
A later call lists the place, which is one question, and copies what changed. A copied file is
compared with the store's MD5 at once, and with its own size and time later.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gfvad.base import storage
from gfvad.base.errors import DataError
from gfvad.base.files import read_json, write_json
from gfvad.base.locks import wait_for
from gfvad.base.progress import Progress

RECORD = ".gfvad-fetched.json"  # {name: [bytes, what the store said, size, time of the copy]}
AT_ONCE = 8  # objects that are copied at once


def local_folder(place: str | os.PathLike) -> Path:
    """A local folder as it is; of one in a bucket the local copy, made or brought up to date, once
    a process. Raises DataError where it cannot be read, or nothing is there."""
    return _fetched(place) if storage.is_remote(place) else Path(place).expanduser()


@functools.cache
def _fetched(url: str) -> Path:
    store = storage.Store(url)
    store.require_bucket()
    folder = storage.cache_root() / "data" / storage.name_of(url)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "a+") as lock:
        wait_for(lock, Path(lock.name), folder)
        bring(store, folder)
    return folder


def bring(
    store: storage.Store, folder: Path, progress: Callable[[int, str], Progress] = Progress
) -> None:
    """Makes a folder the copy of a place. Raises DataError where there is nothing, or a copy
    differs from what the store says."""
    wanted = {name: about for name, about in store.sizes().items() if not hidden(name)}
    if not wanted:
        raise DataError(
            f"{store.url}: nothing there; expected a folder of features, frames or prepared"
            " records: check the path"
        )
    known = read_json(folder / RECORD, "a record of copies") if (folder / RECORD).exists() else {}
    missing = [name for name, about in wanted.items() if not current(folder, name, about, known)]
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in wanted and not hidden(name):
            path.unlink()
    if not missing:
        return
    size = sum(wanted[name][0] for name in missing)
    print(
        f"storage: {store.url}: {len(missing)} of {len(wanted)} files ({size / 1e9:.2f} GB) are"
        f" copied to {folder}",
        file=sys.stderr,
        flush=True,
    )

    def copy(name: str) -> None:
        path, (length, told) = folder / name, wanted[name]
        store.get(name, path)
        if path.stat().st_size != length or not storage.fits(path, told):
            path.unlink()
            raise DataError(
                f"{store.url}/{name}: the copy differs from what the store says of it; expected the"
                " same bytes: run the command again, or write the object again"
            )
        bar.advance()

    # what says that a set is whole comes last, as it was written
    last = [name for name in missing if Path(name).name == "manifest.json"]
    with progress(len(missing), "copying") as bar, ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(copy, [name for name in missing if name not in last]))
        list(pool.map(copy, last))
    record = {
        name: [length, told, *state(folder / name)] for name, (length, told) in wanted.items()
    }
    write_json(folder / RECORD, record)


def current(folder: Path, name: str, about: tuple[int, str], known: dict) -> bool:
    """Whether a copy is what the store has, and nobody changed it since."""
    path = folder / name
    return path.is_file() and known.get(name) == [*about, *state(path)]


def state(path: Path) -> list[int]:
    """[bytes, time] of a file."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def hidden(name: str) -> bool:
    """Whether an object is a record of ours or of somebody's tools."""
    return any(part.startswith(".") for part in name.split("/"))
