"""Headers of numpy's files: what they promise, checked before memory is asked for."""

from __future__ import annotations

import io
import math
import os
import struct
import threading
import tokenize
from typing import IO, NamedTuple

import numpy as np

from gfvad.base.errors import LIBRARY_ERRORS, DataError, cannot_read
from gfvad.base.files import require_regular

LOCK = threading.Lock()
LONGEST_HEADER = 10_000  # bytes; as numpy has it
MOST_AXES = 32
LAST_CHARACTER = 0x10FFFF
HEADERS = {
    (1, 0): ("<H", np.lib.format.read_array_header_1_0),
    (2, 0): ("<I", np.lib.format.read_array_header_2_0),
}


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
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def parse_header(file: IO[bytes], where: str, size: int) -> Header:
    """Header at the start of an open .npy stream of `size` bytes. Raises DataError for anything
    but a plain array."""
    if not size:
        raise DataError(f"{where}: empty file; expected a .npy array, copy or extract it again")
    begin = file.read(8)
    if len(begin) < 8 or not begin.startswith(np.lib.format.MAGIC_PREFIX):
        raise DataError(
            f"{where}: not a whole .npy file (it begins with {begin[:6].hex(' ')}); copy or extract"
            " it again"
        )
    version = (begin[6], begin[7])
    if version not in HEADERS:
        raise DataError(
            f"{where}: .npy format {version}; expected 1.0 or 2.0, write it again with numpy.save"
        )
    width, parse = HEADERS[version]
    field = file.read(struct.calcsize(width))
    length = (
        struct.unpack(width, field)[0]
        if len(field) == struct.calcsize(width)
        else LONGEST_HEADER + 1
    )
    if length > min(LONGEST_HEADER, size):
        raise DataError(
            f"{where}: not a whole .npy file (a header of {length:,} bytes); copy or extract it"
            " again"
        )
    content = file.read(length)
    try:
        with LOCK:
            shape, fortran, dtype = parse(
                io.BytesIO(field + content), max_header_size=LONGEST_HEADER
            )
    except (*LIBRARY_ERRORS, SyntaxError, tokenize.TokenError) as error:
        text = (str(error) or type(error).__name__).split("\n")[0][:200]
        raise DataError(
            f"{where}: not a whole .npy file ({text}); copy or extract it again"
        ) from None
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds pickled Python objects, which are never loaded; "
            "expected a plain float array, convert it with numpy.save"
        )
    if dtype.names or dtype.subdtype or not dtype.itemsize:
        raise DataError(
            f"{where}: type {str(dtype)[:80]}; expected plain numbers or text, convert it with"
            " numpy.save"
        )
    if len(shape) > MOST_AXES or any(isinstance(n, bool) or n < 0 for n in shape):
        raise DataError(
            f"{where}: shape {str(shape)[:80]}; expected at most {MOST_AXES} sizes from 0: write it"
            " again with numpy.save"
        )
    return Header(tuple(shape), dtype, bool(fortran), len(begin) + len(field) + length, size)


def read_header(path: str | os.PathLike) -> Header:
    """Header of a .npy file; the data are not touched.

    Raises DataError for an absent, empty or foreign file, for what is no regular file, and for
    pickled objects.
    """
    size = require_regular(path, "a .npy array")
    try:
        with open(path, "rb") as file:
            return parse_header(file, str(path), size)
    except OSError as error:
        raise cannot_read(path, error, "a .npy array") from None


def require_size(path: str | os.PathLike, header: Header) -> None:
    """Raises DataError where a .npy file has more or fewer bytes than its header says."""
    if header.found != header.expected:
        kind = "truncated" if header.found < header.expected else "too long"
        raise DataError(
            f"{path}: {kind}, {header.found:,} bytes; "
            f"expected {header.expected:,} for shape {header.shape}, copy or extract it again"
        )
