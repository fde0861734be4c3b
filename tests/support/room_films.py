"""A tiny room as a fixed camera sees it, made here: a pattern that flickers a little, and in the
test video a bright block that stands in it for a while."""

from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH, FPS = 32, 64, 5
BLOCK = (8, 24, 32, 48)  # y1, y2, x1, x2 of what does not belong there
SPAN = (20, 40)  # frames of the test video that it stands in, from 0, end excluded
FLAGS = [
    "--config.data.height=32",
    "--config.data.width=64",
    "--config.data.grids=('1x2','2x4')",
    "--config.data.pictures_a_second=2.5",
    "--config.model.bank=32",
    "--config.train.steps=4",
    "--config.train.batch_size=32",
    "--config.eval.bootstrap=0",
    "--config.eval.figures=False",
    "--config.parallel.devices=1",
    "--config.score.reach=4",
]


def frames(count, seed, block=(0, 0)):
    """uint8 [count, HEIGHT, WIDTH, 3]; the block stands in the frames from block[0] to block[1]."""
    ground = np.random.default_rng(7).integers(40, 120, (HEIGHT // 4, WIDTH // 4))
    room = np.kron(ground, np.ones((4, 4)))
    rng = np.random.default_rng(seed)
    flicker = rng.normal(1, 0.03, (count, 1, 1)) * room + rng.normal(0, 2, (count, HEIGHT, WIDTH))
    y1, y2, x1, x2 = BLOCK
    flicker[block[0] : block[1], y1:y2, x1:x2] = 230
    grey = np.clip(flicker, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


def write_film(path: Path, pictures) -> Path:
    """A lossless film of the pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0", "g": "5"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_normal(folder: Path, films=3, length=60) -> Path:
    """Films of normal days."""
    for i in range(films):
        write_film(folder / f"{i:02d}.mp4", frames(length, i))
    return folder


def write_set(folder: Path) -> Path:
    """The same in training/, and one labelled film in testing/."""
    write_normal(folder / "training")
    write_film(folder / "testing" / "00.mp4", frames(60, 50, SPAN))
    (folder / "test_spans.txt").write_text(f"00 {SPAN[0] + 1} {SPAN[1]}\n")
    return folder
