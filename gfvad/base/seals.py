"""Checksums: of files, of lines, and of JSON that says when it was changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gfvad.base.errors import DataError
from gfvad.base.files import read_json, require_regular, write_json
from gfvad.base.json_text import parse_json as parse_json

SEAL = "sha256"  # key of a checksum in JSON


def write_sealed(path: str | os.PathLike, tree: dict[str, Any]) -> Path:
    """JSON with its own checksum, under the key "sha256". Raises as `write_json`."""
    return write_json(path, {**tree, SEAL: tree_hash(tree)})


def read_sealed(path: str | os.PathLike, what: str) -> dict[str, Any]:
    """What `write_sealed` wrote, without the checksum; one of an earlier version has none.
    Raises as `read_json`, and where it differs."""
    tree = read_json(path, what)
    found = tree.pop(SEAL, None)
    if found is not None and found != tree_hash(tree):
        raise DataError(f"{path}: damaged (its checksum differs); expected {what}")
    return tree


def tree_hash(tree: Any) -> str:
    """SHA-256 of JSON with sorted keys."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def file_hash(path: str | os.PathLike, what: str = "a file") -> str:
    """SHA-256 of a regular file. Raises DataError where it is none, or cannot be read."""
    require_regular(path, what)
    try:
        with open(path, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None


def lines_hash(lines: Iterable[str]) -> str:
    """SHA-256 of a list of strings, order included."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
