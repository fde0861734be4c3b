"""A run's folder in a bucket: work is done in a local copy, which is published whole.

    BUCKET/RUN/.gfvad/manifest.json    written last: what the run consists of, with checksums
    BUCKET/RUN/.gfvad/files-HASH.zip   all files but the checkpoints, as they were together
    BUCKET/RUN/checkpoints/STEP/...    as on a disk
    BUCKET/RUN/results.json, ...       copies for people; nothing here reads them

An object is written whole or not at all, so the manifest is the old or the new one, and all that
it names was there before it: a job that is killed at any moment finds the run as it was last
published. Every process has a local copy of its own (hosts of a pod share no disk); process 0
alone publishes. No lock reaches across machines: before each publishing the manifest is read
again, and a job that finds another's stops.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gfvad
from gfvad.base import storage
from gfvad.base.errors import DataError
from gfvad.base.fetched import AT_ONCE
from gfvad.base.json_text import parse_json
from gfvad.base.locks import LOCK, locked
from gfvad.base.seals import SEAL, file_hash, tree_hash

OWN = ".gfvad"
MANIFEST = f"{OWN}/manifest.json"
CHECKPOINTS = "checkpoints/"
FORMAT = 1
_open: dict[Path, Mirror] = {}  # local folder -> its mirror, while one is open


def of(path: Path) -> Mirror | None:
    """The mirror that a local path lies in; None for an ordinary folder."""
    path = Path(path).absolute()
    return next((m for m in _open.values() if path.is_relative_to(m.folder)), None)


def process_of(environment: Any = os.environ) -> int:
    """Number of this process on this machine, before anything is joined; 0 where nothing says."""
    told = [environment.get(key, "") for key in ("GFVAD_PROCESS", "SLURM_PROCID")]
    return next((int(text) for text in told if text.isdigit()), 0)


class Mirror:
    """A run's folder in a bucket and its local copy. Raises DataError, as `storage.Store`."""

    def __init__(self, url: str):
        self.store, self.url = storage.Store(url), url.rstrip("/")
        self.rank = process_of()
        whole = storage.cache_root() / "runs" / storage.name_of(url)
        self.folder = whole / f"process-{self.rank}"
        self._seen: str | None = None  # seal of the manifest that the local copy stands on
        self._manifest: dict[str, Any] = {"files": {}, "others": None}
        self._shown: dict[str, str] = {}  # copies for people -> digest
        self._digests: dict[tuple, str] = {}
        self._tidied = self._lost = False
        self._thread: threading.Thread | None = None
        self._failed: DataError | None = None

    # ---- from the bucket

    def fetch(self) -> None:
        """Makes the local copy what was last published; empty where nothing was."""
        found = self._read_manifest()
        self._seen = found[SEAL] if found else None
        self._manifest = found or {"files": {}, "others": None}
        files: dict[str, list] = self._manifest["files"]
        self.folder.mkdir(parents=True, exist_ok=True)
        fitting = {name for name in files if self._holds(name, files[name])}
        for path in sorted(self.folder.rglob("*"), reverse=True):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()  # where it is empty
            elif name not in fitting and name != LOCK:
                path.unlink()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._get, [name for name in files if name not in fitting]))
        if self._manifest["others"]:
            self._unpack(*self._manifest["others"])

    def _holds(self, name: str, about: list) -> bool:
        path = self.folder / name
        return path.is_file() and self._about(path) == about

    def _get(self, name: str) -> None:
        self.store.get(name, self.folder / name)
        if not self._holds(name, self._manifest["files"][name]):
            raise self._differs(name)

    def _unpack(self, name: str, digest: str) -> None:
        content = self.store.read(name)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            raise self._differs(name)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(self.folder)

    def _differs(self, name: str) -> DataError:
        return DataError(
            f"{self.url}/{name}: not what {MANIFEST} says of it; expected the bytes that were"
            " published: was it changed by hand, or does another job write there? Restore it, or"
            " give another --workdir"
        )

    def _read_manifest(self) -> dict[str, Any] | None:
        content = self.store.read(MANIFEST)
        if content is None:
            return None
        where = f"{self.url}/{MANIFEST}"
        found = parse_json(content.decode("utf-8", "replace"), where, "the manifest of a run")
        seal = found.get(SEAL)
        if tree_hash({k: v for k, v in found.items() if k != SEAL}) != seal:
            raise DataError(f"{where}: damaged (its checksum differs); expected one of a run")
        if found["format"] != FORMAT:
            raise DataError(f"{where}: of format {found['format']}; this version reads {FORMAT}")
        return found

    # ---- to the bucket

    def begin(self, after: Callable[[], object]) -> None:
        """Publishes on a thread when `after()` has returned; one at a time. Raises what the one
        before it raised."""
        self.wait()

        def work() -> None:
            try:
                after()
                self.publish()
            except DataError as error:
                self._failed = error
            except Exception as error:
                self._failed = DataError(f"{self.url}: {storage.reason_of(error)}")

        self._thread = threading.Thread(target=work, daemon=True, name="gfvad publishes")
        self._thread.start()

    def wait(self) -> None:
        """Returns when what was begun is published. Raises DataError where it was not."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def finish(self, publishes: bool) -> None:
        """Waits for what was begun, and publishes what came after it."""
        self.wait()
        if publishes and not self._lost:
            self.publish()

    def publish(self) -> None:
        """Makes what was last published the local copy as it is. Process 0 alone."""
        found = self._read_manifest()
        if (found[SEAL] if found else None) != self._seen:
            self._lost = True
            raise DataError(
                f"{self.url}: another job has published there since this one began; expected to be"
                " alone: end one of them (no lock reaches across machines), and start again"
            )
        names = [p.relative_to(self.folder).as_posix() for p in sorted(self.folder.rglob("*"))]
        names = [name for name in names if not passing(name) and (self.folder / name).is_file()]
        kept = {n: self._about(self.folder / n) for n in names if n.startswith(CHECKPOINTS)}
        others = {n: (self.folder / n).read_bytes() for n in names if n not in kept}
        if not names and found is None:
            return
        before: dict[str, list] = self._manifest["files"]
        packed = pack(others)
        digest = hashlib.sha256(packed).hexdigest()
        archive = f"{OWN}/files-{digest[:16]}.zip"
        if kept == before and self._manifest["others"] == [archive, digest]:
            self._show(others)
            return
        new = [name for name, about in kept.items() if before.get(name) != about]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: self.store.put(self.folder / name, name), new))
        self.store.write(archive, packed)
        tree = {"format": FORMAT, "gfvad": gfvad.__version__, "files": kept}
        tree |= {"others": [archive, digest], "before": self._seen}
        sealed = {**tree, SEAL: tree_hash(tree)}
        self.store.write(MANIFEST, json.dumps(sealed, indent=1).encode())
        self._manifest, self._seen = sealed, sealed[SEAL]
        self._remove_stale({*kept, archive, MANIFEST}, {*before})
        self._show(others)

    def _remove_stale(self, wanted: set[str], before: set[str]) -> None:
        """Removes what the manifest names no more, and once what a killed job has left."""
        stale = before - wanted
        if not self._tidied:
            stale |= {*self.store.sizes("checkpoints")} - wanted
            self._tidied = True
        stale |= {*self.store.sizes(OWN)} - wanted
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.store.remove, sorted(stale)))

    def _show(self, others: dict[str, bytes]) -> None:
        """Copies for people: of what changed."""
        for name, content in others.items():
            digest = hashlib.sha256(content).hexdigest()
            if self._shown.get(name) != digest:
                self.store.write(name, content)
                self._shown[name] = digest

    def _about(self, path: Path) -> list:
        """[bytes, SHA-256] of a file, read once for each state of it."""
        found = path.stat()
        key = str(path), found.st_ino, found.st_size, found.st_mtime_ns
        if key not in self._digests:
            self._digests[key] = file_hash(path)
        return [found.st_size, self._digests[key]]


def passing(name: str) -> bool:
    """Whether a file belongs to work that is going on."""
    parts = name.split("/")
    unfinished = any("-staged-" in p or ".orbax-checkpoint-tmp" in p for p in parts)
    return unfinished or parts[-1] == LOCK or parts[-1].endswith((".partial", ".lock"))


def pack(files: dict[str, bytes]) -> bytes:
    """A ZIP of files, the same for the same content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


@contextlib.contextmanager
def opened(url: str, write: bool = True) -> Iterator[Path]:
    """The local copy of a run's folder in a bucket, as it was last published; published again at
    the end of the block (write), also where it raises, for what was done is done.

    Raises DataError where the bucket cannot be used, or another process of this machine works in
    the copy.
    """
    mirror = Mirror(url)
    mirror.store.require_bucket()
    with locked(mirror.folder.parent, "copy of a run", f".process-{mirror.rank}.lock"):
        mirror.fetch()
        if mirror.rank == 0:
            print(f"storage: {url} is worked on in {mirror.folder}", file=sys.stderr, flush=True)
        _open[mirror.folder] = mirror
        publishes = write and mirror.rank == 0
        try:
            yield mirror.folder
        except BaseException:
            with contextlib.suppress(DataError):  # the first error says more
                mirror.finish(publishes)
            raise
        finally:
            del _open[mirror.folder]
        mirror.finish(publishes)


def upload(folder: Path, url: str) -> None:
    """Copies a finished folder to a bucket, what says that it is whole last, and removes the local
    one."""
    store = storage.Store(url)
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file()]
    last = [name for name in names if Path(name).name == "manifest.json"]
    rest = [name for name in names if name not in last]
    stale = {*store.sizes()} - {*names}
    for name in last:
        store.remove(name)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: store.put(folder / name, name), rest))
        list(pool.map(store.remove, sorted(stale)))
        list(pool.map(lambda name: store.put(folder / name, name), last))
    shutil.rmtree(folder)
