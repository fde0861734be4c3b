"""What lies in a case's folder before and after a command: what it changed, and what it wrote."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from gfvad.bench.fuzz.effect import SECRET

OWN = (".fuzz", "tmp", "home")  # of the fuzzer: what lies there is not looked at
NOT_FINITE = re.compile(r"(?<![\w.])(nan|-?inf|NaN|-?Infinity)(?![\w.])")
# locks, lists of what a command wrote, fitted scorers beside a predictive run
KEPT = re.compile(r".*\.lock|\.gfvad-.*\.json|scorer-.*\.npz", re.S)
QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')  # a text in JSON


def snapshot(root: Path) -> dict[str, str]:
    """{path: kind, size, time of change, digest} below a case's folder, but for OWN."""
    found: dict[str, str] = {}
    for place, folders, files in os.walk(root):
        if place == str(root):
            folders[:] = [f for f in folders if f not in OWN]
        for path in (Path(place, name) for name in (*folders, *files)):
            what, content = path.lstat(), ""
            if stat.S_ISREG(what.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            elif stat.S_ISLNK(what.st_mode):
                content = os.readlink(path)
            told = f"{stat.S_IFMT(what.st_mode):o} {what.st_size} {what.st_mtime_ns} {content}"
            found[str(path.relative_to(root))] = "folder" if stat.S_ISDIR(what.st_mode) else told
    return found


def written(
    before: Mapping[str, str], after: Mapping[str, str], outputs: Sequence[str], own: Sequence[str]
) -> list[str]:
    """What was changed, made or removed where a command must not.

    That is outside its outputs, or, in them, what was there before and is not its own.

    own: outputs that hold an earlier result of the same command, which it may replace.
    """

    def inside(path: str, places: Sequence[str]) -> bool:
        return any(path == p or path.startswith(f"{p}/") for p in places)

    wrong = []
    for path in sorted(set(before) | set(after)):
        was, now = before.get(path), after.get(path)
        if was == now or inside(path, own):
            continue
        if was is not None:
            wrong.append(f"{'removed' if now is None else 'changed'} {path}")
        elif not (
            inside(path, outputs)
            or KEPT.fullmatch(os.path.basename(path))
            or any(p.startswith(f"{path}/") for p in outputs)
        ):
            wrong.append(f"made {path}")
    return wrong


def not_finite(root: Path, outputs: Sequence[str]) -> str:
    """The first file of scores below the outputs that holds NaN or infinity; '' for none."""
    for path in _files(root, outputs):
        text = path.read_text(errors="replace") if path.suffix in (".csv", ".json") else ""
        if path.name in ("scores.csv", "alarms.csv") and NOT_FINITE.search(text):
            return str(path.relative_to(root))
        if path.name in ("scores.json", "results.json") and NOT_FINITE.search(QUOTED.sub("", text)):
            return str(path.relative_to(root))
        if path.name == "scores.npz":
            with np.load(path) as arrays:
                if not all(np.isfinite(arrays[name]).all() for name in arrays.files):
                    return str(path.relative_to(root))
    return ""


def secret_in(root: Path, outputs: Sequence[str]) -> str:
    """A file below the outputs, or a name of one, that holds the password; '' for none."""
    for path in _files(root, outputs):
        if SECRET in str(path) or SECRET.encode() in path.read_bytes():
            return str(path.relative_to(root)).replace(SECRET, "***")
    return ""


def _files(root: Path, outputs: Sequence[str]) -> Iterator[Path]:
    for place in (root / name for name in outputs):
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path
