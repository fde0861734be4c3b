"""Which training units the bank of a run holds (video_bank.py): a place of the bank has the unit of
the newest example that was written there, and the stream of examples is known by the seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gfvad.data import sampling, streams
from gfvad.data.streams import DEFAULT_FPS, Examples, TrainStream
from gfvad.tasks.fusion.video_bank import STRIDE

LABELS = {0: "normal", 1: "abnormal"}


class Origin(NamedTuple):
    """A training unit."""

    video: str
    index: int  # of the video in its split
    first: int  # units [first, last) of the video
    last: int
    start: float  # seconds
    end: float
    label: str  # of its video


def newest(place: int, written: int, units: int) -> int:
    """The place in the stream of the newest of `written` examples that lies at a place of a bank of
    so many units; below 0 where there is none."""
    return written - 1 - (written - 1 - place) % units


def origins(
    config: ConfigDict, examples: Examples, steps: int, places: Iterable[int]
) -> dict[int, Origin]:
    """Place of the bank -> the training unit there, after so many steps of training."""
    stream = TrainStream(examples, config.train.batch_size, config.seed)
    records, length, found = examples.records, int(config.data.train_units), {}
    for place in places:
        position = newest(place, steps * int(config.train.batch_size), int(config.model.bank.units))
        if position < 0:
            continue
        video = stream.video_at(position)
        rng = sampling.example_rng(config.seed, position)
        rng.integers(crops_of(records, video, config.data))  # the crop is drawn first
        count = int(records.lengths[video])
        units = sampling.sample_units(count, length, str(config.data.train_sampling), rng)
        slot, meta = (STRIDE * position) % length, records.meta(video)
        first, last = int(units.start[slot]), int(units.stop[slot])
        seconds = (meta.unit_frames or meta.num_frames / count) / (meta.fps or DEFAULT_FPS)
        label = LABELS.get(int(records.labels[video]), "unknown")
        span = first * seconds, last * seconds
        found[place] = Origin(records.names[video], video, first, last, *span, label)
    return found


def crops_of(records: Any, video: int, data_cfg: Any) -> int:
    """The most crops that a feature set of a video has."""
    names = streams.modalities(records, data_cfg)
    return max(int(streams.crops(records, m)[video]) for m in names)
