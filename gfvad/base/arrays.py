"""The one guarded reader of .npy and .npz files: headers without the data, whole arrays, maps of
files.

What a file claims is held against its size before memory is asked for. Headers are parsed here,
under a lock, and data are read by `np.fromfile`: `np.load` from several threads crashes at random
on Python 3.11.7 (its parse of the header is not thread-safe there, CPython gh-106905). Nothing is
ever unpickled.
"""

from __future__ import annotations

import lzma
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gfvad.base.array_headers import LAST_CHARACTER, Header, parse_header, read_header, require_size
from gfvad.base.errors import DataError, cannot_read
from gfvad.base.files import require_regular
from gfvad.base.names import Names

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that numpy writes
DEFLATE_RATIO = 1040  # no deflated byte stands for more than 1032
PIECE = 8 << 20  # bytes that are read at once from a container
# what zipfile raises for damaged, encrypted and odd containers
FOREIGN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
FOREIGN += (EOFError, ValueError, RuntimeError, OverflowError)


def read_array(path: str | os.PathLike, header: Header) -> np.ndarray:
    """The whole array of a file whose header was read. Raises DataError where the file's size is
    another than the header's."""
    require_size(path, header)
    count = math.prod(header.shape)
    try:
        with open(path, "rb") as file:
            file.seek(header.offset)
            flat = np.fromfile(file, header.dtype, count)
    except OSError as error:
        raise cannot_read(path, error, "a .npy array") from None
    if flat.size != count:
        raise DataError(f"{path}: shrank while it was read; copy it again")
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def load_npy(path: str | os.PathLike) -> np.ndarray:
    """A whole .npy file. Raises DataError."""
    return read_array(path, read_header(path))


def map_npy(path: str | os.PathLike) -> np.ndarray:
    """A .npy file as a map that is read where it is looked at. Raises DataError."""
    header = read_header(path)
    require_size(path, header)
    order = "F" if header.fortran else "C"
    if not math.prod(header.shape):  # nothing can be mapped
        return np.zeros(header.shape, header.dtype, order)
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)


# ---- npz


class Npz:
    """An .npz container: headers at once, arrays when asked (kept, so that rows are cheap).

    Raises DataError for a container that is damaged, encrypted, packed in a way numpy does not, or
    whose members claim more than they hold.
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self._arrays = Path(path), {}
        self.headers: dict[str, Header] = {}
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.comment = b""
        size = require_regular(path, "an .npz of arrays")
        try:
            with zipfile.ZipFile(path) as archive:
                self.comment = archive.comment
                if sum(info.compress_size for info in archive.infolist()) > size:
                    raise zipfile.BadZipFile("its members overlap")
                for info in archive.infolist():
                    self._take(archive, info)
        except DataError:
            raise
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror or error}); expected an .npz of arrays:"
                " copy it again"
            ) from None
        except FOREIGN as error:
            raise DataError(
                f"{path}: not a whole .npz file ({error or type(error).__name__}); copy it again"
            ) from None

    def _take(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        where, key = f"{self.path}:{ascii(info.filename)[1:-1]}", info.filename.removesuffix(".npy")
        if info.flag_bits & 0x1:
            raise DataError(
                f"{where}: encrypted; expected an .npz without a password: write it again with"
                " numpy.savez"
            )
        if info.compress_type not in COMPRESSIONS:
            raise DataError(
                f"{where}: packed by method {info.compress_type}; expected stored or deflated:"
                " write it again with numpy.savez"
            )
        if key in self.headers:
            raise DataError(
                f"{where}: two arrays of that name; expected one: write it again with numpy.savez"
            )
        ratio = DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1
        if info.file_size > info.compress_size * ratio:
            raise DataError(
                f"{where}: {info.file_size:,} bytes out of {info.compress_size:,}; expected a whole"
                " array: copy it again"
            )
        with archive.open(info) as member:
            header = parse_header(member, where, info.file_size)
        require_size(where, header)
        self.headers[key], self._members[key] = header, info

    def require(self, key: str, ndim: int) -> Header:
        """Header of a member. Raises DataError where it is absent or has another number of axes."""
        header = self._header(key)
        if len(header.shape) != ndim:
            raise DataError(f"{self.path}:{key}: shape {header.shape}; expected {ndim} axes")
        return header

    def _header(self, key: str) -> Header:
        if key not in self.headers:
            found = ", ".join(sorted(self.headers)[:12]) or "none"
            raise DataError(f"{self.path}: no array {key!r}; found {found}")
        return self.headers[key]

    def array(self, key: str) -> np.ndarray:
        """A whole member. Raises DataError where it is absent or the archive is damaged."""
        if key not in self._arrays:
            self._header(key)
            self._fill([key])
        return self._arrays[key]

    def arrays(self) -> dict[str, np.ndarray]:
        """Every member. Raises DataError."""
        self._fill([key for key in self.headers if key not in self._arrays])
        return {key: self._arrays[key] for key in self.headers}

    def _fill(self, keys: list[str]) -> None:
        key = ""
        try:
            with zipfile.ZipFile(self.path) as archive:
                for key in keys:
                    self._arrays[key] = self._read(archive, key)
        except DataError:
            raise
        except (*FOREIGN, OSError) as error:
            raise DataError(
                f"{self.path}:{key}: damaged ({error or type(error).__name__}); copy it again"
            ) from None

    def _read(self, archive: zipfile.ZipFile, key: str) -> np.ndarray:
        header = self.headers[key]
        count = math.prod(header.shape)
        require_memory(f"{self.path}:{key}", count * header.dtype.itemsize)
        flat = np.empty(count, header.dtype)
        room = flat.view(np.uint8).data if count else memoryview(bytearray())
        with archive.open(self._members[key]) as member:
            member.read(header.offset)
            at = 0
            while piece := member.read(PIECE):  # to its very end, where the checksum is compared
                room[at : at + len(piece)] = piece
                at += len(piece)
        if at != len(room):
            raise ValueError(f"{at:,} bytes of {len(room):,}")
        return flat.reshape(header.shape, order="F" if header.fortran else "C")

    def names(self, key: str = "name") -> list[str]:
        """The video names of a container, as they are spelt. Raises DataError where they are no
        strings or a video stands twice."""
        header = self.require(key, 1)
        if header.dtype.kind not in "US":
            raise DataError(
                f"{self.path}:{key}: type {header.dtype}; expected strings, one a video"
            )
        if header.dtype.kind == "U" and len(array := self.array(key)):
            codes = array.view(np.dtype("u4").newbyteorder(header.dtype.byteorder))
            if codes.max() > LAST_CHARACTER:  # which Python itself stumbles over
                raise DataError(
                    f"{self.path}:{key}: a name that is no text; expected Unicode: write the"
                    " container again"
                )
        try:
            names = [n.decode() if isinstance(n, bytes) else str(n) for n in self.array(key)]
            "".join(names).encode()
        except ValueError as error:  # not UTF-8, half a character, or no character at all
            raise DataError(
                f"{self.path}:{key}: a name that is no text ({error}); expected Unicode: write the"
                " container again"
            ) from None
        table = Names(self.path.name)
        for i, name in enumerate(names):
            table.add(f"{self.path}:{key}, row {i}", name, i)
        return names


def load_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every array of an .npz. Raises DataError."""
    return Npz(path).arrays()


def require_memory(where: str, size: int) -> None:
    """Raises DataError for more bytes than this machine has memory."""
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > here:
        raise DataError(
            f"{where}: {size:,} bytes; expected an array that fits into memory ({here:,} bytes"
            " here): split it"
        )
