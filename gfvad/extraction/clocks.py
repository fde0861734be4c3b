"""Times of pictures and sound of one container: counted up, put in order, silence where sound
stays out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from av import AudioFrame, AudioResampler, Packet
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.frame import Frame

from gfvad.data.frames.containers import JUMP
from gfvad.encoders.units import PATCH, RATE, Picture, Sound

LAG = 10.0  # seconds that pictures wait for sound
AHEAD = 600.0  # seconds of sound that wait for pictures; what is beyond is not heard
BACK = 1.0  # seconds by which sound may run back; more is another stream that begins there
SLIP = 0.1  # seconds by which sound may be off its timestamps before it is put right


def seconds_of(frame: Frame) -> float | None:
    """When a frame is due, on its stream's clock; None where it does not say."""
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base)


class Clock:
    """Timestamps of frames (seconds, None where one lacks) to times that count up: what is not
    later than the last one is a step later."""

    def __init__(self, step: float):
        self._step, self._offset = step, 0.0
        self._last: float | None = None

    def __call__(self, stamp: float | None) -> float:
        if self._last is None:
            self._last = stamp or 0.0
            return self._last
        time = self._last + self._step
        if stamp is not None:
            # the clock was set: go on from here
            if not -1 < stamp + self._offset - self._last < JUMP:
                self._offset = time - stamp
            time = stamp + self._offset if stamp + self._offset > self._last else time
        self._last = time
        return time


class Hearing:
    """Sound packets to (time, mono samples [n] float32 of RATE a second); a packet that cannot
    be decoded is left out."""

    def __init__(self):
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._start, self._given, self._expected, self._offset = 0.0, 0, 0.0, 0.0

    def push(self, packet: Packet[AudioStream]) -> Iterator[tuple[float, np.ndarray]]:
        """Sound of one packet."""
        try:
            frames = packet.decode()
        except FFmpegError:
            return
        for frame in frames:
            yield from self._hear(frame)

    def _hear(self, frame: AudioFrame) -> Iterator[tuple[float, np.ndarray]]:
        kind, stamp = (frame.format.name, frame.layout.name, frame.sample_rate), seconds_of(frame)
        time = self._expected
        if stamp is not None:
            late = stamp + self._offset - self._expected
            if self._resampler is not None and not -BACK < late < JUMP:
                self._offset = self._expected - stamp
            time = stamp + self._offset
        if self._resampler is None or kind != self._kind or abs(time - self._expected) > SLIP:
            yield from self.flush()
            self._resampler = AudioResampler(format="flt", layout="mono", rate=RATE)
            self._kind, self._start, self._given, self._expected = kind, time, 0, time
        self._expected += frame.samples / frame.sample_rate
        try:
            yield from self._timed(self._resampler.resample(frame))
        except FFmpegError:
            self._kind = None

    def flush(self) -> Iterator[tuple[float, np.ndarray]]:
        """What the resampler still holds."""
        if self._resampler is not None and self._kind is not None:
            yield from self._timed(self._resampler.resample(None))
        self._kind = None

    def _timed(self, frames: Iterable[AudioFrame]) -> Iterator[tuple[float, np.ndarray]]:
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1)
            if len(samples):
                yield self._start + self._given / RATE, samples
                self._given += len(samples)


class Order:
    """Sound held back until the pictures are there, silence where it stays out, times from the
    first picture."""

    def __init__(self, sound: bool):
        self._sound = sound
        self._start: float | None = None  # of the first picture, on the container's clock
        self._now = self._heard = 0.0  # of the last picture; up to where sound was given
        self._held: deque[tuple[float, np.ndarray]] = deque()

    def picture(self, time: float, rgb: np.ndarray) -> Iterator[Picture | Sound]:
        self._start = time if self._start is None else self._start
        self._now = time - self._start
        yield Picture(self._now, rgb)
        yield from self._release()
        if self._sound and self._now - self._heard > LAG:
            yield self._silence(self._now - LAG / 2)

    def sound(self, time: float, samples: np.ndarray) -> Iterator[Sound]:
        first = self._held[0][0] if self._held else time
        if time - (first if self._start is None else self._start + self._now) < AHEAD:
            self._held.append((time, samples))
        yield from self._release()

    def finish(self) -> Iterator[Sound]:
        """What belongs to the last pictures; silence where more than a unit's sound is lacking."""
        yield from self._release()
        if self._sound and self._now - self._heard > PATCH:
            yield self._silence(self._now)

    def _release(self) -> Iterator[Sound]:
        start = self._start
        while start is not None and self._held and self._held[0][0] - start <= self._now + PATCH:
            time, samples = self._held.popleft()
            yield self._given(Sound(time - start, samples))

    def _silence(self, until: float) -> Sound:
        return self._given(
            Sound(self._heard, np.zeros(round((until - self._heard) * RATE), np.float32))
        )

    def _given(self, sound: Sound) -> Sound:
        self._heard = max(self._heard, sound.time + len(sound.samples) / RATE)
        return sound
