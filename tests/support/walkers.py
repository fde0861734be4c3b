"""A tiny set of tracked people, made here: they walk to the right, and in two test videos one of
them runs."""

from pathlib import Path

import numpy as np

FRAMES = 60
FLAGS = [
    "--config.model.bank=256",
    "--config.train.steps=4",
    "--config.train.batch_size=32",
    "--config.eval.bootstrap=0",
    "--config.eval.figures=False",
    "--config.data.eval_batch_size=256",
    "--config.parallel.devices=1",
    "--config.score.reach=8",
    "--config.score.prior=4",
]


def walk(rng, frames=FRAMES, people=2, fast=()):
    """Rows of people who walk to the right; those in `fast` run in the second half."""
    rows = []
    for person in range(people):
        x, y, h = rng.uniform(0, 100), rng.uniform(100, 300), rng.uniform(50, 60)
        for frame in range(frames):
            x += h / 24 * (5 if person in fast and frame >= frames // 2 else 1)
            rows.append([frame, person, x, y, x + h * rng.uniform(0.38, 0.42), y + h])
    return np.round(rows)


def write_set(folder: Path) -> Path:
    """Six normal videos of two cameras, and three test videos with labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.savez(folder / "tracks_train.npz", **{f"0{i % 2}_{i}": walk(rng) for i in range(6)})
    test = {"00_a": walk(rng), "01_b": walk(rng, fast=(0,)), "01_c": walk(rng, fast=(1,))}
    np.savez(folder / "tracks_test.npz", **test)
    labels = {n: np.zeros(FRAMES, np.uint8) for n in test}
    labels["01_b"][FRAMES // 2 :] = labels["01_c"][FRAMES // 2 :] = 1
    np.savez(folder / "frame_labels_test.npz", **labels)
    return folder
