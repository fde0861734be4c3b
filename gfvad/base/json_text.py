"""JSON of other people: what it must be, and where it is not."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from gfvad.base.errors import DataError

DEEPEST_JSON = 200  # levels of objects and lists
LONGEST_NUMBER = 300  # digits of a whole number


def parse_json(text: str, where: str, what: str, kind: type = dict, finite: bool = True) -> Any:
    """`read_json` of text; `where` starts every message."""
    numbers: dict[str, Any] = {"parse_int": _whole} | (
        {"parse_constant": _finite, "parse_float": _finite} if finite else {}
    )
    try:
        tree = json.loads(text, object_pairs_hook=_unique_keys, **numbers)
    except json.JSONDecodeError as error:
        # `where` may say it: a JSON a line
        line = "" if re.search(r", line \d+$", where) else f", line {error.lineno}"
        raise DataError(
            f"{where}{line}, column {error.colno}: not usable JSON ({error.msg}); expected {what}:"
            " write it again"
        ) from None
    except RecursionError:
        raise DataError(
            f"{where}: JSON nested more than {DEEPEST_JSON} deep; expected {what}"
        ) from None
    except ValueError as error:  # a repeated key; a number of absurdly many digits
        raise DataError(
            f"{where}: not usable JSON ({error}); expected {what}: write it again"
        ) from None
    if not isinstance(tree, kind):
        raise DataError(
            f"{where}: a JSON {type(tree).__name__}; expected {what} (a JSON {kind.__name__})"
        )
    place = _lone_surrogate(tree)
    if place is not None:
        raise DataError(
            f"{where}, {place}: half a character (a lone surrogate, such as one half of an emoji);"
            " expected whole text: write that text again"
        )
    return tree


def _finite(text: str) -> float:
    """A number of a JSON. Raises ValueError for NaN, Infinity, and what a float cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def _whole(text: str) -> int:
    """A whole number of a JSON. Raises ValueError for one that is beyond any float."""
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON objects with a repeated key are an error, not a silent loss of the first one."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        raise ValueError(
            f"key {next(key for key, _ in pairs if key in seen or seen.add(key))!r} stands twice"
        )
    return entries


def _lone_surrogate(tree: Any) -> str | None:
    """Where a text of a tree cannot be written as UTF-8; None where all can. Raises DataError
    for absurd depth."""
    stack: list[tuple[Any, str, int]] = [(tree, "top level", 0)]
    while stack:
        node, place, depth = stack.pop()
        if isinstance(node, str):
            if any("\ud800" <= letter <= "\udfff" for letter in node):
                return place
        elif isinstance(node, dict):
            for key, value in node.items():
                named = f"key {ascii(key)}" if depth == 0 else f"{place}, {ascii(key)}"
                if isinstance(value, (str, dict, list)):
                    stack.append((value, named, depth + 1))
                if any("\ud800" <= letter <= "\udfff" for letter in key):
                    return named
        elif isinstance(node, list):
            stack.extend(
                (value, f"{place}, item {i}", depth + 1)
                for i, value in enumerate(node)
                if isinstance(value, (str, dict, list))
            )
    return None
