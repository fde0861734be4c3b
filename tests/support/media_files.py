"""Video files with sound, odd sizes and uneven times for the tests, and an encoder that needs
nothing."""

import os
import time
from fractions import Fraction

import av
import numpy as np
from video_files import picture

from gfvad.encoders.registry import UnitEncoder

TONE = 440.0  # hertz


def tone(seconds, rate=16000, frequency=TONE):
    """float32 [n]."""
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def write_media(
    path,
    count,
    *,
    size=(32, 48),
    rate=25,
    times=None,
    sound=None,
    seed=0,
    codec="libx264",
    sound_first=False,
    sound_at=0.0,
    options=None,
):
    """A video of `count` frames with a sound track of samples `sound` (float32 [n], 16 kHz, mono;
    None: no track).

    times: of the frames in milliseconds (default: even); sound_first: all of the sound is written
    before the first frame; sound_at: its first moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [picture(t, seed, size) for t in range(min(count, 4))]  # few are enough
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width = size
        video.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        if times is not None:
            video.codec_context.time_base = Fraction(1, 1000)
        audio = (
            container.add_stream(
                "aac" if path.suffix == ".mp4" else "pcm_s16le", rate=16000, layout="mono"
            )
            if sound is not None
            else None
        )

        def put_pictures():
            for t in range(count):
                frame = av.VideoFrame.from_ndarray(pictures[t % len(pictures)], format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = times[t], Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode())

        def put_sound():
            for k in range(0, len(sound), 1024):
                block = (np.clip(sound[k : k + 1024], -1, 1) * 32767).astype(np.int16)[None]
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = (
                    16000,
                    k + round(sound_at * 16000),
                    Fraction(1, 16000),
                )
                container.mux(audio.encode(frame))
            container.mux(audio.encode())

        steps = [put_pictures] + ([put_sound] if audio else [])
        for step in reversed(steps) if sound_first else steps:
            step()
    return path


def turn(path):
    """Writes a quarter turn into the track header of an mp4, as a phone does."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version, times and identity; then the matrix
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(content)
    return path


class Fake(UnitEncoder):
    """The mean of each colour, or the sound's strength; sleeps `wait` seconds a unit, kills its
    process on a video named 'deadly'."""

    def __init__(self, modality, width=3, wait=0.0, version=1):
        super().__init__()
        self.name, self.modality, self.width, self.version, self.wait = (
            "fake",
            modality,
            width,
            version,
            wait,
        )
        self.settings = {"note": "fake"}
        self.video = ""

    def of(self, video):
        self.video = video
        return self

    def encode(self, unit):
        time.sleep(self.wait)
        if "deadly" in self.video:
            os._exit(9)
        if "faulty" in self.video:
            raise ZeroDivisionError("an encoder's own error")
        values = unit.sound if self.modality == "audio" else unit.frames
        return (
            None
            if values is None
            else np.resize(
                np.append(
                    (
                        np.float32(values).mean((0, 1, 2))
                        if values.ndim > 1
                        else np.float32(values).std()
                    ),
                    unit.start,
                ),
                self.width,
            ).astype(np.float32)
        )


def open_fake(name, **settings):
    """In the place of `open_encoder`."""
    return Fake(
        {"slow": "motion"}.get(name, name), **({"wait": 0.15} if name == "slow" else {}), **settings
    )
