"""Small video files with sound, made up for the fuzzer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIZE = (32, 48)  # height, width
RATE = 25
SOUND_RATE = 16000


def picture(t: int, seed: int) -> np.ndarray:
    """uint8 [H, W, 3]: a square that moves over a still texture."""
    image = np.random.default_rng(seed).integers(60, 120, (*SIZE, 3), dtype=np.uint8)
    x = (2 + seed % 3) * t % (SIZE[1] - 12)
    image[10:22, x : x + 12] = 200 + seed % 5 * 10
    return image


def write_video(path: Path, frames: int, seed: int, *, sound: bool = True) -> None:
    """A video of that many frames; the container is what the suffix says."""
    import av  # optional

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(t, seed), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            moments = np.arange(frames * SOUND_RATE // RATE) / SOUND_RATE
            wave = (8000 * np.sin(2 * np.pi * (300 + 40 * seed) * moments)).astype(np.int16)
            for k in range(0, len(wave), 1024):
                part = wave[None, k : k + 1024]
                block = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                block.sample_rate, block.pts = SOUND_RATE, k
                container.mux(audio.encode(block))
            container.mux(audio.encode())


def write_frames(folder: Path, frames: int, seed: int) -> None:
    """A folder of images 000.png, 001.png, ..."""
    import cv2  # optional

    folder.mkdir(parents=True, exist_ok=True)
    for t in range(frames):
        cv2.imwrite(str(folder / f"{t:03d}.png"), picture(t, seed))
