"""Reading .npy and .npz features: what they must be, and what can be wrong with them. The reader
itself: `gfvad/base/arrays.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gfvad.base.array_headers import LOCK as LOCK
from gfvad.base.array_headers import Header as Header
from gfvad.base.array_headers import read_header as read_header
from gfvad.base.array_headers import require_size
from gfvad.base.arrays import Npz as Npz
from gfvad.base.arrays import read_array as read_array
from gfvad.base.types import DataError

LARGEST = 1e17  # of a feature: the sum of 30,000 squares of such stays in the range of float32
CHUNK_BYTES = 8 << 20  # of a chunked read


def is_float(dtype: np.dtype) -> bool:
    """True for float16, float32 and float64 of any byte order."""
    return dtype.kind == "f" and dtype.itemsize in (2, 4, 8)


def check_header(path: Path, header: Header, ndim: tuple[int, ...], dim: int = 0) -> None:
    """Raises DataError where a feature file is truncated, of the wrong type or shape (last axis
    `dim`; 0: any), or has no rows."""
    require_size(path, header)
    if not is_float(header.dtype):
        raise DataError(
            f"{path}: type {header.dtype}; expected float16, float32 or float64 features"
        )
    if len(header.shape) not in ndim or (dim and header.shape[-1] != dim):
        axes = " or ".join(
            {1: "[units]", 2: "[units, {}]", 3: "[units, crops, {}]"}[n].format(dim or "features")
            for n in ndim
        )
        raise DataError(f"{path}: shape {header.shape}; expected {axes}")
    if 0 in header.shape:
        raise DataError(
            f"{path}: shape {header.shape} has no rows; expected at least one unit, extract it"
            " again or remove the video"
        )


def read_chunks(path: Path, header: Header) -> Iterator[np.ndarray]:
    """The values of a checked file in pieces of at most CHUNK_BYTES, flat, in file order: little
    memory for any file."""
    count = max(1, CHUNK_BYTES // header.dtype.itemsize)
    with open(path, "rb") as file:
        file.seek(header.offset)
        while len(chunk := np.fromfile(file, header.dtype, count)):
            yield chunk


def to_features(array: np.ndarray) -> np.ndarray:
    """Native float16 or float32 (float64 is rounded to float32: no published feature has more
    precision)."""
    return np.ascontiguousarray(
        array, array.dtype.newbyteorder("=") if array.dtype.itemsize <= 4 else np.float32
    )


def too_large(array: np.ndarray) -> str:
    """What is wrong with finite values whose squares would overflow float32; '' for nothing.
    `array` as it is in the file."""
    # float16 ends at 65,504
    peak = float(np.abs(array).max(initial=0.0)) if array.dtype.itemsize > 2 else 0.0
    return (
        f"values up to {peak:.3g}; expected at most {LARGEST:g}, for squares of larger ones"
        " overflow float32: scale this modality"
        if peak > LARGEST
        else ""
    )


def require_finite(array: np.ndarray, where: str) -> None:
    """Raises DataError with the number of NaN or infinite values and the first one's index, and
    for values that are too large to be squared."""
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise DataError(
            f"{where}: {len(bad)} values are NaN or infinite, first at {tuple(bad[0].tolist())}; "
            "expected finite features, extract it again"
        )
    if wrong := too_large(array):
        raise DataError(f"{where}: {wrong}")
