"""Patch tokens that were made elsewhere: FOLDER/VIDEO.npy [T, L, D]."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from gfvad.base.arrays import map_npy
from gfvad.base.seals import lines_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.model_folder import read_json, require_folder
from gfvad.encoders.registry import FrameEncoder

GRID = "grid.json"


class TokenFolder(FrameEncoder):
    """Tokens in a folder: width and L from its first file, the grid from grid.json {"grid": [rows,
    columns]} or, without it, a square. `data/frames/tokens.py` checks and opens the files.

    fingerprint: of names, sizes and times of the files. Raises DataError.
    """

    def __init__(self, folder: Path):
        require_folder(folder, "tokens", "put one VIDEO.npy [T, L, D] a video there")
        self.folder, self.name = folder, folder.resolve().name
        files = sorted(folder.rglob("*.npy"))
        if not files:
            raise DataError(
                f"{folder}: found no .npy file, expected one VIDEO.npy [T, L, D] a video: export"
                " the tokens there"
            )
        _, length, self.width = token_file(files[0]).shape
        stated = folder / GRID
        if stated.is_file():
            content = read_json(stated, 'write {"grid": [rows, columns]}')
            found = content.get("grid")
            grid = found if isinstance(found, list) else []
            whole = len(grid) == 2 and all(type(n) is int and n > 0 for n in grid)
            if not whole or math.prod(grid) != length:
                raise DataError(
                    f"{stated}: grid {found!r}, expected [rows, columns] with rows * columns ="
                    f" {length}, the L of {files[0].name}"
                )
        else:
            grid = [math.isqrt(length)] * 2
            if math.prod(grid) != length:
                raise DataError(
                    f'{files[0]}: L = {length} is no square: write {stated} as {{"grid": [rows,'
                    " columns]} (class tokens left out of L)"
                )
        lines = [
            f"{file.relative_to(folder)} {file.stat().st_size} {file.stat().st_mtime_ns}"
            for file in files
        ]
        self.grid = (grid[0], grid[1])
        self.fingerprint = lines_hash([f"tokens {grid}", *lines])

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Raises ConfigError: there are no weights."""
        raise ConfigError(
            f"vision encoder 'tokens:{self.folder}' holds tokens of its own videos and cannot"
            " encode other frames"
        )


def token_file(path: Path) -> np.ndarray:
    """Memory map [T, L, D] of one file of tokens; DataError for anything but float16 or float32
    of three axes."""
    try:
        array = map_npy(path)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(
            f"{path}: unreadable ({reason}), expected float tokens [T, L, D] of numpy.save: write"
            " it again"
        ) from None
    if array.ndim != 3 or not array.size or array.dtype not in (np.float16, np.float32):
        raise DataError(
            f"{path}: {array.dtype} {list(array.shape)}, expected float16 or float32 tokens [T, L,"
            " D]: export it again"
        )
    return array
