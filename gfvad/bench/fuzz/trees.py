"""Mutations of JSON: configurations, manifests, results."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gfvad.bench.fuzz.effect import EITHER, ERROR, SAME, Context, Effect, Mutation, effect

ODD: tuple[Any, ...] = ("", "x", -1, 0, 3.5, 1e30, 10**30, None, True, [], {}, [1, "a"], {"a": 1})
ODD += ("\u00e9" * 5,)


def _keys(node: Any) -> list:
    """Where the values of an object or a list stand; nothing for others."""
    if isinstance(node, dict):
        return list(node)
    return list(range(len(node))) if isinstance(node, list) else []


def paths_of(tree: Any, at: tuple = ()) -> list[tuple]:
    """Where every value of a tree stands, containers included, in order."""
    below = ([(*at, key), *paths_of(tree[key], (*at, key))] for key in _keys(tree))
    return [path for paths in below for path in paths]


def _at(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _named(c: Context, expect: str, path: tuple, note: str) -> Effect:
    keys = [str(key) for key in path if isinstance(key, str)]
    return effect(expect, c, f"{'.'.join(map(str, path))}: {note}"[:160], *keys[-2:])


def _text(c: Context) -> str:
    return c.path.read_text(encoding="utf-8")


def _tree(c: Context) -> Any:
    return json.loads(_text(c))


def _draw(c: Context) -> tuple[Any, tuple]:
    """A tree and the place of one value, drawn level by level: long lists do not hide the rest."""
    tree = _tree(c)
    path: tuple = ()
    while keys := _keys(_at(tree, path)):
        if path and c.rng.random() < 0.15:
            break
        path = (*path, c.rng.choice(keys))
    return tree, path


def _save(c: Context, tree: Any) -> None:
    c.path.write_text(json.dumps(tree), encoding="utf-8")


def leaf_of(expect: str) -> Mutation:
    """A value becomes an odd one."""

    def odd_value(c: Context) -> Effect:
        tree, path = _draw(c)
        if not path:
            return effect(SAME, c, "empty")
        before, after = _at(tree, path), c.rng.choice(ODD)
        if before == after and type(before) is type(after):
            return effect(SAME, c, "as it was")
        _at(tree, path[:-1])[path[-1]] = after
        _save(c, tree)
        return _named(c, expect, path, f"{json.dumps(before)[:40]} to {json.dumps(after)[:40]}")

    return odd_value


def lost_key(c: Context) -> Effect:
    """A key is missing."""
    tree, path = _draw(c)
    while path and not isinstance(path[-1], str):
        path = path[:-1]
    if not path:
        return effect(SAME, c, "no keys")
    del _at(tree, path[:-1])[path[-1]]
    _save(c, tree)
    return _named(c, EITHER, path, "lost")


def unknown_key(c: Context) -> Effect:
    """A key that nobody knows."""
    tree, path = _draw(c)
    while path and not isinstance(_at(tree, path), dict):
        path = path[:-1]
    if not isinstance(_at(tree, path), dict):
        return effect(SAME, c, "no object")
    _at(tree, path)["from_the_future"] = c.rng.choice(ODD)
    _save(c, tree)
    return _named(c, EITHER, (*path, "from_the_future"), "new")


def of_text(name: str, change: Callable[[str, Context], bytes], expect: str) -> Mutation:
    """A mutation of the text of a JSON."""

    def mutate(c: Context) -> Effect:
        c.path.write_bytes(change(_text(c), c))
        return effect(expect, c)

    mutate.__name__ = name
    return mutate


def twice(c: Context) -> Effect:
    """The first key of the top level stands twice, the second time with another value."""
    tree = _tree(c)
    if not isinstance(tree, dict) or not tree:
        return effect(SAME, c, "no keys")
    key = c.rng.choice(sorted(tree))
    c.path.write_text(json.dumps(tree)[:-1] + f', {json.dumps(key)}: "other"}}', encoding="utf-8")
    return effect(ERROR, c, key, key)


def surrogate(c: Context) -> Effect:
    """Half an emoji in a text or key."""
    text = _text(c)
    places = [i for i, letter in enumerate(text) if letter == '"' and text[i + 1 : i + 2].isalpha()]
    if not places:
        return effect(SAME, c, "no text")
    at = c.rng.choice(places) + 1
    c.path.write_text(text[:at] + "\\ud83d" + text[at:], encoding="utf-8")
    return effect(EITHER, c)


def nan(c: Context) -> Effect:
    """A number becomes NaN, Infinity or 1e999."""
    tree = _tree(c)
    places = [p for p in paths_of(tree) if type(_at(tree, p)) in (int, float)]
    if not places:
        return effect(SAME, c, "no number")
    path = c.rng.choice(places)
    _at(tree, path[:-1])[path[-1]] = "@number@"
    number = c.rng.choice(("NaN", "Infinity", "1e999", "-1e999"))
    c.path.write_text(json.dumps(tree).replace('"@number@"', number), encoding="utf-8")
    return _named(c, EITHER, path, "not finite")


def _top(text: str, c: Context) -> bytes:
    return c.rng.choice((f"[{text}]", '"text"', "3", "null", "[]")).encode()


def _deep(text: str, c: Context) -> bytes:
    return (c.rng.choice(("[", '{"a":')) * 100_000).encode()


def _more(content: str) -> Callable[[str, Context], bytes]:
    """One more key at the end."""
    return lambda text, c: f"{text.rstrip()[:-1]}, {content}}}".encode()


LATIN_1 = lambda text, c: text.replace('"', '"\u00e9', 1).encode("latin-1", "replace")
TEXT: tuple[Mutation, ...] = (
    of_text("byte order mark", lambda t, c: t.encode("utf-8-sig"), EITHER),
    of_text("UTF-16", lambda t, c: t.encode("utf-16"), ERROR),
    of_text("Latin-1", LATIN_1, ERROR),
    of_text("another top level", _top, ERROR),
    of_text("no object", lambda t, c: b"{}", EITHER),
    of_text("absurd depth", _deep, ERROR),
    of_text("deep but closed", _more(f'"deep": {"[" * 5000}{"]" * 5000}'), EITHER),
    of_text("a number of 5000 digits", _more(f'"long": {"9" * 5000}'), EITHER),
    of_text("a comma too many", lambda t, c: t.rstrip()[:-1].encode() + b",}", ERROR),
    of_text("a comment", lambda t, c: b"// mine\n" + t.encode(), ERROR),
    of_text("null byte", lambda t, c: t.encode() + b"\0", ERROR),
    *(twice, surrogate, nan),
)


def json_of(expect: str) -> tuple[Mutation, ...]:
    """All mutations of a JSON whose values may change to others with this expectation."""
    leaves = [leaf_of(expect) for _ in range(4)]
    return (*leaves, lost_key, lost_key, unknown_key, *TEXT)


def in_a_line(mutation: Mutation) -> Mutation:
    """A mutation of one row of a file with a JSON object a line."""

    def mutate(c: Context) -> Effect:
        lines = c.path.read_bytes().split(b"\n")
        row = c.rng.choice([i for i, line in enumerate(lines) if line])
        alone = c.root / "tmp" / c.path.name
        alone.write_bytes(lines[row])
        told = mutation(c._replace(path=alone))
        lines[row] = alone.read_bytes()
        alone.unlink()
        c.path.write_bytes(b"\n".join(lines))
        return told._replace(note=f"line {row + 1}: {told.note}")

    mutate.__name__ = f"{mutation.__name__} in a line"
    return mutate
