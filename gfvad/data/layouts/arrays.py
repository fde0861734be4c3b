"""Reading .npy and .npz features: headers without the data, whole arrays, and what can be wrong with them.

Headers are parsed here, under a lock, and data are read by `np.fromfile`: `np.load` from several threads crashes at random on Python 3.11.7
(its parse of the header is not thread-safe there, CPython gh-106905). Nothing is ever unpickled.
"""
from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from gfvad.types import DataError

LOCK = threading.Lock()
LARGEST = 1e17  # of a feature: the sum of 30,000 squares of such stays in the range of float32
CHUNK_BYTES = 8 << 20  # of a chunked read


class Header(NamedTuple):
    """What a .npy file says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int  # bytes before the data
    found: int  # bytes of the file

    @property
    def expected(self) -> int:
        """Bytes the file should have."""
        return self.offset + int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def is_float(dtype: np.dtype) -> bool:
    """True for float16, float32 and float64 of any byte order."""
    return dtype.kind == "f" and dtype.itemsize in (2, 4, 8)


def _parse(file: IO[bytes], where: str, size: int) -> Header:
    """Header at the start of an open .npy stream of `size` bytes."""
    if not size:
        raise DataError(f"{where}: empty file; expected a .npy array, copy or extract it again")
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with LOCK:
            version = np.lib.format.read_magic(file)
            if version not in readers:
                raise DataError(f"{where}: .npy format {version}; expected 1.0 or 2.0, write it again with numpy.save")
            shape, fortran, dtype = readers[version](file)
    except (ValueError, EOFError) as error:
        raise DataError(f"{where}: not a whole .npy file ({error}); copy or extract it again") from None
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds pickled Python objects, which are never loaded; "
            "expected a plain float array, convert it with numpy.save"
        )
    return Header(shape, dtype, fortran, file.tell(), size)


def read_header(path: Path) -> Header:
    """Header of a .npy file; the data are not touched. Raises DataError for an absent, empty or foreign file and for pickled objects."""
    try:
        with open(path, "rb") as file:
            return _parse(file, str(path), path.stat().st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a .npy array") from None


def check_header(path: Path, header: Header, ndim: tuple[int, ...], dim: int = 0) -> None:
    """Raises DataError where a feature file is truncated, of the wrong type or shape (last axis `dim`; 0: any), or has no rows."""
    if header.found != header.expected:
        kind = "truncated" if header.found < header.expected else "too long"
        raise DataError(
            f"{path}: {kind}, {header.found:,} bytes; "
            f"expected {header.expected:,} for shape {header.shape}, copy or extract it again"
        )
    if not is_float(header.dtype):
        raise DataError(f"{path}: type {header.dtype}; expected float16, float32 or float64 features")
    if len(header.shape) not in ndim or (dim and header.shape[-1] != dim):
        axes = " or ".join({1: "[units]", 2: "[units, {}]", 3: "[units, crops, {}]"}[n].format(dim or "features") for n in ndim)
        raise DataError(f"{path}: shape {header.shape}; expected {axes}")
    if 0 in header.shape:
        raise DataError(f"{path}: shape {header.shape} has no rows; expected at least one unit, extract it again or remove the video")


def read_array(path: Path, header: Header) -> np.ndarray:
    """The whole array of a file whose header has been checked."""
    with open(path, "rb") as file:
        file.seek(header.offset)
        flat = np.fromfile(file, header.dtype, int(np.prod(header.shape, dtype=np.int64)))
    if flat.size != int(np.prod(header.shape, dtype=np.int64)):
        raise DataError(f"{path}: shrank while it was read; copy it again")
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def read_chunks(path: Path, header: Header) -> Iterator[np.ndarray]:
    """The values of a checked file in pieces of at most CHUNK_BYTES, flat, in file order: little memory for any file."""
    count = max(1, CHUNK_BYTES // header.dtype.itemsize)
    with open(path, "rb") as file:
        file.seek(header.offset)
        while len(chunk := np.fromfile(file, header.dtype, count)):
            yield chunk


def to_features(array: np.ndarray) -> np.ndarray:
    """Native float16 or float32 (float64 is rounded to float32: no published feature has more precision)."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=") if array.dtype.itemsize <= 4 else np.float32)


def too_large(array: np.ndarray) -> str:
    """What is wrong with finite values whose squares would overflow float32; '' for nothing. `array` as it is in the file."""
    peak = float(np.abs(array).max(initial=0.0)) if array.dtype.itemsize > 2 else 0.0  # float16 ends at 65,504
    return f"values up to {peak:.3g}; expected at most {LARGEST:g}, for squares of larger ones overflow float32: scale this modality" if peak > LARGEST else ""


def require_finite(array: np.ndarray, where: str) -> None:
    """Raises DataError with the number of NaN or infinite values and the first one's index, and for values that are too large to be squared."""
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise DataError(
            f"{where}: {len(bad)} values are NaN or infinite, first at {tuple(bad[0].tolist())}; "
            "expected finite features, extract it again"
        )
    if wrong := too_large(array):
        raise DataError(f"{where}: {wrong}")


# ---- npz -------------------------------------------------------------------------------------------------------------------------------


class Npz:
    """An .npz container: headers at once, arrays when asked (kept, so that rows are cheap)."""

    def __init__(self, path: Path):
        self.path, self._arrays = path, {}
        try:
            with zipfile.ZipFile(path) as archive:
                self.headers = {}
                for info in archive.infolist():
                    with archive.open(info) as member:
                        self.headers[info.filename.removesuffix(".npy")] = _parse(member, f"{path}:{info.filename}", info.file_size)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); expected an .npz of arrays") from None
        except (zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"{path}: not a whole .npz file ({error}); copy it again") from None

    def require(self, key: str, ndim: int) -> Header:
        """Header of a member. Raises DataError where it is absent or has another number of axes."""
        if key not in self.headers:
            raise DataError(f"{self.path}: no array {key!r}; found {', '.join(sorted(self.headers)[:12]) or 'none'}")
        if len(self.headers[key].shape) != ndim:
            raise DataError(f"{self.path}:{key}: shape {self.headers[key].shape}; expected {ndim} axes")
        return self.headers[key]

    def array(self, key: str) -> np.ndarray:
        """A whole member. Raises DataError where the archive is damaged."""
        if key not in self._arrays:
            try:
                with LOCK, np.load(self.path, allow_pickle=False) as archive:
                    self._arrays[key] = archive[key]
            except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
                raise DataError(f"{self.path}:{key}: damaged ({error}); copy it again") from None
        return self._arrays[key]

    def names(self, key: str = "name") -> list[str]:
        """The video names of a container. Raises DataError where they are no strings or one stands twice."""
        header = self.require(key, 1)
        if header.dtype.kind not in "US":
            raise DataError(f"{self.path}:{key}: type {header.dtype}; expected strings, one a video")
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in self.array(key)]
        twice = next((n for i, n in enumerate(sorted(names)[1:]) if n == sorted(names)[i]), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise DataError(f"{self.path}:{key}: video {twice!r} stands twice; expected each once")
        return names
