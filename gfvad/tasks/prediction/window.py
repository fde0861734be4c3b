"""Frames of one video as they come -> clips of the predictive model; readings of frames as they
come -> scores. Bounded memory, the numbers of whole videos. No jax."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import cv2
import numpy as np
from ml_collections import ConfigDict

from gfvad.data.frames.clip_data import clip_text, fit_cells
from gfvad.data.frames.flow import PRESET, cell_means
from gfvad.data.frames.store import fit
from gfvad.tasks.prediction import score_terms

FLOW_DTYPE = np.float16  # as flow is kept on disk: the model has learnt from such numbers

Clip = dict[str, np.ndarray]


class ClipWindow:
    """The clip that ends at each frame, as `ClipData.features` gives it. `push` and `finish` give
    the clips that became complete.

    A frame's clip is complete with the frame, but the first: its flow is that of the second one, so
    it waits for that.
    flow_size: (height, width) in pixels that flow is taken at; (0, 0): no flow.
    """

    def __init__(self, config: ConfigDict, flow_size: tuple[int, int] = (0, 0)):
        data, cell = config.data, config.model.cell
        self._steps = data.stride * np.arange(-data.clip_frames, 1)
        self._flow_size, self._cell = flow_size, data.flow_cell
        self._size, self._channels = (data.height, data.width), data.channels
        self._resize, self._clip_text = data.resize, data.clip_text
        self._grid = (data.height // cell, data.width // cell)
        keep = data.clip_frames * data.stride + 1
        self._frames, self._flow, self._texts = (deque(maxlen=keep) for _ in range(3))
        self._dis = cv2.DISOpticalFlow.create(PRESET) if flow_size[0] else None
        self._before: np.ndarray | None = None  # grey frame that flow is taken from
        self._count = 0

    def push(
        self, frame: np.ndarray, grey: np.ndarray | None, text: np.ndarray | None = None
    ) -> list[Clip]:
        """One more frame uint8 [H, W] or [H, W, 3], of the model's channels, the same in grey
        [H, W] for the flow, and the embedding [V] of its description."""
        fitted = fit(frame, self._size, self._resize)
        self._frames.append(fitted.reshape(*self._size, self._channels))
        self._texts.append(text)
        self._count += 1
        if self._dis is None:
            return [self._clip(self._count - 1)]
        assert grey is not None  # which a model with flow is given
        grey, before = fit(grey, self._flow_size), self._before
        self._before = grey
        if before is None:
            return []
        found = self._dis.calc(before, grey, None)  # type: ignore[call-overload]  # of OpenCV
        flow = self._cells(cell_means(found, self._cell))
        self._flow.append(flow)
        if self._count > 2:
            return [self._clip(self._count - 1)]
        self._flow.append(flow)
        return [self._clip(0), self._clip(1)]

    def finish(self) -> list[Clip]:
        """What a video of a single frame still owes."""
        if self._dis is None or self._count != 1:
            return []
        still = np.zeros((*(side // self._cell for side in self._flow_size), 3), np.float32)
        self._flow.append(self._cells(still))
        return [self._clip(0)]

    def _cells(self, cells: np.ndarray) -> np.ndarray:
        return fit_cells(cells.astype(FLOW_DTYPE).astype(np.float32)[None], self._grid)[0]

    def _clip(self, t: int) -> Clip:
        first = self._count - len(self._frames)  # number of the oldest frame that is kept
        places = np.maximum(t + self._steps, 0) - first
        take = lambda kept: np.stack([kept[i] for i in places])
        found = {"frames": take(self._frames)}
        if self._dis is not None:
            found["flow"] = take(self._flow)
        if self._texts[-1] is not None:
            rows = take(self._texts)
            found |= clip_text(rows, self._clip_text)
        return found


class Windowed(NamedTuple):
    """Frames of a video whose windows are complete."""

    evidence: dict[str, np.ndarray]  # term -> [n]
    heat: np.ndarray | None  # total map [n, g, g']


class ScoreWindows:
    """Readings of one video as they come -> evidence of each frame once its windows are complete:
    at once where they are causal, else half a window later.

    cfg: config.score; weights: of the terms; heat: whether maps are wanted too.
    """

    def __init__(
        self, calibration: score_terms.Calibration, weights: dict[str, float], cfg: Any, heat: bool
    ):
        self._calibration, self._weights, self._cfg, self._heat = calibration, weights, cfg, heat
        widest = max(cfg.temporal, cfg.text_frames if calibration.semantic else 1)
        self._around = widest - 1  # as far as a window reaches back at most
        # frames behind a frame that its windows take in
        self.delay = 0 if cfg.causal else widest // 2
        self._kept: score_terms.Readings | None = None
        self._done = 0  # of the frames kept, so many were given

    def push(self, readings: score_terms.Readings) -> Windowed | None:
        """Readings of the next frames."""
        readings = score_terms.compared(readings, self._calibration.bank)  # once, not a window each
        if self._kept is not None:
            readings = _map(lambda *x: np.concatenate(x), self._kept, readings)
        return self._give(readings, self.delay)

    def finish(self) -> Windowed | None:
        """The frames that still waited: the video ends here."""
        return None if self._kept is None else self._give(self._kept, 0)

    def _give(self, kept: score_terms.Readings, waiting: int) -> Windowed | None:
        """All but the last `waiting` frames of those that are kept, where they are new."""
        self._kept, done = kept, self._done
        ready = len(kept.maps["appearance"]) - waiting
        if ready <= done:
            return None
        maps = score_terms.windowed(score_terms.term_maps(kept, self._calibration), self._cfg)
        values = score_terms.values_of(maps, kept, self._calibration, self._cfg)
        terms = score_terms.calibrated(values, self._calibration, self._cfg.terms)
        evidence = {name: x[done:ready] for name, x in terms.items()}
        heat = None
        if self._heat:
            heat = score_terms.heat_of(
                {name: x[done:ready] for name, x in maps.items()}, self._calibration, self._weights
            )["total"]
        drop = max(0, ready - self._around)
        # a view would keep what was dropped alive
        self._kept = _map(lambda x: x[drop:].copy(), kept)
        self._done = ready - drop
        return Windowed(evidence, heat)


def _map(f: Any, first: score_terms.Readings, *more: score_terms.Readings) -> score_terms.Readings:
    """f of each array of one or several readings."""
    optional = lambda get: None if get(first) is None else f(*map(get, (first, *more)))
    maps = {name: f(x, *(other.maps[name] for other in more)) for name, x in first.maps.items()}
    semantic, text = optional(lambda r: r.semantic), optional(lambda r: r.text)
    return score_terms.Readings(maps, semantic, text, first.own)
