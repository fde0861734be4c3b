"""The score of the predictive model: terms of what could not be predicted, calibrated on normal
video, added up. Pure numpy, float32 maps.

A term is a map [T, g, g'] (or, for descriptions, a vector a frame) that becomes one number a frame:
  map     median over `temporal` frames, mean over `spatial` x `spatial` cells, then the largest
          cell (relation: the mean over cells; bank: over the half that is newest)
  vector  mean over `text_frames` frames, then its Mahalanobis length under the training residuals
and is calibrated by held-out normal video: z = (x - mean) / std, then log(1 + softplus(z)), so that
a term says how far outside of the normal a frame is, and one term that is very far does not drown
the others. The score is the weighted sum. Windows are centred at the frame, or end at it (causal).
Terms (ours, but for appearance and semantic: MemoryOut, arXiv 2506.02535):
  appearance  error of the predicted pixels, root mean square in a cell
  pace        logit of "faster than the normal pace"
  flow        how much faster than predicted the optical flow is, pixels a frame
  speed       magnitude of the optical flow over the normal speed at that height of the picture;
              untrained but for that line
  relation    how far the statistics of a token's relations are from those of normal clips at that
              place, in standard deviations
  semantic    how far the next description is from the predicted one
  bank        how far each place of the picture is from the nearest training pictures, untrained
              (gfvad/tasks/prediction/picture_bank.py); it needs no motion
  frame       error of the whole frame, mean square over pixels and channels, without any window
  text        1 - cosine of the description, without any window
The last two are the authors' own terms as they are; they are left out unless score.terms names
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter, uniform_filter1d

from gfvad.tasks.prediction import picture_bank
from gfvad.tasks.prediction.picture_bank import NO_VIDEO, PictureBank

MAP_TERMS = ("appearance", "pace", "flow", "speed", "relation", "bank")
PLAIN_TERMS = ("frame", "text")
TERMS = (*MAP_TERMS, "semantic", *PLAIN_TERMS)
COARSE = ("relation", "bank")  # whose maps are of patches, not of cells
MOVING = 0.4  # pixels a frame above which a cell takes part in the normal speed
BLOCK = 64  # frames whose medians are taken at once
LEAST_CELLS = 300  # moving cells that a row of the picture needs to take part in it

Maps = Mapping[str, np.ndarray]


class Readings(NamedTuple):
    """What the model (and the flow) said of the frames of one video, before any calibration."""

    # appearance, pace, flow, speed [T, g, g']; relation [T, rows, columns, 4]; pictures: small
    # ones, uint8 [T, height, width], or bank: what was made of them, once compared
    maps: Maps
    semantic: np.ndarray | None  # [T, V]
    text: np.ndarray | None  # [T] 1 - cosine of the description, as in the paper
    own: int = NO_VIDEO  # index of the training video that this is


class Calibration(NamedTuple):
    """What normal video is like. All of it from training videos; mean and std from those that
    were held out."""

    speed: np.ndarray  # [g] normal speed at each row of cells
    relation: tuple[np.ndarray, np.ndarray] | None  # mean, std [rows, columns, 4]
    semantic: tuple[np.ndarray, np.ndarray] | None  # mean [V], inverse covariance [V, V]
    mean: dict[str, float]  # of each term's frame values
    std: dict[str, float]
    bank: PictureBank | None = None  # of videos the model was trained on


def fit(
    training: Sequence[Readings],
    held_out: Sequence[Readings],
    cfg: Any,
    bank: PictureBank | None = None,
) -> Calibration:
    """Calibration from videos the model was trained on and, for the spread of frame values,
    videos it was not. cfg: config.score; bank: of training pictures."""
    speed, relation, semantic = np.ones(1), None, None
    if "speed" in training[0].maps:
        speed = normal_speed(np.concatenate([r.maps["speed"] for r in training]))
    if "relation" in training[0].maps:
        rows = np.concatenate([r.maps["relation"] for r in training])
        relation = rows.mean(0), rows.std(0) + 1e-3
    said = [r.semantic for r in training if r.semantic is not None]
    if said:
        residuals = np.concatenate(said).astype(np.float64)
        covariance = np.atleast_2d(np.cov(residuals.T)) + cfg.ridge * np.eye(residuals.shape[1])
        semantic = residuals.mean(0), np.linalg.inv(covariance)
    bare = Calibration(speed, relation, semantic, {}, {}, bank)
    values = [frame_values(r, bare, cfg) for r in held_out]
    joined = {name: np.concatenate([v[name] for v in values]) for name in values[0]}
    if "bank" in joined:  # which was learnt by nothing: each training video is new to the others
        seen = [frame_values(only_bank(r), bare, cfg)["bank"] for r in training]
        joined["bank"] = np.concatenate([joined["bank"], *seen])
    return bare._replace(
        mean={n: float(x.mean()) for n, x in joined.items()},
        std={n: float(x.std() + 1e-6) for n, x in joined.items()},
    )


def compared(readings: Readings, bank: PictureBank | None) -> Readings:
    """Readings with the novelty of each place in the place of the pictures; without a bank,
    without them. As they are where that is done already."""
    maps = {name: x for name, x in readings.maps.items() if name != "pictures"}
    if bank is not None and "pictures" in readings.maps:
        maps["bank"] = bank.novelty(readings.maps["pictures"], readings.own)
    return readings._replace(maps=maps)


def only_bank(readings: Readings) -> Readings:
    """Readings without all other terms."""
    maps = {n: x for n, x in readings.maps.items() if n in ("pictures", "bank")}
    return Readings(maps, None, None, readings.own)


def normal_speed(speed: np.ndarray) -> np.ndarray:
    """Median speed of moving cells as a line over the rows of the picture (perspective): [T, g,
    g'] -> [g], pixels a frame, at least 0.1."""
    rows = np.arange(speed.shape[1])
    moving = speed > MOVING
    counts = moving.sum((0, 2))
    used = rows[counts >= LEAST_CELLS]
    if len(used) < 2:
        return np.ones(len(rows), np.float32)
    medians = [np.median(speed[:, i][moving[:, i]]) for i in used]
    line = np.polyval(np.polyfit(used, medians, 1, w=np.sqrt(counts[used])), rows)
    return np.maximum(line, 0.1).astype(np.float32)


def term_maps(readings: Readings, calibration: Calibration) -> dict[str, np.ndarray]:
    """Each map term of a video as a map [T, g, g'] in its own unit (relation: standard
    deviations), without windows."""
    there = compared(readings, calibration.bank).maps
    found = {name: there[name] for name in MAP_TERMS if name in there}
    if "speed" in found:
        found["speed"] = found["speed"] / calibration.speed[:, None]
    if "relation" in found and calibration.relation is not None:
        mean, std = calibration.relation
        found["relation"] = np.abs((found["relation"] - mean) / std).mean(-1)
    return found | {name: np.sqrt(found[name]) for name in ("appearance", "flow") if name in found}


def windowed(maps: Maps, cfg: Any, temporal: int | None = None) -> dict[str, np.ndarray]:
    """Median over frames, then mean over cells of each map of one video [T, g, g']; temporal:
    instead of cfg.temporal."""
    frames = cfg.temporal if temporal is None else temporal
    sides = {name: 1 if name in COARSE else cfg.spatial for name in maps}
    return {n: cell_mean(time_median(x, frames, cfg.causal), sides[n]) for n, x in maps.items()}


def time_median(x: np.ndarray, frames: int, causal: bool) -> np.ndarray:
    """Median over `frames` frames [T, ...], ends mirrored; causal: of the frame and those before
    it, the first one repeated."""
    if frames <= 1:
        return x
    before, mode = (frames - 1, "edge") if causal else (frames // 2, "symmetric")
    around = [(before, frames - 1 - before), *[(0, 0)] * (x.ndim - 1)]
    windows = np.lib.stride_tricks.sliding_window_view(  # [T, ..., frames]
        np.pad(x, around, mode=mode), frames, axis=0
    )
    middle = frames // 2  # by blocks, for the windows of a long video would not fit into memory
    blocks = (windows[t : t + BLOCK] for t in range(0, len(x), BLOCK))
    return np.concatenate([np.partition(w, middle, axis=-1)[..., middle] for w in blocks])


def time_mean(x: np.ndarray, frames: int, causal: bool) -> np.ndarray:
    """Mean over `frames` frames [T, ...], ends repeated; causal: of the frame and those before
    it."""
    shift = (frames - 1) // 2 if causal else 0
    return x if frames <= 1 else uniform_filter1d(x, frames, 0, mode="nearest", origin=shift)


def cell_mean(x: np.ndarray, side: int) -> np.ndarray:
    """Mean over side x side cells around each [T, g, g'], edges repeated."""
    sides: Any = (1, side, side)  # which the stub of scipy does not know
    return x if side <= 1 else uniform_filter(x, sides, mode="nearest")


def frame_values(
    readings: Readings, calibration: Calibration, cfg: Any, instant: bool = False
) -> dict[str, np.ndarray]:
    """Each term that a video has as one number a frame [T], in its own unit, also those that
    score.terms leaves out. instant: without windows in time, as the paper's scores are."""
    maps = windowed(term_maps(readings, calibration), cfg, 1 if instant else None)
    return values_of(maps, readings, calibration, cfg, instant)


def values_of(
    maps: Maps, readings: Readings, calibration: Calibration, cfg: Any, instant: bool = False
) -> dict[str, np.ndarray]:
    """`frame_values` of maps that have had their windows."""
    largest = lambda x: x.max((1, 2))
    by = {"relation": lambda x: x.mean((1, 2)), "bank": picture_bank.newest}
    values = {name: by.get(name, largest)(x) for name, x in maps.items()}
    if readings.semantic is not None and calibration.semantic is not None:
        mean, precision = calibration.semantic
        x = time_mean(readings.semantic - mean, 1 if instant else cfg.text_frames, cfg.causal)
        values["semantic"] = np.sqrt(np.maximum(np.einsum("td,de,te->t", x, precision, x), 0.0))
    plain = plain_values(readings)
    values |= {name: plain[name] for name in PLAIN_TERMS if name in cfg.terms and name in plain}
    return {name: values[name] for name in TERMS if name in values}


def plain_values(readings: Readings) -> dict[str, np.ndarray]:
    """The authors' two terms [T]: mean squared error of the frame and 1 - cosine of the
    description, as far as they are there."""
    found = {}
    if "appearance" in readings.maps:
        found["frame"] = readings.maps["appearance"].mean((1, 2), dtype=np.float64)
    return found if readings.text is None else found | {"text": readings.text}


def evidence(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    """log(1 + softplus(z)), z = (x - mean) / std, of values in a term's own unit: about log(1 +
    z) far above the normal, never equal for two values."""
    return np.log1p(np.logaddexp(0.0, (np.asarray(x, np.float64) - mean) / std))


def calibrated(
    values: Mapping[str, np.ndarray], calibration: Calibration, names: Sequence[str] = TERMS
) -> dict[str, np.ndarray]:
    """Frame values [T] a term -> evidence [T] of the terms `names`, as far as they are there."""
    mean, std = calibration.mean, calibration.std
    return {n: evidence(values[n], mean[n], std[n]) for n in names if n in values}


def combine(terms: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Weighted sum of the terms [T]."""
    return np.asarray(sum(weights[name] * x for name, x in terms.items()))


def heat(
    readings: Readings, calibration: Calibration, weights: Mapping[str, float], cfg: Any
) -> dict[str, np.ndarray]:
    """Maps of evidence [T, g, g'] of each term that has a place, and 'total', their weighted sum.

    relation is left out: its frame value is a mean over the picture, so its calibration says
    nothing of a single place. The bank counts where no other term does: its places are coarse.
    """
    return heat_of(windowed(term_maps(readings, calibration), cfg), calibration, weights)


def heat_of(
    maps: Maps, calibration: Calibration, weights: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """`heat` of maps that have had their windows."""
    weights = place_weights(weights)
    cells = maps["appearance"].shape
    found = {
        name: x if x.shape == cells else spread_patches(x, cells[1:])
        for name, x in calibrated(maps, calibration, tuple(weights)).items()
    }
    # all that is left of a score of descriptions alone
    nothing = np.zeros(cells)
    return found | {"total": nothing + combine(found, weights)}


def spread_patches(x: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Values of patches [T, rows, columns] at each cell [T, g, g']: the patch's that its middle
    lies in."""
    rows, columns = (
        ((np.arange(cells) + 0.5) * patches / cells).astype(int)
        for cells, patches in zip(grid, x.shape[1:])
    )
    return x[:, rows[:, None], columns]


def place_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights of the terms in a map. Beside speed, flow counts as much: of a place, two estimates
    of one quantity are better than one.

    (In the score of a frame they would count one piece of evidence twice, so there flow is left out
    by default.)
    """
    found = {name: w for name, w in weights.items() if name in MAP_TERMS and name != "relation"}
    if "frame" in weights:
        found.setdefault("appearance", weights["frame"])
    if any(w for name, w in found.items() if name != "bank"):
        found.pop("bank", None)  # its places are too coarse to say where something moves
    return {"flow": found["speed"]} | found if "speed" in found else found
