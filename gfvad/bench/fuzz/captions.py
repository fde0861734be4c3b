"""Mutations of timed sentences, and of JSON lines of descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, Context, Effect, Mutation, effect
from gfvad.bench.fuzz.meant import meant
from gfvad.bench.fuzz.trees import json_of

Change = Callable[[dict, str], Any]  # of all captions, and of one video in them


def _captions(name: str, change: Change, expect: str, *more: str) -> Mutation:
    def mutate(c: Context) -> Effect:
        tree = json.loads(c.path.read_text(encoding="utf-8"))
        video = c.rng.choice(sorted(tree))
        change(tree, video)
        c.path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
        return effect(expect, c, video, video, *more)

    mutate.__name__ = name
    return mutate


def _with(**values: Any) -> Change:
    return lambda tree, video: tree[video].update(values)


def _named(form: str) -> Change:
    return lambda tree, video: tree.update({form.format(video): tree.pop(video)})


def _rename_all(tree: dict, video: str) -> None:
    for key in list(tree):
        tree[f"other_{key}"] = tree.pop(key)


def _stranger(tree: dict, video: str) -> None:
    tree["stranger_x999"] = tree[video]


def _other_sentence(tree: dict, video: str) -> None:
    tree[video]["sentences"][0] = "nothing happens"


CAPTIONS: tuple[Mutation, ...] = (
    _captions("another sentence", _other_sentence, CHANGES),
    _captions("all of other videos", _rename_all, ERROR),
    _captions("a stranger", _stranger, ERROR, "stranger_x999"),
    _captions("a video lost", dict.pop, EITHER),
    _captions("a video misnamed", _named("{}_x264_x"), ERROR),
    _captions("name with .mp4", _named("{}.mp4"), EITHER),
    _captions("name with .MP4", _named("{}.MP4"), EITHER),
    _captions("span reversed", _with(timestamps=[[1.0, 0.2]]), EITHER),
    _captions("span negative", _with(timestamps=[[-5.0, -1.0]]), EITHER),
    _captions("span far outside", _with(timestamps=[[1e5, 2e5]]), EITHER),
    _captions("fewer spans than sentences", _with(timestamps=[]), ERROR),
    _captions("no sentences", _with(timestamps=[], sentences=[]), CHANGES),
    _captions("an empty sentence", _with(sentences=[" "]), CHANGES),
    _captions("duration 0", _with(duration=0), EITHER),
    _captions("duration negative", _with(duration=-1.0), ERROR),
    _captions("a sentence of 1 MB", _with(sentences=["word " * 200_000]), CHANGES),
    *map(meant, json_of(EITHER)),
)


# ---- JSON lines ----------------------------------------------------------------------------------


def _line(name: str, change: Callable[[dict, Context], dict | str], expect: str) -> Mutation:
    """A mutation of one line: another object, or another text."""

    def mutate(c: Context) -> Effect:
        lines = c.path.read_text(encoding="utf-8").splitlines()
        at = c.rng.randrange(len(lines))
        tree = json.loads(lines[at])
        after = change(tree, c)
        lines[at] = after if isinstance(after, str) else json.dumps(after)
        c.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return effect(expect, c, f"line {at + 1}", f"line {at + 1}", str(tree.get("video")))

    mutate.__name__ = name
    return mutate


def _less(tree: dict, c: Context) -> dict:
    tree.pop(c.rng.choice(sorted(tree)))
    return tree


def _odd(tree: dict, c: Context) -> dict:
    key = c.rng.choice(("video", "frame"))
    tree[key] = c.rng.choice((None, [], {}, -1, 0, 1e30, 10**30, 1.5, ""))
    return tree


def _no_text(tree: dict, c: Context) -> dict:
    return tree | {"text": c.rng.choice((None, 3, [], {}))}


def _twice(tree: dict, c: Context) -> str:
    return f"{json.dumps(tree)}\n{json.dumps({**tree, 'text': 'another'})}"


def _becomes(**values: Any) -> Callable[[dict, Context], dict]:
    def change(tree: dict, c: Context) -> dict:
        tree.update(values)
        return tree

    return change


JSON_LINES: tuple[Mutation, ...] = (
    _line("another text", _becomes(text="nothing"), CHANGES),
    _line("a key lost", _less, ERROR),
    _line("an odd value", _odd, EITHER),
    _line("text is no text", _no_text, ERROR),
    _line("an unknown video", _becomes(video="stranger_x999"), ERROR),
    _line("frame outside", _becomes(frame=10**6), ERROR),
    _line("half an emoji", _becomes(text="people \ud83d"), EITHER),
    _line("no JSON", lambda t, c: '{"video": ', ERROR),
    _line("a list", lambda t, c: "[1, 2]", ERROR),
    _line("absurd depth", lambda t, c: "[" * 100_000, ERROR),
    _line("twice", _twice, ERROR),
)
