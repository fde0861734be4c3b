"""A tiny room, made here: somebody walks through it; in the test part a box lies where none was."""

from pathlib import Path

import cv2
import numpy as np

FRAMES, SIZE = 40, (32, 64)
BOX_FROM = 20  # frame of the test video from which on the box lies there
FLAGS = [
    "--config.data.height=32",
    "--config.data.width=64",
    "--config.data.fps=10",
    "--config.data.pictures_a_second=5",
    "--config.data.grids=('1x2','2x4')",
    "--config.model.bank=64",
    "--config.train.steps=4",
    "--config.train.batch_size=32",
    "--config.eval.bootstrap=0",
    "--config.eval.figures=False",
    "--config.data.eval_batch_size=64",
    "--config.parallel.devices=1",
    "--config.score.reach=2",
]


def walk(rng, frames=FRAMES, box=False):
    """uint8 [frames, 32, 64]."""
    wall = np.full(SIZE, 90.0)
    wall[:, 40:44] = 160
    film = []
    for frame in range(frames):
        picture = wall + rng.normal(0, 3, SIZE)
        at = (5 + frame) % (SIZE[1] - 6)
        picture[12:28, at : at + 5] = 40
        if box and frame >= BOX_FROM:
            picture[4:12, 10:20] = 230
        film.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.array(film)


def write_frames(folder: Path, film) -> None:
    """A folder of images."""
    folder.mkdir(parents=True)
    for i, picture in enumerate(film):
        cv2.imwrite(str(folder / f"{i:03d}.png"), picture)


def write_room(folder: Path, labelled: bool = True) -> Path:
    """Four normal videos; where labelled, two test videos, one with a box, and their spans."""
    rng = np.random.default_rng(0)
    for i in range(4):
        write_frames(folder / "training" / f"{i:02d}", walk(rng))
    if labelled:
        write_frames(folder / "testing" / "00", walk(rng))
        write_frames(folder / "testing" / "01", walk(rng, box=True))
        (folder / "test_spans.txt").write_text(f"01 {BOX_FROM + 1} {FRAMES}\n")
    return folder
