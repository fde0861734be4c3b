"""Mutations of timed sentences, and of JSON lines of descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, Context, Effect, Mutation, effect
from gfvad.bench.fuzz.meant import meant
from gfvad.bench.fuzz.trees import json_of


def _captions(
    name: str, change: Callable[[dict, str, Context], None], expect: str, *more: str
) -> Mutation:
    def mutate(c: Context) -> Effect:
        tree = json.loads(c.path.read_text(encoding="utf-8"))
        video = c.rng.choice(sorted(tree))
        change(tree, video, c)
        c.path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
        return effect(expect, c, video, video, *more)

    mutate.__name__ = name
    return mutate


def _rename_all(tree: dict, video: str, c: Context) -> None:
    for key in list(tree):
        tree[f"other_{key}"] = tree.pop(key)


CAPTIONS: tuple[Mutation, ...] = (
    _captions(
        "another sentence",
        lambda t, v, c: t[v]["sentences"].__setitem__(0, "nothing happens"),
        CHANGES,
    ),
    _captions("all of other videos", _rename_all, ERROR),
    _captions(
        "a stranger", lambda t, v, c: t.__setitem__("stranger_x999", t[v]), ERROR, "stranger_x999"
    ),
    _captions("a video lost", lambda t, v, c: t.pop(v), EITHER),
    _captions("a video misnamed", lambda t, v, c: t.__setitem__(f"{v}_x264_x", t.pop(v)), ERROR),
    _captions("name with .mp4", lambda t, v, c: t.__setitem__(f"{v}.mp4", t.pop(v)), EITHER),
    _captions("name with .MP4", lambda t, v, c: t.__setitem__(f"{v}.MP4", t.pop(v)), EITHER),
    _captions(
        "span reversed", lambda t, v, c: t[v].__setitem__("timestamps", [[1.0, 0.2]]), EITHER
    ),
    _captions(
        "span negative", lambda t, v, c: t[v].__setitem__("timestamps", [[-5.0, -1.0]]), EITHER
    ),
    _captions(
        "span far outside", lambda t, v, c: t[v].__setitem__("timestamps", [[1e5, 2e5]]), EITHER
    ),
    _captions(
        "fewer spans than sentences", lambda t, v, c: t[v].__setitem__("timestamps", []), ERROR
    ),
    _captions("no sentences", lambda t, v, c: t[v].update(timestamps=[], sentences=[]), CHANGES),
    _captions("an empty sentence", lambda t, v, c: t[v].__setitem__("sentences", [" "]), CHANGES),
    _captions("duration 0", lambda t, v, c: t[v].__setitem__("duration", 0), EITHER),
    _captions("duration negative", lambda t, v, c: t[v].__setitem__("duration", -1.0), ERROR),
    _captions(
        "a sentence of 1 MB",
        lambda t, v, c: t[v].__setitem__("sentences", ["word " * 200_000]),
        CHANGES,
    ),
    *map(meant, json_of(EITHER)),
)


# ---- JSON lines ----------------------------------------------------------------------------------


def _line(name: str, change: Callable[[dict, Context], Any], expect: str) -> Mutation:
    """A mutation of one line."""

    def mutate(c: Context) -> Effect:
        lines = c.path.read_text(encoding="utf-8").splitlines()
        at = c.rng.randrange(len(lines))
        tree = json.loads(lines[at])
        after = change(tree, c)
        lines[at] = after if isinstance(after, str) else json.dumps(tree)
        c.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return effect(expect, c, f"line {at + 1}", f"line {at + 1}", str(tree.get("video")))

    mutate.__name__ = name
    return mutate


JSON_LINES: tuple[Mutation, ...] = (
    _line("another text", lambda t, c: t.__setitem__("text", "nothing"), CHANGES),
    _line("a key lost", lambda t, c: t.pop(c.rng.choice(sorted(t))) and None, ERROR),
    _line(
        "an odd value",
        lambda t, c: t.__setitem__(
            c.rng.choice(("video", "frame")),
            c.rng.choice((None, [], {}, -1, 0, 1e30, 10**30, 1.5, "")),
        ),
        EITHER,
    ),
    _line(
        "text is no text",
        lambda t, c: t.__setitem__("text", c.rng.choice((None, 3, [], {}))),
        ERROR,
    ),
    _line("an unknown video", lambda t, c: t.__setitem__("video", "stranger_x999"), ERROR),
    _line("frame outside", lambda t, c: t.__setitem__("frame", 10**6), ERROR),
    _line("half an emoji", lambda t, c: t.__setitem__("text", "people \ud83d"), EITHER),
    _line("no JSON", lambda t, c: '{"video": ', ERROR),
    _line("a list", lambda t, c: "[1, 2]", ERROR),
    _line("absurd depth", lambda t, c: "[" * 100_000, ERROR),
    _line("twice", lambda t, c: json.dumps(t) + "\n" + json.dumps({**t, "text": "another"}), ERROR),
)
