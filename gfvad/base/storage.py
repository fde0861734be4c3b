"""Object storage (gs://, s3://): files of a bucket, and every way in which it fails as one line.

Listing and streaming are fsspec's (gcsfs, s3fs), which `etils.epath` opens; nothing else in the
project calls them. A store writes an object whole or not at all, and has no locks and no renaming:
what needs those works in a local folder (`mirrors.py`, `fetched.py`) and is copied whole. A local
folder may stand in a bucket's place (file://), for trying.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gfvad.base.errors import ConfigError, DataError

SCHEMES = ("gs://", "s3://", "file://")
INSTALL = "pip install -r launch/requirements-storage.txt"
EMULATED = "STORAGE_EMULATOR_HOST"
CHUNK = 1 << 20  # bytes of a file that are digested at once


def is_remote(text: object) -> bool:
    """Whether a text names a place in a bucket."""
    return isinstance(text, str) and text.startswith(SCHEMES)


def cache_root() -> Path:
    """Folder of everything that is kept of buckets: $GFVAD_CACHE/storage, else
    ~/.cache/gfvad/storage."""
    return Path(os.environ.get("GFVAD_CACHE") or "~/.cache/gfvad").expanduser() / "storage"


def name_of(url: str) -> str:
    """Name of the local folder of a place: readable, and unlike that of any other place."""
    last = url.rstrip("/").rsplit("/", 1)[-1]
    readable = "".join(c if c.isalnum() or c in "-_." else "-" for c in last)[:60]
    return f"{readable}-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:12]}"


class Store:
    """The objects below one place. Names are relative to it, with '/'.

    Every method raises DataError in one line that says what to do: extra not installed, bucket
    missing, no right, no network.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        scheme = next(scheme for scheme in SCHEMES if url.startswith(scheme))
        self._base = url.removeprefix(scheme).rstrip("/")
        if not self._base:
            raise ConfigError(f"{url}: no bucket; expected {scheme}BUCKET/FOLDER")
        self._fs = _file_system(scheme)
        self._bucket = self._base.split("/", 1)[0]
        self._local = scheme == "file://"

    def require_bucket(self) -> None:
        """Raises DataError where the bucket cannot be used: before any long work."""
        if self._local:
            return
        with self._said(self.url):
            try:
                self._fs.info(self._bucket)
            except FileNotFoundError:
                raise DataError(
                    f"{self.url}: no bucket {self._bucket!r}; expected one that is there: check its"
                    " name, or make it first"
                ) from None

    def read(self, name: str) -> bytes | None:
        """An object; None where there is none."""
        with self._said(f"{self.url}/{name}"):
            try:
                return self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Writes an object whole."""
        with self._said(f"{self.url}/{name}"):
            self._make_parent(name)
            self._fs.pipe_file(self._path(name), content)

    def put(self, path: Path, name: str) -> None:
        """Copies a local file to an object."""
        with self._said(f"{self.url}/{name}"):
            self._make_parent(name)
            self._fs.put_file(str(path), self._path(name))

    def get(self, name: str, path: Path) -> None:
        """Copies an object to a local file, whole or not at all."""
        partial = path.with_name(f".{path.name[-100:]}.{os.getpid()}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._said(f"{self.url}/{name}"):
                self._fs.get_file(self._path(name), str(partial))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Removes an object; nothing where it is not there."""
        with self._said(f"{self.url}/{name}"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def sizes(self, below: str = "") -> dict[str, tuple[int, str]]:
        """{name: (bytes, what tells its content: a digest of the store, or its time)} of all
        objects below a name."""
        with self._said(self.url):
            self._fs.invalidate_cache()
            found: Mapping[str, Any] = self._fs.find(self._path(below), detail=True)
        start = len(self._base.rstrip("/")) + 1
        named = {path[start:]: about for path, about in sorted(found.items()) if path[start:]}
        return {
            name: (int(about["size"]), content_of(about))
            for name, about in named.items()
            if not name.endswith("/")
        }

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    def _make_parent(self, name: str) -> None:
        if self._local:
            Path(self._path(name)).parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _said(self, place: str) -> Iterator[None]:
        """What the libraries raise, as one line."""
        try:
            yield
        except (DataError, FileNotFoundError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{place}: not found; expected an object that is there: was it removed meanwhile?"
            ) from None
        except Exception as error:
            raise DataError(f"{place}: {reason_of(error)}") from None


def content_of(about: Mapping[str, Any]) -> str:
    """What tells an object's content: its digest as the store says it, else its time."""
    for key in ("md5Hash", "ETag", "etag", "crc32c", "mtime", "LastModified", "updated"):
        if about.get(key):
            return f"{key}:{about[key]}"
    return ""


def fits(path: Path, told_by_store: str) -> bool:
    """Whether a local file has the MD5 that a store says; true where it says none (the ETag of an
    object that was written in parts is no MD5)."""
    key, _, value = told_by_store.partition(":")
    digest = ""
    if key == "md5Hash":
        digest = base64.b64decode(value).hex()
    elif key == "ETag" and len(value.strip('"')) == 32:
        digest = value.strip('"')
    if not digest:
        return True
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == digest


def reason_of(error: Exception) -> str:
    """What a library's error means, and what to do."""
    text = " ".join(str(error).split())[:200]
    kind, code = type(error).__name__, getattr(error, "code", None)
    if "Credentials" in kind or "redential" in text:
        return (
            f"no credentials ({text}); expected some: gcloud auth application-default login, or"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, PermissionError) or code in (401, 403) or "Forbidden" in text:
        return (
            f"refused ({text}); expected credentials with the right to read and write there: check"
            " the account and the bucket's rights"
        )
    if isinstance(error, (ConnectionError, TimeoutError)) or "onnect" in text or "onnect" in kind:
        return f"cannot be reached ({text}); expected a network, or an emulator that is running"
    return f"{kind}: {text}; expected a bucket that can be read and written"


@functools.cache
def _file_system(scheme: str) -> Any:
    """fsspec's file system, without listings remembered. Raises DataError where the extra is not
    installed."""
    if os.environ.get(EMULATED):  # asks no other server what kind of bucket it is
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.ERROR)
    try:
        from etils.epath import backend

        return backend.fsspec_backend.fs(scheme + "bucket")
    except (ImportError, ModuleNotFoundError) as error:
        raise DataError(
            f"{scheme}: {error.name or error} is not installed; expected the extra 'storage' of"
            f" gfvad: {INSTALL}"
        ) from None
