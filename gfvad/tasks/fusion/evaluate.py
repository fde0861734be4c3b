"""Runs a detector over whole videos: every unit exactly once, crops averaged, windows put together
again.

Each process scores its own part on its own devices, without keeping step with the others; unit
scores (a few bytes a video) are then gathered, and frames are made video by video, so that a set of
millions of frames never lies in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import Batch, DataError, ScoredVideo
from gfvad.data import pipeline
from gfvad.measure.frames import labels_from_spans, unit_to_frames
from gfvad.tasks.fusion import step as step_lib
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState

UNKNOWN = -1  # video label
Indices = Sequence[int] | np.ndarray  # of videos of a split
CLIP = 1e-7  # keeps the logarithm of a video score finite, as float32 scores reach 0 and 1


class Evaluator:
    """A detector ready to score: mapped over this process's devices once, so that a second
    evaluation compiles nothing."""

    def __init__(
        self, mapper: Mapper, model: Any, config: ConfigDict, scores: Callable | None = None
    ):
        """scores: in place of the model's, (state, batch) -> unit scores [B, N, ...]."""
        self.config = config
        self.mapper, self._all = mapper.local(), mapper
        self._scores = self.mapper.map_eval(scores or partial(step_lib.eval_step, model=model))
        self._graphs = self.mapper.map_eval(partial(step_lib.graph_step, model=model))

    def unit_scores(
        self,
        state: TrainState,
        records: Any,
        indices: Indices,
        advance: Callable[[int], None] = lambda n: None,
    ) -> dict[int, np.ndarray]:
        """Index -> float32 [N] unit scores of the videos `indices` of a split, equal on every
        process; all of them must call it.

        Args: state: one replica on the host; advance is told how many videos have been finished.
        Raises DataError where a unit would be scored twice or not at all.
        """
        place = self._all.process_index, self._all.process_count
        batches = pipeline.EvalBatches(records, indices, self.config.data, place)
        own = collect(self.mapper.stream(self._scores, state, batches), advance)
        # windows of one video may lie on different processes
        scores = assemble(
            pair for part in self._all.gather(pack(own)) for pair in unpack(part).items()
        )
        self._check_complete(scores, records, indices)
        return scores

    def _check_complete(
        self, scores: Mapping[int, np.ndarray], records: Any, indices: Indices
    ) -> None:
        data = self.config.data
        segments = data.train_units if data.eval_mode == "segments" else 0
        for i in indices:
            found, expected = len(scores.get(int(i), ())), segments or int(records.lengths[i])
            if found != expected:
                raise DataError(
                    f"{records.names[i]}: {found} units scored, expected {expected}: each unit must"
                    " be scored once"
                )

    def fused_graphs(
        self, state: TrainState, records: Any, indices: Indices
    ) -> Iterator[FusedGraph]:
        """Fused graph of the first crop (and the first window) of some videos. Local: no other
        process takes part."""
        batches = pipeline.EvalBatches(records, indices, self.config.data, (0, 1))
        for batch, (graphs, scores) in self.mapper.stream(self._graphs, state, batches):
            for i in np.flatnonzero(np.asarray(batch.valid, bool) & (np.asarray(batch.start) == 0)):
                n = int(batch.mask[i].sum())
                yield FusedGraph(int(batch.video[i]), graphs[i, :, :n, :n], scores[i, :n])


class FusedGraph(NamedTuple):
    """What the fusion made of one video."""

    video: int  # index in its split
    graph: np.ndarray  # float32 [G, N, N], real units only
    scores: np.ndarray  # float32 [N]


def scored_videos(
    scores: Mapping[int, np.ndarray], records: Any, indices: Indices
) -> Iterator[ScoredVideo]:
    """Unit scores -> frame scores with what the ground truth says of the video."""
    for i in indices:
        video = records.meta(int(i))
        units = scores[int(i)]
        # segments (data.eval_mode) are equal spans of the video, whatever a unit of it stands for
        unit_frames = video.unit_frames if len(units) == records.lengths[i] else 0
        labels = np.zeros(0, np.uint8)
        if video.label != UNKNOWN:
            labels = labels_from_spans(video.spans, video.num_frames)
        frames = unit_to_frames(units, video.num_frames, unit_frames)
        truth = video.label, video.classes, video.spans, video.span_classes
        yield ScoredVideo(video.name, frames, labels, *truth, unit_frames, video.fps)


# (video, first unit) -> float32 scores of the window's real units
Windows = dict[tuple[int, int], np.ndarray]


def collect(
    results: Iterator[tuple[Batch, np.ndarray]], advance: Callable[[int], None] = lambda n: None
) -> Windows:
    """(batch, scores [B, N]) -> the windows they hold; raises DataError where one comes twice."""
    windows: Windows = {}
    for batch, scores in results:
        valid = np.flatnonzero(np.asarray(batch.valid, bool))
        for i in valid:
            place = int(batch.video[i]), int(batch.start[i])
            if place in windows:
                raise DataError(
                    f"video {place[0]}: the window at unit {place[1]} came twice: each unit must be"
                    " scored once"
                )
            windows[place] = np.array(scores[i, : int(np.asarray(batch.mask[i]).sum())])
        # the first window stands for its video
        advance(int((np.asarray(batch.start)[valid] == 0).sum()))
    return windows


def assemble(windows: Iterable[tuple[tuple[int, int], np.ndarray]]) -> dict[int, np.ndarray]:
    """Windows in any order -> video -> float32 [N]; raises DataError where they overlap or leave
    a gap."""
    videos: dict[int, list[np.ndarray]] = {}
    for (video, start), scores in sorted(windows, key=lambda pair: pair[0]):
        parts = videos.setdefault(video, [])
        reached = sum(map(len, parts))
        if start != reached:
            raise DataError(
                f"video {video}: a window starts at unit {start}, expected {reached}: each unit"
                " must be scored once"
            )
        parts.append(scores)
    return {video: np.concatenate(parts) for video, parts in videos.items()}


def pack(windows: Windows) -> bytes:
    """Windows as bytes, for the other processes."""
    buffer = io.BytesIO()
    arrays = {f"{video}_{start}": x for (video, start), x in windows.items()}
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def unpack(payload: bytes) -> Windows:
    """Inverse of `pack`."""
    with np.load(io.BytesIO(payload)) as arrays:
        places = {name: map(int, name.split("_")) for name in arrays.files}
        return {(video, start): arrays[name] for name, (video, start) in places.items()}


def video_level(
    scores: Mapping[int, np.ndarray], labels: Mapping[int, int], topk_divisor: int
) -> tuple[np.ndarray, np.ndarray]:
    """(video scores [V], labels [V]) of the videos with a label, in the order of their index."""
    chosen = sorted(i for i in scores if labels[i] != UNKNOWN)
    longest = max((len(scores[i]) for i in chosen), default=1)
    # [V, N]
    padded, mask = (np.zeros((len(chosen), longest), kind) for kind in (np.float32, bool))
    for row, i in enumerate(chosen):
        padded[row, : len(scores[i])], mask[row, : len(scores[i])] = scores[i], True
    values = np.asarray(_video_scores(padded, mask, topk_divisor), np.float64)
    return values, np.array([labels[i] for i in chosen], np.int64)


_video_scores = jax.jit(step_lib.video_scores, static_argnums=2)


def video_loss(scores: np.ndarray, labels: np.ndarray, label_smoothing: float = 0.0) -> float:
    """Multiple-instance cross entropy of video scores [V] in [0, 1], the mean over videos."""
    target = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    s = np.clip(scores, CLIP, 1.0 - CLIP)
    return float(np.mean(-target * np.log(s) - (1.0 - target) * np.log1p(-s)))
