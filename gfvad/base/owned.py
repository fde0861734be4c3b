"""What a command wrote into a folder, so that it never removes or replaces what somebody else put
there.

A hidden record beside the files, one a kind of output, holds size and SHA-256 of each. A file is a
command's own where it is as the record says, or, where no record names it (earlier versions kept
none), where its content is of the command's kind. Anything else is somebody else's: it is refused
by name, before any long work. Files are written into a hidden folder and then put in place, and the
record names what comes before it comes: after a kill at any moment every file is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from gfvad.base import locks
from gfvad.base.errors import DataError, cannot_write
from gfvad.base.files import atomically, describe_mode, read_json, write_json
from gfvad.base.names import some

FORMAT = 1
HASHED = 64 << 20  # bytes; of larger files the size alone is kept


def none_of_ours(path: Path) -> bool:
    """For kinds whose files are told by the record alone."""
    return False


class Owned:
    """The files of one kind in a folder. command: what writes them, in messages; ours(path):
    whether a file is of this kind by its content.

    Names are paths below the folder, with '/'.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        kind: str,
        command: str,
        ours: Callable[[Path], bool] = none_of_ours,
    ):
        self.folder, self.kind, self.command, self._ours = Path(folder), kind, command, ours
        self.record = self.folder / f".gfvad-{kind}.json"

    # ---- whose a file is

    def known(self) -> dict[str, list[list[Any]]]:
        """{name: [[size, SHA-256 or None], ..]} that the record says; {} without a record, or
        with a damaged one."""
        return self._read()[0]

    def pending(self) -> list[str]:
        """Names that a call which was cut short had begun (`begin`)."""
        return self._read()[1]

    def whose(
        self, name: str, record: tuple[dict[str, list[list[Any]]], Sequence[str]] | None = None
    ) -> str:
        """'' where a name is free or the file is the command's own, else what stands there."""
        path = self.folder / name
        if not os.path.lexists(path):
            return ""
        for above in [path, *path.parents][: len(Path(name).parts)]:
            if above.is_symlink():
                return f"a link to {os.readlink(above)}, not made by {self.command}"
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return f"{describe_mode(found.st_mode)}, not made by {self.command}"
        files, pending = record or self._read()
        if name in files and digest(path, files[name]) in files[name]:
            return ""
        if name in files and name not in pending:
            return f"changed since {self.command} wrote it"
        if name not in files and (other := self._of_another(name, path)):
            return f"{seems(path)}, written by {other}"
        return "" if self._is_ours(path) else f"{seems(path)}, not written by {self.command}"

    def claim(self, names: Iterable[str]) -> None:
        """Raises DataError where one of these names is taken by a file that is not the command's
        own. Writes nothing."""
        self._not_a_folder()
        record = self._read()
        taken = {name: whose for name in names if (whose := self.whose(name, record))}
        if taken:
            first, whose = next(iter(taken.items()))
            more = (
                f" (and so for {len(taken) - 1} more: {some(list(taken)[1:])})"
                if len(taken) > 1
                else ""
            )
            raise DataError(
                f"{self.folder / first}: {whose}{more}; expected a free name or a file that"
                f" {self.command} wrote: move it away (or delete it, if it may go), or give another"
                " place to write to"
            )

    def _of_another(self, name: str, path: Path) -> str:
        """The command of another kind whose record in this folder has the file as it is; ''
        where none has."""
        for record in sorted(self.folder.glob(".gfvad-*.json")):
            if record != self.record:
                other = Owned(self.folder, record.name[len(".gfvad-") : -len(".json")], "")
                versions = other.known().get(name)
                if versions and digest(path, versions) in versions:
                    return str(
                        read_json(record, "a record of written files").get("written_by", other.kind)
                    )
        return ""

    def _is_ours(self, path: Path) -> bool:
        try:
            return self._ours(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError):
            return False  # it cannot be read as ours

    def _not_a_folder(self) -> None:
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise DataError(
                f"{self.folder}: cannot be written to (not a folder); expected a new one, or one to"
                " write into: give another place to write to"
            )

    @contextlib.contextmanager
    def locked(
        self, what: str, names: Iterable[str] = (), lock: str = locks.LOCK
    ) -> Iterator[None]:
        """Keeps other processes out of the folder (`base/locks.py`), and claims names, while the
        block runs; a folder made for nothing goes again."""
        names, made = list(names), not os.path.lexists(self.folder)
        self.claim(names)
        try:
            with locks.locked(self.folder, what, lock):
                self.claim(names)  # once more: what another process left meanwhile
                yield
        finally:
            if made:
                with contextlib.suppress(OSError):
                    self.folder.rmdir()  # where it is empty

    # ---- writing

    @contextlib.contextmanager
    def staged(self, last: str = "") -> Iterator[Path]:
        """A folder to write into; at the end of the block its files take their places, `last` after
        all others. Nothing is put in place where it raises.

        Raises DataError where a place is taken by somebody else's file, or cannot be written.
        """
        self._not_a_folder()
        prefix = f".gfvad-{self.kind}-staged-"
        staging = None
        try:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                # of a killed process; the caller holds the folder's lock
                for stale in self.folder.glob(f"{prefix}*"):
                    shutil.rmtree(stale, ignore_errors=True)
                staging = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder))
            except OSError as error:
                raise cannot_write(self.folder, error) from None
            yield staging
            self._publish(staging, last)
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)

    def _publish(self, staging: Path, last: str) -> None:
        found = sorted(
            str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file()
        )
        names = [name for name in found if name != last] + [last] * (last in found)
        self.claim(names)  # once more: what came meanwhile is somebody else's
        files, pending = self._read()
        new = {name: digest(staging / name) for name in names}
        self._write(
            files | {name: [*files.get(name, ()), *self._now(name), new[name]] for name in names},
            pending,
        )
        for name in names:
            try:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / name, self.folder / name)
            except OSError as error:
                raise cannot_write(self.folder / name, error) from None
        self._write(
            files | {name: [new[name]] for name in names},
            [name for name in pending if name not in new],
        )

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> Path:
        """One file, as `staged`; write(file) gives its content."""
        with self.staged() as folder:
            atomically(folder / name, write)
        return self.folder / name

    # ---- files that are written in place

    def begin(self, names: Sequence[str]) -> None:
        """Claims names of files that will be written in place (they grow, or are many); until
        `finish`, content of the command's kind is its own there."""
        self.claim(names)
        files, pending = self._read()
        self._write(files, sorted({*pending, *names}))

    def finish(self, names: Iterable[str], known: Mapping[str, list[Any]] | None = None) -> None:
        """Takes down files as they are now; nothing is pending any more. known: {name: [size,
        SHA-256]} of files that need not be read for that."""
        files, _ = self._read()
        there = {name: now for name in names if (now := self._now(name))}
        self._write(files | {name: [list(one)] for name, one in (known or {}).items()} | there, [])

    def forget(self, names: Iterable[str]) -> None:
        """Content alone tells from now on whether these files are the command's own: they were
        damaged, by nobody's will."""
        names = set(names)
        if names:
            files, pending = self._read()
            self._write(
                {name: versions for name, versions in files.items() if name not in names}, pending
            )

    def remove(self, names: Iterable[str]) -> list[str]:
        """Removes files that are the command's own; returns the names of those that stay because
        they are not."""
        kept, record = [], self._read()
        for name in names:
            if not os.path.lexists(self.folder / name):
                continue
            if self.whose(name, record):
                kept.append(name)
                continue
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(self.folder / name, error) from None
        return kept

    # ---- the record

    def _now(self, name: str) -> list[list[Any]]:
        path = self.folder / name
        return [digest(path)] if path.is_file() else []

    def _read(self) -> tuple[dict[str, list[list[Any]]], list[str]]:
        if not self.record.is_file():
            return {}, []
        try:
            tree = read_json(self.record, "a record of written files")
            files = (
                {
                    str(name): [list(one) for one in versions]
                    for name, versions in tree["files"].items()
                }
                if tree["format"] == FORMAT
                else {}
            )
            return files, [str(name) for name in tree.get("pending", ())]
        except (DataError, KeyError, TypeError, AttributeError):
            return {}, []  # what it said is told by content then

    def _write(self, files: dict[str, list[list[Any]]], pending: Sequence[str]) -> None:
        there = {name: versions for name, versions in sorted(files.items()) if versions}
        tree = {"format": FORMAT, "kind": self.kind, "written_by": self.command, "files": there}
        write_json(self.record, tree | ({"pending": list(pending)} if pending else {}))


def digest(path: Path, known: Sequence[Sequence[Any]] = ()) -> list[Any]:
    """[size, SHA-256] of a file; None for the hash of a large one, and where no known version
    has that size. Raises DataError."""
    try:
        size = path.stat().st_size
        if size > HASHED or (known and all(one[0] != size for one in known)):
            return [size, None]
        with open(path, "rb") as file:
            return [size, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); expected the right"
            " to read it: move it away, or give another place to write to"
        ) from None


def seems(path: Path) -> str:
    """What a file seems to be, for a message."""
    size = path.stat().st_size
    try:
        tree = (
            json.loads(path.read_text(encoding="utf-8"))
            if path.suffix == ".json" and size < 64 << 20
            else None
        )
    except (OSError, ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        for key, what in (
            ("kind", "{}"),
            ("dataset", "the set {}"),
            ("schema", "results of schema {}"),
        ):
            if isinstance(tree.get(key), (str, int)):
                return f"a JSON file of {what.format(repr(tree[key]))}"
        return f"a JSON file with {some(map(str, tree)) or 'nothing in it'}"
    return f"a file of {size:,} bytes"
