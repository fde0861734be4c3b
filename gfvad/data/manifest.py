"""The folder of a prepared set: what it must hold to be complete, how it is put in place in one step, and its errors.

manifest.json (written last) names every file and its size; a folder without it was never finished and is never opened.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import gfvad
from gfvad.base.names import some
from gfvad.types import DataError

FORMAT = 1  # of the folder; raise it when its content changes meaning
MANIFEST, INDEX, STATISTICS = "manifest.json", "index.json", "feature_stats.npz"
SPLITS = ("train", "test")
IDENTITY = ("format", "dataset", "modalities", "splits", "source")  # what decides whether a finished folder is the one asked for
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def digest(lines: Sequence[str]) -> str:
    """SHA-256 of a list of strings, order included."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def describe(layout) -> dict:
    """The identity of the set a layout gives: the IDENTITY keys of its manifest. Reads no features.

    Raises DataError where there is no video, two videos of a split share a name, or a modality's name is unusable.
    """
    bad = [m for m in layout.modalities if not NAME.fullmatch(m)]
    if bad or not layout.modalities:
        found = list(layout.modalities)
        raise DataError(f"{layout.name}: modalities {found}; expected at least one, each named by letters, digits, '_', '-' or '.'")
    entries = {split: list(layout.entries(split)) for split in SPLITS}
    if not any(entries.values()):
        raise DataError(f"{layout.name}: no videos in {' or '.join(SPLITS)}; check config.data.root and the layout's file names")
    for split, videos in entries.items():
        names = [entry.name for entry in videos]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            found = f"{len(twice)} names stand for more than one video, e.g. {twice[0]!r}"
            raise DataError(f"{layout.name}/{split}: {found}; rename or remove all but one of each")
    splits = {split: {"videos": len(v), "names_sha256": digest([e.name for e in v])} for split, v in entries.items() if v}
    modalities = {m: int(d) for m, d in layout.modalities.items()}
    return {"format": FORMAT, "dataset": layout.name, "modalities": modalities, "splits": splits, "source": fingerprint(layout, entries)}


def fingerprint(layout, entries: Mapping[str, Sequence]) -> str:
    """Hash that changes with the source: the layout's own where it gives one, else names, sizes and times of the entries' files."""
    if hasattr(layout, "fingerprint"):
        return str(layout.fingerprint())
    lines = []
    for split, videos in entries.items():
        for entry in videos:
            stats = [(path.name, path.stat()) for path in sorted(_paths(getattr(entry, "files", ())))]
            lines += [f"{split} {entry.name}"] + [f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in stats]
    return digest(lines)


def source_bytes(entries: Mapping[str, Sequence]) -> int:
    """Size of the files of all splits; 0 where the entries name none. A file of many videos counts once."""
    paths = {path for videos in entries.values() for entry in videos for path in _paths(getattr(entry, "files", ()))}
    return sum(path.stat().st_size for path in paths)


def _paths(files) -> Iterator[Path]:
    """Every path in any nesting of mappings and sequences."""
    if isinstance(files, (str, os.PathLike)):
        yield Path(files)
    else:
        for part in files.values() if isinstance(files, Mapping) else files:
            yield from _paths(part)


def write_json(path: Path, content) -> None:
    """Writes and flushes to disk, so that a manifest never outlives what it names."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def finish(folder: Path, identity: Mapping, details: Mapping) -> None:
    """Writes the manifest of a folder whose other files are complete."""
    files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    date = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    write_json(folder / MANIFEST, {**identity, **details, "files": files, "gfvad": gfvad.__version__, "date": date})


def read(folder: Path) -> dict:
    """The manifest of a complete folder of this version; DataError, saying what to do, for anything else."""
    path = folder / MANIFEST
    redo = "prepare it again (python -m gfvad.prepare, or delete the folder and rerun)"
    if not path.is_file():
        found = "an unfinished or foreign folder" if folder.is_dir() else "no such folder"
        raise DataError(f"{folder} is not a prepared set: {found} (expected {MANIFEST} in it); {redo}")
    manifest = _read_json(path, redo)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        version = manifest.get("format") if isinstance(manifest, dict) else None
        raise DataError(f"{path} is of format {version!r} (gfvad reads {FORMAT}); {redo}")
    for name, size in manifest["files"].items():
        file = folder / name
        found = f"{file.stat().st_size:,} bytes" if file.is_file() else "nothing"
        if found != f"{size:,} bytes":
            raise DataError(f"{file}: found {found}, expected {size:,} bytes; {redo}")
    return manifest


def read_index(folder: Path) -> dict:
    """What the index says of every video, by split."""
    return _read_json(folder / INDEX, "prepare it again")


def _read_json(path: Path, redo: str):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); {redo}") from error


def is_current(folder: Path, identity: Mapping) -> bool:
    """True where the folder is complete and holds exactly this set."""
    try:
        manifest = read(folder)
    except DataError:
        return False
    return all(manifest[key] == identity[key] for key in IDENTITY)


def refuse_foreign(folder: Path, dataset: str) -> None:
    """Raises DataError where writing would destroy something other than an earlier preparation of the same dataset."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    path = folder / MANIFEST
    found, files = None, None
    if path.is_file():
        with contextlib.suppress(ValueError, AttributeError):
            tree = json.loads(path.read_text(encoding="utf-8"))
            found, files = tree.get("dataset"), tree.get("files")
    if found != dataset or not isinstance(files, dict):
        what = f"the prepared set {found!r}" if found else "files that are no prepared set"
        raise DataError(f"{folder} already holds {what}; expected nothing or an earlier {dataset!r}. Choose another folder or delete it")
    require_own(folder, {*files, MANIFEST})


def require_own(folder: Path, files: Collection[str]) -> None:
    """Raises DataError where a folder that is to be replaced holds other files than these: somebody put them there."""
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if (not path.is_dir() or path.is_symlink()) and str(path.relative_to(folder)) not in files)
    if others:
        raise DataError(f"{folder} is to be written anew, and {len(others)} files in it are not this project's: {some(others)}; expected those that were written alone: "
                        "move them away, or choose another folder")  # fmt: skip


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer of a folder at a time; other processes wait here and then find it complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.parent / f".{folder.name}.lock", "w")
    except OSError as error:
        message = f"cannot write to {folder.parent} ({error.strerror}); choose another folder (config.data.cache_dir, --out)"
        raise DataError(message) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, also by a killed process
        yield


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends, or vanishes where it raises. Needs the lock."""
    prefix = f".{folder.name}.partial-"
    for stale in folder.parent.glob(f"{prefix}*"):  # left by a killed process: nobody else writes under the lock
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
    """DataError where the disk of a folder has less than `needed` bytes (and a margin of 64 MiB) left."""
    free = shutil.disk_usage(folder).free
    if free < needed + (64 << 20):
        raise DataError(f"{folder.parent}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed; free some space or choose another disk")
