"""Pictures and sound of one video, in the order of time, cut into units of 16 frames as they come:
the same for a file and for a camera.

A unit is 16 frames as they were decoded, whatever the frame rate; its place in time is that of its
frames. Its sound is the PATCH = 0.96 s around its middle, moved to where there is sound at both
ends of a video, so that a unit is complete once its frames and 0.48 s of sound behind its middle
(the first: 0.96 s of sound) are there.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

FRAMES = 16  # of a unit
RATE = 16000  # samples a second, mono
PATCH = 0.96  # seconds of sound (VGGish, Hershey et al. 2017)
SIDE = 320  # pixels of the long side of frames that encoders see at most


class Picture(NamedTuple):
    """A frame, upright."""

    time: float  # seconds from the start of the video
    rgb: np.ndarray  # uint8 [h, w, 3]


class Sound(NamedTuple):
    """A piece of the sound track, mono, RATE samples a second."""

    time: float  # seconds of its first sample
    samples: np.ndarray  # float32 [n] in [-1, 1]


class Unit(NamedTuple):
    """What encoders see of one unit."""

    index: int
    start: float  # seconds: time of its first frame
    # seconds: time of the frame behind its last one (of the last unit: its last frame and one frame
    # more)
    end: float
    frames: np.ndarray  # uint8 [T, h, w, 3]; T = 16, fewer in a video's last unit
    before: np.ndarray | None  # uint8 [h, w, 3]: the frame before its first; None in the first unit
    sound: np.ndarray | None  # float32 [PATCH * RATE]; None where the video has no sound there

    @property
    def middle(self) -> np.ndarray:
        """The middle frame, uint8 [h, w, 3]."""
        return self.frames[len(self.frames) // 2]


class Grouper:
    """Cuts a stream into units. `push` and `finish` give the units that became complete; memory is
    bounded by a unit and its sound.

    sound: whether the video has a sound track (else units do not wait for any); fps: to tell the
    end of the last unit of a video of one frame.
    """

    def __init__(self, sound: bool, fps: float = 25.0):
        self.sound, self._gap = sound, 1.0 / fps
        self._pictures: deque[Picture] = deque()
        self._before: np.ndarray | None = None
        # what is kept of the sound, and the number of its first sample
        self._samples, self._from = np.zeros(0, np.float32), 0
        self._index = 0

    def push(self, piece: Picture | Sound) -> list[Unit]:
        """One more frame or piece of sound. Times of frames count up; a gap in the sound is
        silence, what overlaps is heard once."""
        if isinstance(piece, Sound):
            self._hear(piece)
        else:
            if self._pictures:
                self._gap = max(piece.time - self._pictures[-1].time, 1e-6)
            self._pictures.append(piece)
        return self._complete(False)

    def finish(self) -> list[Unit]:
        """The end of the video: what is left, its last unit with as many frames as there are."""
        return self._complete(True)

    def _hear(self, piece: Sound) -> None:
        start = round(piece.time * RATE) - self._from
        have = len(self._samples)
        if start > have:
            self._samples = np.concatenate([self._samples, np.zeros(start - have, np.float32)])
            start = have = len(self._samples)
        fresh = np.asarray(piece.samples, np.float32)[have - start :]
        self._samples = np.concatenate([self._samples, fresh])

    def _complete(self, last: bool) -> list[Unit]:
        found = []
        while len(self._pictures) > FRAMES or (last and self._pictures):
            count = min(FRAMES, len(self._pictures))
            start, end = self._pictures[0].time, self._pictures[count - 1].time + self._gap
            if len(self._pictures) > count:
                end = self._pictures[count].time
            middle, heard = (start + end) / 2, (self._from + len(self._samples)) / RATE
            if self.sound and not last and heard < max(middle + PATCH / 2, PATCH):
                break
            frames = [self._pictures.popleft().rgb for _ in range(count)]
            sound = self._patch(middle)
            found.append(Unit(self._index, start, end, np.stack(frames), self._before, sound))
            self._before, self._index = frames[-1], self._index + 1
            # no later patch can reach before this, also not one that is moved back at the end
            keep = max(round((middle - PATCH) * RATE) - self._from, 0)
            self._samples, self._from = self._samples[keep:], self._from + keep
        return found

    def _patch(self, middle: float) -> np.ndarray | None:
        """The sound around a moment, moved inside of what there is, silence where there is less
        than a patch; None where there is none."""
        length = round(PATCH * RATE)
        latest = max(self._from + len(self._samples) - length, 0)
        start = min(max(round((middle - PATCH / 2) * RATE), 0), latest) - self._from
        found = self._samples[max(start, 0) : max(start + length, 0)]
        if not self.sound or not len(found):
            return None
        return np.pad(found, (0, length - len(found)))
