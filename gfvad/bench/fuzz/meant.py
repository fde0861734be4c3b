"""Changes that leave a file as sound as it was: another value of a video, that none can tell."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from gfvad.bench.fuzz.effect import CHANGES, EITHER, Context, Effect, Mutation


def meant(mutation: Mutation) -> Mutation:
    """A mutation of a table or of captions, of which another result is right where only values of
    videos changed: a number that still is one, or the words of a text."""

    @functools.wraps(mutation)
    def mutate(c: Context) -> Effect:
        before, found = c.path.read_bytes(), mutation(c)
        videos = changed_values(before, c.path) if found.expect == EITHER else []
        return found._replace(expect=CHANGES, names=(*found.names, *videos)) if videos else found

    return mutate


def changed_values(before: bytes, path: Path) -> list[str]:
    """The videos of which only values differ; none where anything else differs too."""
    try:
        old, new = before.decode(), path.read_bytes().decode()
        rows = {".json": _objects, ".jsonl": _lines}.get(path.suffix, _words)
        pairs = list(zip(rows(old), rows(new), strict=True))
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return []  # no longer such a file
    changed = [(one, other) for one, other in pairs if repr(one) != repr(other)]
    sound = all(one[0] == other[0] and _alike(one[1], other[1]) for one, other in changed)
    return [one[0] for one, _ in changed] if sound else []


def _objects(text: str) -> list[tuple[str, Any]]:
    return list(json.loads(text).items())


def _lines(text: str) -> list[tuple[str, Any]]:
    trees = [json.loads(line) for line in text.splitlines()]
    return [(tree.pop("video"), tree) for tree in trees]


def _words(text: str) -> list[tuple[str, Any]]:
    rows = [re.split(r"[,@]|\s+", line.strip()) for line in text.splitlines()]
    return [(row[0].removesuffix(".mp4"), list(map(_number, row[1:]))) for row in rows]


def _number(word: str) -> Any:
    try:
        return float(word)
    except ValueError:
        return word


def _alike(one: Any, other: Any) -> bool:
    """Whether two trees differ in nothing but finite numbers and texts."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, str):
        return isinstance(other, str)
    return one is other or all(
        isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e300
        for x in (one, other)
    )
