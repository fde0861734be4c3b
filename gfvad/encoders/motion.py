"""Motion of a unit without weights: statistics of optical flow (DIS, Kroeger et al. 2016), of its
change, and of frame differences.

Flow is taken at SIDE pixels of width, freed of the camera's own motion (the median over the
picture), and read as a share of the picture's width a second, so that size and frame rate of a
video do not matter. Then, over CELLS of the picture, quantiles of the logarithm: mean, maximum and
spread over the frames.
"""

from __future__ import annotations

import cv2
import numpy as np

from gfvad.encoders.registry import UnitEncoder
from gfvad.encoders.units import Unit

SIDE = 192  # pixels of the width that flow is taken at
CELLS = (20, 12)  # columns, rows
QUANTILES = (0.5, 0.75, 0.9, 0.97, 1.0)
DIRECTIONS = 8
# added before the logarithm: below it is noise; % of the width a second, the same a second, grey
# levels
FLOOR = {"flow": 0.5, "change": 5.0, "difference": 0.5}
STATISTICS = 3 * len(QUANTILES)  # of one kind
SMALLEST = 16  # pixels a side that DIS needs


class Motion(UnitEncoder):
    """Flow, change of flow, frame difference [15 each], directions [10], camera [2]."""

    name = modality = "motion"
    width = 3 * STATISTICS + DIRECTIONS + 2 + 2

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [width]. A single frame without one before it has no motion: the values of
        stillness."""
        before = [] if unit.before is None else [unit.before]
        frames = [grey(f) for f in (*before, *unit.frames)]
        seconds = max((unit.end - unit.start) / len(unit.frames), 1e-3)  # a frame
        flows, differences = [], []
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        for last, frame in zip(frames, frames[1:]):
            # the library's stubs know no None
            flow = dis.calc(last, frame, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
            flows.append(flow * (100.0 / frame.shape[1] / seconds))
            differences.append(cells(np.abs(frame.astype(np.float32) - last)))
        return statistics(np.array(flows), np.array(differences), seconds)


def grey(rgb: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] -> uint8 [h', SIDE], never enlarged but for DIS' smallest size."""
    h, w = rgb.shape[:2]
    scale = min(1.0, SIDE / w)
    size = max(round(w * scale), SMALLEST), max(round(h * scale), SMALLEST)
    return cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


def cells(x: np.ndarray) -> np.ndarray:
    """Means over the cells of a picture, [h, w] -> [12, 20]."""
    return cv2.resize(x.astype(np.float32), CELLS, interpolation=cv2.INTER_AREA)


def statistics(flows: np.ndarray, differences: np.ndarray, seconds: float) -> np.ndarray:
    """Flows [T, h, w, 2] in % of the width a second and differences [T, 12, 20] in grey levels
    -> float32 [Motion.width]."""
    still = np.zeros(CELLS[::-1], np.float32)
    if not len(flows):
        flows, differences = np.zeros((1, 1, 1, 2), np.float32), still[None]
    camera = np.median(flows, axis=(1, 2))  # [T, 2]
    own = flows - camera[:, None, None]
    speed = np.hypot(own[..., 0], own[..., 1])
    change = np.diff(flows, axis=0) / seconds
    changes = [cells(np.hypot(*x.transpose(2, 0, 1))) for x in change] or [still]
    pan = np.hypot(*camera.T)
    parts = [
        spread(np.stack([cells(s) for s in speed]), FLOOR["flow"]),
        spread(np.stack(changes), FLOOR["change"]),
        spread(differences, FLOOR["difference"]),
        directions(own, speed),
        np.log([pan.mean() + FLOOR["flow"], pan.max() + FLOOR["flow"]]),
    ]
    return np.concatenate(parts).astype(np.float32)


def spread(x: np.ndarray, floor: float) -> np.ndarray:
    """Maps [T, a, b] -> of the logarithm of each quantile over the map: mean, maximum, standard
    deviation over frames [3 * quantiles]."""
    q = np.log(np.quantile(x.reshape(len(x), -1), QUANTILES, axis=1).T + floor)  # [T, Q]
    return np.concatenate([q.mean(0), q.max(0), q.std(0)])


def directions(flow: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Share of the motion in each direction, from the least to the largest (a mirrored or turned
    picture is the same), their entropy and their change in time: [10]."""
    turns = (np.arctan2(flow[..., 1], flow[..., 0]) + np.pi) / (2 * np.pi)
    place = np.floor(turns * DIRECTIONS).astype(int) % DIRECTIONS
    share = lambda p, s: np.bincount(p.ravel(), s.ravel(), DIRECTIONS) / s.size
    rows = np.stack([share(p, s) for p, s in zip(place, speed)])
    shares = rows / (rows.sum(1, keepdims=True) + FLOOR["flow"] / 100)
    entropy = -(shares * np.log(shares + 1e-6)).sum(1).mean()
    return np.concatenate([np.sort(shares.mean(0)), [entropy, shares.std(0).mean()]])
