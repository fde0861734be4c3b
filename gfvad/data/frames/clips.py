"""Which clips are cut from which videos: for training every place, for evaluation every frame once.
Pure numpy.

A clip is `clip_frames` past frames and the target, `stride` frames apart: target t with k frames
has t - k * stride, ..., t - stride, t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gfvad.base.names import some
from gfvad.base.types import ConfigError, DataError
from gfvad.data import sampling

Lengths = Sequence[int] | np.ndarray  # frames of each video


@dataclass(frozen=True, eq=False)
class ClipIndex:
    """n clips, each by its video and its target, in the order of the videos and of time."""

    video: np.ndarray  # int32 [n]
    target: np.ndarray  # int32 [n] the clip's last frame, from 0
    clip_frames: int  # frames before the target
    stride: int  # frames between two of a clip's

    def __len__(self) -> int:
        return len(self.video)

    def frames(self, i: int) -> np.ndarray:
        """Frame numbers of clip i: int64 [clip_frames + 1], the last one the target; a number
        before the video's start is its first frame."""
        return np.maximum(
            int(self.target[i]) - self.stride * np.arange(self.clip_frames, -1, -1), 0
        )


class Parts(NamedTuple):
    """Videos of the training split, int64, ascending."""

    train: np.ndarray
    validation: np.ndarray
    skipped: np.ndarray  # too short for one clip


def eval_clips(
    lengths: Lengths, clip_frames: int, stride: int = 1, videos: Sequence[int] | None = None
) -> ClipIndex:
    """Every frame of the given videos (default: all) exactly once as target.

    The first clip_frames * stride frames have less past than a clip holds and repeat the video's
    first frame; so frame 0, and the only frame of a video of one frame, is predicted from itself
    alone.
    """
    return _clips(lengths, clip_frames, stride, videos, 0)


def train_clips(
    lengths: Lengths, clip_frames: int, stride: int = 1, videos: Sequence[int] | None = None
) -> ClipIndex:
    """Every clip that lies wholly in one of the given videos (default: all); shorter videos give
    none (see `split_videos`).

    Raises DataError where no video is long enough.
    """
    clips = _clips(lengths, clip_frames, stride, videos, clip_frames * stride)
    if not len(clips):
        used = [int(lengths[i]) for i in (range(len(lengths)) if videos is None else videos)]
        longest = max(used, default=0)
        raise DataError(
            f"no training clip: {len(used)} videos of at most {longest} frames; expected one of"
            f" at least {clip_frames * stride + 1} ({clip_frames} frames and the target, stride"
            f" {stride}): take shorter clips or longer videos"
        )
    return clips


def split_videos(
    names: Sequence[str],
    lengths: Lengths,
    clip_frames: int,
    stride: int,
    validation_fraction: float,
) -> Parts:
    """Whole training videos held out for validation, chosen by a hash of their names
    (`sampling.split_validation`).

    Videos shorter than clip_frames * stride + 1 frames are in neither part. With fewer than two
    videos nothing is held out.
    """
    _require(clip_frames, stride)
    long = np.asarray(lengths, np.int64) > clip_frames * stride
    usable = np.flatnonzero(long)
    train, validation = sampling.split_validation(
        [names[i] for i in usable.tolist()], [0] * len(usable), validation_fraction
    )
    return Parts(usable[train], usable[validation], np.flatnonzero(~long))


def report_skipped(names: Sequence[str], lengths: Lengths, parts: Parts) -> str:
    """Which training videos are too short, for a message; '' where none is."""
    short = [f"{names[i]} ({int(lengths[i])} frames)" for i in parts.skipped]
    said = f"{len(short)} training videos are too short for a clip and left out: {some(short)}"
    return said if short else ""


def _clips(
    lengths: Lengths, clip_frames: int, stride: int, videos: Sequence[int] | None, first: int
) -> ClipIndex:
    _require(clip_frames, stride)
    videos = range(len(lengths)) if videos is None else videos
    targets = [np.arange(first, int(lengths[i]), dtype=np.int32) for i in videos]
    video = np.repeat(np.asarray(videos, np.int32), [len(t) for t in targets])
    return ClipIndex(
        video, np.concatenate([np.zeros(0, np.int32), *targets]), int(clip_frames), int(stride)
    )


def _require(clip_frames: int, stride: int) -> None:
    if clip_frames < 1 or stride < 1:
        raise ConfigError(
            f"clips of {clip_frames} frames with stride {stride}; expected at least 1 of each"
        )
