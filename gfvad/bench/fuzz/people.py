"""Small sound sets for graph novelty: tracked people who walk, one of whom runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gfvad.bench.fuzz.effect import CHANGES, EITHER, Context, Effect, Mutation
from gfvad.bench.fuzz.tables import TABLES

FRAMES = 40
FAST = "02"  # the test video with a runner


def walk(rng: np.random.Generator, fast: bool) -> np.ndarray:
    """Rows frame, id, x1, y1, x2, y2 of two people; a fast one runs in the second half."""
    rows = []
    for person in range(2):
        x, y, h = rng.uniform(0, 100), rng.uniform(100, 300), rng.uniform(50, 60)
        for frame in range(FRAMES):
            x += h / 24 * (6 if fast and person and frame >= FRAMES // 2 else 1)
            rows.append([frame, person, x, y, x + 0.4 * h, y + h])
    return np.round(np.array(rows), 1)


def write(root: Path) -> None:
    """train/ and test/ with a CSV file a video, and labels of the test frames."""
    rng = np.random.default_rng(0)
    for part, names in (("train", ("01", "02", "03", "04")), ("test", ("01", FAST))):
        (root / part).mkdir(parents=True)
        for name in names:
            rows = walk(rng, part == "test" and name == FAST)
            lines = [",".join(f"{x:g}" for x in row) for row in rows]
            text = "\n".join(["frame,id,x1,y1,x2,y2", *lines]) + "\n"
            (root / part / f"{name}.csv").write_text(text)
    runs = np.zeros(FRAMES, np.uint8)
    runs[FRAMES // 2 :] = 1
    labels: dict[str, Any] = {"01": np.zeros(FRAMES, np.uint8), FAST: runs}
    np.savez(root / "labels.npz", **labels)


def of_numbers(mutation: Mutation) -> Mutation:
    """A mutation of a table that holds numbers alone: other numbers give another right result."""

    def mutate(c: Context) -> Effect:
        found = mutation(c)
        return found._replace(expect=CHANGES) if found.expect == EITHER else found

    mutate.__name__ = getattr(mutation, "__name__", "mutate")
    return mutate


BOXES: tuple[Mutation, ...] = tuple(map(of_numbers, TABLES))
