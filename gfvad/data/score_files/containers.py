"""A file of numbers as named members, whatever its format: .npy, .npz, .mat, .json, .csv, .txt, or
a folder of NAME.npy.

A member is an array of numbers, a list of texts, a list of arrays (a cell array, nested lists),
or a mapping of names to arrays. A file that is one array has one member, ''.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base import files
from gfvad.base.arrays import load_npy, load_npz, require_memory
from gfvad.base.files import read_json, read_lines, read_table, require_regular
from gfvad.base.names import canonical
from gfvad.base.types import DataError

KINDS = ".npy, .npz, .mat, .json, .csv, .txt, or a folder of NAME.npy"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".p")
HDF5 = (".h5", ".hdf5")
NAMES = ("video", "name")  # columns of a CSV
VALUES = ("score", "label")
FRAME = ("frame", "snippet", "unit")

Members = dict[str, Any]


def read_members(path: Path) -> Members:
    """Members of a file, by its suffix. Raises DataError for another kind, one that is damaged, and
    pickles, which are never loaded."""
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise DataError(f"{path}: not found; expected {KINDS}: correct the path")
    kind = path.suffix.lower()
    if kind in PICKLES or kind in HDF5:
        why = "may run code when they are loaded" if kind in PICKLES else "are not read"
        raise DataError(
            f"{path}: {kind} files {why}; expected {KINDS}: convert it, e.g. by"
            " numpy.savez('scores.npz', **{name: array of its scores})"
        )
    readers = {".npy": _npy, ".npz": load_npz, ".mat": _mat, ".json": _json}
    readers |= {".csv": _csv, ".txt": _lines}
    if kind not in readers:
        raise DataError(f"{path}: a file {kind or 'without a suffix'}; expected {KINDS}")
    return dict(readers[kind](path))


def _npy(path: Path) -> Members:
    return {"": load_npy(path)}


def _folder(path: Path) -> Members:
    found = {canonical(p.stem): load_npy(p) for p in sorted(path.glob("*.npy"))}
    if not found:
        raise DataError(f"{path}: a folder without .npy files; expected one NAME.npy a video")
    return found


def _mat(path: Path) -> Members:
    """Version 7.2 or before, by scipy."""
    from scipy.io import loadmat

    size = require_regular(path, "a .mat of scores")
    require_memory(str(path), size)
    try:
        tree = loadmat(path, chars_as_strings=True)
    except NotImplementedError:
        raise DataError(
            f"{path}: a .mat of version 7.3 (HDF5); expected version 7 or before: save it again"
            " with save(..., '-v7')"
        ) from None
    except Exception as error:  # scipy's for damaged files are of many kinds
        text = str(error).split("\n")[0][:200]
        raise DataError(f"{path}: not a whole .mat file ({text}); save it again") from None
    return {key: _cell(value) for key, value in tree.items() if not key.startswith("__")}


def _cell(value: Any) -> Any:
    """Cell arrays as lists, char arrays as texts, structs as mappings."""
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        return {name: _cell(value[name].reshape(-1)[0]) for name in value.dtype.names}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_cell(item) for item in value.reshape(-1)]
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        texts = [str(text).strip() for text in value.reshape(-1)]
        return texts[0] if len(texts) == 1 else texts
    return value


def _json(path: Path) -> Members:
    tree = read_json(path, "scores: a list, or an object of lists", object)
    if isinstance(tree, dict):
        return {key: _listed(value, f"{path}, {key!r}") for key, value in tree.items()}
    if isinstance(tree, list) and tree and all(isinstance(one, dict) for one in tree):
        return _records(path, tree)
    return {"": _listed(tree, str(path))}


def _records(path: Path, rows: list[dict[str, Any]]) -> Members:
    """[{"video": NAME, "scores": [...]}, ...] as {"scores": {NAME: array}}."""
    found: Members = {}
    for i, row in enumerate(rows):
        name = next((row[key] for key in NAMES if isinstance(row.get(key), str)), "")
        arrays = {key: x for key, x in row.items() if isinstance(x, list)}
        if not name or not arrays:
            raise DataError(
                f"{path}, entry {i}: {', '.join(map(str, row))[:200]}; expected a video's name"
                " ('video' or 'name') and a list of its scores"
            )
        for key, array in arrays.items():
            videos = found.setdefault(key, {})
            if name in videos:
                raise DataError(
                    f"{path}, entry {i}: {name!r} stands twice; expected every video once"
                )
            videos[name] = _listed(array, f"{path}, {name!r}")
    return found


def _listed(value: Any, where: str) -> Any:
    """A value of a JSON file as a member."""
    if isinstance(value, dict):
        return {key: _listed(one, f"{where}, {key!r}") for key, one in value.items()}
    if isinstance(value, list) and all(isinstance(one, str) for one in value) and value:
        return value
    if isinstance(value, list):
        try:
            return np.array(value)
        except ValueError:  # lists of several lengths
            return [_listed(one, where) for one in value]
    return value


def _csv(path: Path) -> Members:
    """Columns video (or name), score and label, a line a frame or snippet; or one column, or one
    without a header."""
    lines = read_lines(path, "a CSV of scores")
    head = [cell.strip().strip('"').lower() for cell in lines[0][1].split(",")]
    values = [column for column in head if column in VALUES]
    if not values:
        if len(head) > 1:
            raise DataError(
                f"{path}, line {lines[0][0]}: columns {', '.join(head)[:200]}; expected video,score"
                " in the first line (label and frame may stand beside them), or one number a line"
            )
        return _lines(path)
    return _columns(path, next((c for c in NAMES if c in head), ""), values)


def _columns(path: Path, name: str, values: list[str]) -> Members:
    """A table whose rows of a video stand in the order of time. Raises DataError where a column
    of frames says otherwise."""
    found: dict[str, dict[str, list[float]]] = {value: {} for value in values}
    last: dict[str, float] = {}
    known = (*((name,) if name else ()), *values)
    for where, row in read_table(path, known, tuple(c for c in FRAME if c not in known)):
        video = row[name] if name else ""
        if name and not video:
            raise DataError(f"{where}: a blank video; expected its name")
        if stated := next((row[c] for c in FRAME if row.get(c)), ""):
            at = files.number(stated, f"{where}, frame", "the number of a frame")
            if at <= last.get(video, -np.inf):
                raise DataError(
                    f"{where}: frame {stated} of {video!r} after {last[video]:g}; expected rows in"
                    " the order of time: sort them"
                )
            last[video] = at
        for value in values:
            number = files.number(row[value], f"{where}, {value}", "a finite number")
            found[value].setdefault(video, []).append(number)
    if not name:
        return {value: np.array(rows.get("", [])) for value, rows in found.items()}
    return {value: {v: np.array(x) for v, x in rows.items()} for value, rows in found.items()}


def _lines(path: Path) -> Members:
    """One number a line, a first line that is none left out."""
    found = []
    for i, (at, line) in enumerate(read_lines(path, "one number a line")):
        try:
            found.append(files.number(line, f"{path}, line {at}", "a finite number a line"))
        except DataError:
            if i or any(c.isdigit() for c in line):
                raise
    return {"": np.array(found)}


def texts_of(member: Any) -> list[str] | None:
    """A member as a list of texts; None where it is none."""
    if isinstance(member, np.ndarray) and member.ndim == 1 and member.dtype.kind in "US":
        return [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in member]
    if isinstance(member, list) and all(isinstance(one, str) for one in member):
        return list(member)
    return None


def is_mapping(member: Any) -> bool:
    """Whether a member holds named arrays."""
    return isinstance(member, Mapping)
