"""Reads the weights of a PyTorch checkpoint without PyTorch: the zip format of torch.save since
version 1.6.

The pickle inside is read by the same short list of names as the older format's (torch_file.py):
containers, numbers, tensors. Any other name in it is refused, so a file cannot run a program.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from gfvad.base.files import require_regular
from gfvad.base.types import DataError
from gfvad.encoders.torch_file import TYPES, Reader, Storage, Tensor, read_torch

# keys under which training programs keep the weights, the first that is there
WEIGHTS = ("model_state_dict", "state_dict", "model")
BFLOAT16 = "BFloat16Storage"  # which numpy has not: read as the upper halves of float32
ZIP_TYPES = {
    **TYPES,
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    BFLOAT16: np.dtype("<u2"),
}
EXPECTED = "expected a checkpoint of torch.save, whole, with the weights by their names"


# what training programs keep beside the weights (a score, their options): read as nothing
INERT = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
    ("argparse", "Namespace"),
}


class Inert:
    """Stands for a value that is not looked at."""

    def __init__(self, *given: Any):
        del given

    def __setstate__(self, state: Any) -> None:
        del state


class ZipReader(Reader):
    """Builds containers, Tensors and what stands for nothing, and no other thing."""

    def find_class(self, module: str, name: str) -> Any:
        """The classes of a checkpoint of weights. Raises UnpicklingError for any other."""
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name in ZIP_TYPES:
            return name
        if (module, name) in INERT:
            return Inert
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Storage:
        """('storage', type, key, location, numbers): the storage of a key."""
        _, kind, key, _, size = pid
        storage = self.storages.setdefault(str(key), Storage(ZIP_TYPES[kind], int(size)))
        if kind == BFLOAT16:
            storage.upper_halves = True
        return storage


def read_weights(path: str | Path, without: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """{name: array} of the weights in a checkpoint, by itself or under one of WEIGHTS; names that
    begin with one of `without` are passed over.

    Raises DataError for a file that is missing, cut off, damaged, of another kind, or that names
    anything but weights.
    """
    length = require_regular(path, "a checkpoint of PyTorch")
    if not zipfile.is_zipfile(path):
        return read_torch(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _weights(archive, length, without)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {EXPECTED}") from None
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        IndexError,
        OverflowError,
        MemoryError,
        RecursionError,
        NotImplementedError,
    ) as error:
        said = str(error) or type(error).__name__
        raise DataError(f"{path}: not usable ({said}); {EXPECTED}") from None


def _weights(
    archive: zipfile.ZipFile, length: int, without: tuple[str, ...]
) -> dict[str, np.ndarray]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError(f"{len(pickles)} entries data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    for entry in entries.values():  # as torch writes them; so nothing unpacks to more than there is
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > length:
            raise ValueError(f"{entry.filename} is compressed, or longer than the file")
    order = f"{folder}byteorder"
    if order in entries and archive.read(order) != b"little":
        raise ValueError("numbers of another byte order")
    with archive.open(pickles[0]) as file:
        reader = ZipReader(file)
        tree = reader.load()
    keys = {id(storage): key for key, storage in reader.storages.items()}
    return {
        name: _array(archive, f"{folder}data/", tensor, keys)
        for name, tensor in _named_tensors(tree).items()
        if not name.startswith(without)
    }


def _named_tensors(tree: Any) -> dict[str, Tensor]:
    """The weights in what was unpickled. Raises ValueError where there are none."""
    for key in WEIGHTS:
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
            break
    named = isinstance(tree, Mapping) and all(isinstance(name, str) for name in tree)
    if not named or not tree or not all(isinstance(x, Tensor) for x in tree.values()):
        raise ValueError(f"no table of tensors by name, nor one under {', '.join(WEIGHTS)}")
    return dict(tree)


def _array(
    archive: zipfile.ZipFile, folder: str, tensor: Tensor, keys: Mapping[int, str]
) -> np.ndarray:
    """A tensor's numbers."""
    storage = tensor.storage
    if not len(storage.values) and storage.size:
        with archive.open(f"{folder}{keys[id(storage)]}") as file:
            storage.values = _numbers(file, storage)
    return tensor.array()


def _numbers(file: IO[bytes], storage: Storage) -> np.ndarray:
    raw = file.read()
    if len(raw) != storage.size * storage.dtype.itemsize or storage.size < 0:
        raise ValueError(f"a storage of {storage.size} numbers in {len(raw)} bytes")
    values = np.frombuffer(raw, storage.dtype)
    if storage.upper_halves:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values
