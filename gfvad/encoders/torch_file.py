"""Reads the tensors of a PyTorch weight file without PyTorch: the format before version 1.6,
pickles followed by the raw storages.

Only what such a file of weights needs is unpickled; any other name in it is refused, so a file
cannot run a program.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

from gfvad.base.files import require_regular
from gfvad.base.types import DataError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class Storage:
    """The numbers of one or more tensors; filled when the file's end is read."""

    upper_halves = False  # whether they are those of float32 (bfloat16)

    def __init__(self, dtype: np.dtype, size: int):
        self.dtype, self.size, self.values = dtype, size, np.zeros(0, dtype)


class Tensor:
    """A view of a storage."""

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        """Its numbers, a copy. Raises ValueError where it reaches beyond its storage."""
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        count = len(self.storage.values)
        beyond = 0 not in self.shape and (last >= count or math.prod(self.shape) > count)
        if beyond or min((self.offset, last, *self.strides, *self.shape)) < 0:
            raise ValueError("a tensor reaches beyond its storage")
        own = self.storage.values[self.offset :]
        strides = [s * own.itemsize for s in self.strides]
        return np.lib.stride_tricks.as_strided(own, self.shape, strides).copy()


class Reader(pickle.Unpickler):
    """Builds OrderedDicts and Tensors, and nothing else."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The classes of a file of weights. Raises UnpicklingError for any other."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: Tensor(*arguments[:4])
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        """('storage', type, key, location, numbers, view): the storage of a key."""
        _, dtype, key, _, size, view = pid
        if view is not None:
            raise pickle.UnpicklingError("a view of a storage")
        return self.storages.setdefault(key, Storage(dtype, size))


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """{name: tensor} of a state dict that torch.save wrote before 1.6 (or by
    _use_new_zipfile_serialization=False).

    Raises DataError for a file that is missing, truncated or of another kind.
    """
    length = require_regular(path, "weights of PyTorch")
    try:
        with open(path, "rb") as file:
            if Reader(file).load() != MAGIC or Reader(file).load() != PROTOCOL:
                raise ValueError("another magic number")
            Reader(file).load()  # byte order and sizes of the machine that wrote it
            reader = Reader(file)
            tree = reader.load()
            for key in Reader(file).load():
                storage = reader.storages[key]
                (size,) = struct.unpack("<q", file.read(8))
                # looked at before memory is asked for
                whole = 0 <= size * storage.dtype.itemsize <= length - file.tell()
                raw = file.read(size * storage.dtype.itemsize) if whole else b""
                if size != storage.size or not whole:
                    raise ValueError(f"it ends in a storage of {storage.size} numbers")
                storage.values = np.frombuffer(raw, storage.dtype)
            return {name: tensor.array() for name, tensor in tree.items()}
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected weights of PyTorch"
        ) from None
    except (
        pickle.UnpicklingError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        IndexError,
        struct.error,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise DataError(
            f"{path}: not a usable PyTorch file of weights in the format before 1.6"
            f" ({error or type(error).__name__}): get it again"
        ) from None
