"""Checksums of a checkpoint: what was saved is what is read, or it is damaged.

The meta of a checkpoint holds the SHA-256 of every array and of itself. It is written before the
folder gets its name, in the same save, so that a checkpoint that is there at all has them. Those of
earlier versions have none: their arrays are read by the library's own checks.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.files import describe_mode, read_bytes
from gfvad.base.types import DataError

PARTS = (
    "_CHECKPOINT_METADATA",
    "metrics/metrics",
    "meta/metadata",
    "state/_METADATA",
    "state/manifest.ocdbt",
)
SEAL, ARRAYS = "sha256", "arrays"  # keys of the meta: of the meta itself, of each array
OF_META = ("config", "data", "pending", "position", "shapes")  # what every version's meta holds


class Damaged(DataError):
    """A checkpoint that is not what was saved. The message says which part."""


def array_digest(x: np.ndarray) -> str:
    """SHA-256 of an array: its type, shape and bytes."""
    x = np.asarray(x)
    about = f"{x.dtype.name}{list(x.shape)}".encode()
    return hashlib.sha256(about + np.ascontiguousarray(x).tobytes()).hexdigest()


def seal(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The meta with the digests of the arrays and its own."""
    whole = {**meta, ARRAYS: {path: array_digest(x) for path, x in arrays.items()}}
    return {**whole, SEAL: text_digest(whole)}


def text_digest(tree: Any) -> str:
    """SHA-256 of what JSON gives back of a tree."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def read_meta(folder: Path) -> dict[str, Any]:
    """The meta of a checkpoint's folder, with "metrics" (what it is ranked by). Raises Damaged."""
    meta, metrics, _ = (
        _read_json(folder / name)
        for name in ("meta/metadata", "metrics/metrics", "_CHECKPOINT_METADATA")
    )
    if SEAL in meta or ARRAYS in meta:
        found = text_digest({key: value for key, value in meta.items() if key != SEAL})
        if found != meta.get(SEAL):
            raise Damaged("meta/metadata is not what was saved (its checksum differs)")
        if metrics != meta["metrics"]:
            raise Damaged("metrics/metrics is not what was saved")
    absent = [key for key in OF_META if key not in meta]
    if absent or not isinstance(meta["config"], dict) or not isinstance(meta["shapes"], dict):
        raise Damaged(f"meta/metadata lacks {', '.join(absent) or 'what it should hold'}")
    if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in metrics.values()):
        raise Damaged("metrics/metrics holds something other than finite numbers")
    if SEAL not in meta:
        _require_kinds(meta)
    return {**meta, "metrics": metrics}


def _require_kinds(meta: Mapping[str, Any]) -> None:
    """Raises Damaged for a meta of an earlier version, without checksums, that holds what is
    never saved."""
    position = meta["position"]
    wrong = ["position"] if not isinstance(position, dict) else []
    wrong += ["content"] if not isinstance(meta.get("content", {}), dict) else []
    wrong += ["shapes"] * (not all(isinstance(text, str) for text in meta["shapes"].values()))
    if not wrong:
        try:
            if "base64" in position:
                base64.b64decode(position["base64"], validate=True)
            elif "json" not in position:
                wrong = ["position"]
        except (KeyError, TypeError, ValueError):
            wrong = ["position"]
    if wrong:
        raise Damaged(f"meta/metadata: {', '.join(wrong)} cannot be what was saved")


def _read_json(path: Path) -> dict[str, Any]:
    """Not `base.files.read_json`: names of files that no UTF-8 can hold may stand in a meta."""
    try:
        tree = json.loads(read_bytes(path, "a part of a checkpoint"))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path.parent.name}/{path.name} cannot be read ({error})") from None
    if not isinstance(tree, dict):
        raise Damaged(f"{path.parent.name}/{path.name} holds a JSON {type(tree).__name__}")
    return tree


def check_arrays(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raises Damaged where an array is absent or other than it was saved."""
    expected = meta.get(ARRAYS)
    told = array_digest
    if expected is None:  # of an earlier version, which kept arrays with elements alone
        empty = re.compile(r"\[0\]$|,0|\[0,")
        told, shapes = shape_text, meta["shapes"]
        expected = {path: text for path, text in shapes.items() if not empty.search(text)}
    wrong = [p for p, said in expected.items() if p not in arrays or told(arrays[p]) != said]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise Damaged(f"array {wrong[0]}{more} is not what was saved (its checksum differs)")


def shape_text(x: Any) -> str:
    """'float32[3,4]'."""
    return f"{np.dtype(x.dtype).name}[{','.join(map(str, x.shape))}]"


def aside(path: Path) -> Path:
    """Where a damaged checkpoint goes: damaged-STEP, or damaged-STEP-2, ... where that is taken."""
    names = (f"damaged-{path.name}{f'-{i}' if i > 1 else ''}" for i in itertools.count(1))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def left_of_one(folder: Path) -> bool:
    """Whether a folder holds nothing but parts of a checkpoint, as a deletion that was cut short
    leaves it."""
    parts = {"commit_success.txt", *(part.split("/")[0] for part in PARTS)}
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and {path.name for path in folder.iterdir()} <= parts
    )


def numbered(folder: Path) -> dict[int, Path]:
    """What stands in a folder under the name of a step, complete or not; {} where there is none."""
    if not folder.is_dir():
        return {}
    return {int(p.name): p for p in folder.iterdir() if re.fullmatch(r"0|[1-9][0-9]{0,17}", p.name)}


def lacks(folder: Path) -> str:
    """Why a checkpoint's folder is not complete: the parts of a finished save that it lacks. ''
    where it has all."""
    if not folder.is_dir():
        return "it is no folder"
    absent = [part for part in PARTS if not (folder / part).is_file()]
    return f"it lacks {', '.join(absent)}" if absent else ""


def require_regular_files(folder: Path) -> None:
    """Raises Damaged where anything in a checkpoint is neither folder nor regular file.

    Reading a pipe would last for ever, and the library that reads the arrays does not look.
    """
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            try:
                mode = path.stat().st_mode
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise Damaged(f"{path.relative_to(folder)} cannot be read ({reason})") from None
            if not stat.S_ISREG(mode):
                raise Damaged(f"{path.relative_to(folder)} is {describe_mode(mode)}")
