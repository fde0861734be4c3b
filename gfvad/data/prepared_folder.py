"""The folder of a prepared set: what it must hold to be complete, how it is put in place in one
step, and its errors.

manifest.json (written last) names every file, its size and SHA-256; a folder without it was never
finished and is never opened. Shards
of large sets have no digest of their own: every video has (in the index), compared when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import gfvad
from gfvad.base.files import read_bytes
from gfvad.base.locks import wait_for
from gfvad.base.names import some
from gfvad.base.types import DataError
from gfvad.data.set_identity import FORMAT

MANIFEST, INDEX, STATISTICS = "manifest.json", "index.json", "feature_stats.npz"
# what decides whether a finished folder is the one asked for
IDENTITY = ("format", "dataset", "modalities", "splits", "source")
SEAL = "seal"  # key of the manifest: its own checksum
SHARD = ".array_record"  # in the names of files that hold features
# bytes of a set whose files are all compared with their checksums when it is opened (below a
# second)
READ_AT_ONCE = 1 << 30
REDO = "prepare it again (gfvad prepare, or delete the folder and rerun)"
_digests: dict[tuple, str] = {}  # state of a file -> its SHA-256


def write_json(path: Path, content) -> None:
    """Writes and flushes to disk, so that a manifest never outlives what it names."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def file_sizes(folder: Path) -> dict[str, int]:
    """{file below a folder: its size}, in the order of names."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_size for path in paths}


def finish(folder: Path, identity: Mapping, details: Mapping) -> None:
    """Writes the manifest of a folder whose other files are complete."""
    files = file_sizes(folder)
    whole = sum(files.values()) <= READ_AT_ONCE
    digests = {
        name: file_digest(folder / name)
        for name, size in files.items()
        if whole or (SHARD not in name and size <= READ_AT_ONCE)
    }
    manifest = {**identity, **details, "files": files, "sha256": digests}
    manifest |= {"gfvad": gfvad.__version__, "date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_json(folder / MANIFEST, {**manifest, SEAL: seal_of(manifest)})


def seal_of(manifest: Mapping) -> str:
    """SHA-256 of a manifest without its seal."""
    content = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read once for each state of it (size, time) in this process."""
    found = path.stat()
    key = str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns
    if key not in _digests:
        with open(path, "rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def read(folder: Path, shards: bool = True) -> dict:
    """The manifest of a complete folder of this version; DataError, saying what to do, for anything
    else, and for a damaged file.

    shards: False leaves those out, for a set that is used as far as it can be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        found = "an unfinished or foreign folder" if folder.is_dir() else "no such folder"
        raise DataError(
            f"{folder} is not a prepared set: {found} (expected {MANIFEST} in it); {REDO}"
        )
    manifest = _read_json(path)
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{path} is of format {manifest.get('format')!r} (gfvad reads {FORMAT}); {REDO}"
        )
    sealed = SEAL in manifest or "sha256" in manifest  # else of an earlier version
    if sealed and manifest.get(SEAL) != seal_of(manifest):
        raise DataError(f"{path} is damaged (its checksum differs); {REDO}")
    absent = [key for key in (*IDENTITY, "files") if key not in manifest]
    tables = [manifest.get(key) for key in ("modalities", "splits", "files")]
    if absent or not all(isinstance(table, dict) for table in tables):
        lacks = ", ".join(absent) or "what it should hold"
        raise DataError(f"{path} is damaged (lacks {lacks}); {REDO}")
    kinds = {"modalities": int, "files": int, "splits": dict}
    wrong = [
        n for part, kind in kinds.items() for n, x in manifest[part].items() if type(x) is not kind
    ]
    if wrong or not isinstance(manifest.get("sha256", {}), dict):
        name = ", ".join(wrong[:3]) or "sha256"
        raise DataError(f"{path} is damaged ({name}: not what is written there); {REDO}")
    for name, size in manifest["files"].items():
        if not shards and SHARD in name:
            continue
        file = folder / name
        found = f"{file.stat().st_size:,} bytes" if file.is_file() else "nothing"
        if found != f"{size:,} bytes":
            raise DataError(f"{file}: found {found}, expected {size:,} bytes; {REDO}")
        digest = manifest.get("sha256", {}).get(name) if sealed else None
        if digest and file_digest(file) != digest:
            raise DamagedFile(f"{file} is damaged (its checksum differs); {REDO}", name)
    return manifest


class DamagedFile(DataError):
    """A file of a prepared set with other content than was written. Field name: of the file, in
    the folder."""

    def __init__(self, text: str, name: str):
        super().__init__(text)
        self.name = name


def read_index(folder: Path) -> dict:
    """What the index says of every video, by split."""
    return _read_json(folder / INDEX)


def _read_json(path: Path) -> dict:
    """Not `base.files.read_json`: videos may have names that no UTF-8 can hold."""
    try:
        found = json.loads(read_bytes(path, "a part of a prepared set"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}); {REDO}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged (a JSON {type(found).__name__}); {REDO}")
    return found


def stale(folder: Path, identity: Mapping) -> str | None:
    """Why a folder has to be prepared (again); None where it is complete and holds exactly this
    set. '' where there is nothing yet."""
    if not folder.exists():
        return ""
    try:
        manifest = read(folder)
    except DataError as error:
        return str(error)
    if SEAL not in manifest:
        return f"{folder} was prepared by an earlier version, without checksums"
    changed = [key for key in IDENTITY if manifest[key] != identity[key]]
    return f"{folder} holds other {', '.join(changed)} than now" if changed else None


def is_current(folder: Path, identity: Mapping) -> bool:
    """True where the folder is complete and holds exactly this set; also one of an earlier
    version, without checksums."""
    try:
        manifest = read(folder)
    except DataError:
        return False
    return all(manifest[key] == identity[key] for key in IDENTITY)


def refuse_foreign(folder: Path, dataset: str, own: bool = False) -> None:
    """Raises DataError where writing would destroy something other than an earlier preparation of
    the same dataset.

    own: the folder is in our cache, where a damaged manifest does not make it somebody else's.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    path = folder / MANIFEST
    found, files = None, None
    if path.is_file():
        with contextlib.suppress(DataError):
            tree = _read_json(path)
            found, files = tree.get("dataset"), tree.get("files")
    if found == dataset and isinstance(files, dict):
        return require_own(folder, {*files, MANIFEST})
    if own and path.is_file() and (folder / INDEX).is_file():
        return None
    what = f"the prepared set {found!r}" if found else "files that are no prepared set"
    raise DataError(
        f"{folder} already holds {what}; expected nothing or an earlier {dataset!r}. Choose another"
        " folder or delete it"
    )


def require_own(folder: Path, files: Collection[str]) -> None:
    """Raises DataError where a folder that is to be replaced holds other files than these:
    somebody put them there."""
    found = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    if others := sorted({str(path.relative_to(folder)) for path in found} - {*files}):
        raise DataError(
            f"{folder} is to be written anew, and {len(others)} files in it are not this project's:"
            f" {some(others)}; expected those that were written alone: move them away, or choose"
            " another folder"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer of a folder at a time; other processes wait here and then find it complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.parent / f".{folder.name}.lock", "a+")
    except OSError as error:
        raise DataError(
            f"cannot write to {folder.parent} ({error.strerror}); choose another folder"
            " (config.data.cache_dir, --out)"
        ) from error
    with lock:  # released when the file is closed, also by a killed process
        wait_for(lock, Path(lock.name), folder)
        yield


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends, or vanishes where
    it raises. Needs the lock."""
    prefix = f".{folder.name}.partial-"
    # left by a killed process: nobody else writes under the lock
    for stale in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(stale)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's 0700 would hide a shared cache from others
        yield partial
        if folder.exists():
            os.rename(folder, f"{partial}.old")
        os.rename(partial, folder)
    finally:
        for leftover in (partial, Path(f"{partial}.old")):
            shutil.rmtree(leftover, ignore_errors=True)


def require_space(folder: Path, needed: int) -> None:
    """DataError where the disk of a folder has less than `needed` bytes (and a margin of 64 MiB)
    left."""
    free = shutil.disk_usage(folder).free
    if free < needed + (64 << 20):
        raise DataError(
            f"{folder.parent}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed; free some"
            " space or choose another disk"
        )
