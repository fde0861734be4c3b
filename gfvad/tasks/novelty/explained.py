"""What a score of graph novelty comes from (measure/explained.py), exactly.

The score of a frame is a weighted sum over units v (objects or patches, and what passed along their
tracks) and terms t of standardised novelty, sum_v w_v sum_t a_tv (n_tv - c_tv), w_v being how much
unit v counts in the frame and a_tv the term's weight over its spread. What is usual, -sum w a c, is
the part of no cause. A term's novelty is -log of the mean of its nearest relations 1 / (1 + sum_m
d_m / s^2): it is divided among its feature sets m as their squared distances d_m are, the mean over
the nearest normal units. Parts of feature sets, and of units, add up to the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.base.types import DataError
from gfvad.data.company import Places, places_of, spread_beside
from gfvad.data.objects.features import window_bounds
from gfvad.data.objects.tracks import Tracks
from gfvad.data.unit_videos import UnitVideo
from gfvad.fusion.words import product_said
from gfvad.measure.explained import Relation
from gfvad.tasks.novelty.model import APART, BANK
from gfvad.tasks.novelty.opened import OpenedModel
from gfvad.tasks.novelty.score import FrameScore, frame_scores, most_unusual, new_parts

USUAL = "of what is usual"


class Seen(NamedTuple):
    """The units that the score of a frame depends on, with what the model says of them."""

    frame: int  # whose score it is
    source: int  # of the picture that it holds for
    features: Mapping[str, np.ndarray]  # set -> float32 [n, D]
    code: np.ndarray  # int32 [n] camera, or which bank
    units: UnitVideo  # of these n alone
    novelty: np.ndarray  # float64 [n, terms]
    found: FrameScore
    weight: np.ndarray  # float64 [n] how much each counts in the frame

    @property
    def score(self) -> float:
        """Of the frame."""
        return float(self.found.score[self.frame])


def seen_at(run: Any, index: int, at: float | None) -> Seen:
    """A frame of a test video: at so many seconds, or that with the highest score."""
    model, test = run.model, run.test
    assert isinstance(model, OpenedModel)
    whole = model.score(test, index)
    frame = int(np.argmax(whole.score))
    if at is not None:
        fps = test.fps(index)
        if not 0 <= at < len(whole.score) / fps:
            raise DataError(
                f"{test.names[index]}: --at={at:g}: expected seconds of the video, 0 up to"
                f" {len(whole.score) / fps:.1f}"
            )
        frame = int(at * fps)
    units = test.units(index)
    source = frame
    if whole.unit[frame] >= 0:
        source = int(units.tracks.frame[whole.unit[frame]])
    near = np.abs(units.tracks.frame - source) <= int(model.config.score.reach)
    code = test.code(index, model.cameras, model.reader.several)
    features = {name: x[near] for name, x in test.features(index).items()}
    return looked_at(model, (frame, source), features, code[near], only(units, near))


def only(units: UnitVideo, kept: np.ndarray) -> UnitVideo:
    """Some units of a video; kept: bool [n]."""
    tracks = Tracks(*(x[kept] for x in units.tracks))
    return units._replace(tracks=tracks, group=units.group[kept])


def looked_at(
    model: OpenedModel,
    at: tuple[int, int],
    features: Mapping[str, np.ndarray],
    code: np.ndarray,
    units: UnitVideo,
) -> Seen:
    """What a model says of some units of a video; at: a frame, and that of its picture."""
    cfg, count = model.config.score, len(code)
    novelty = np.zeros((0, model.terms))
    if count:
        novelty = model.reader.read(model.state, features, code, new_parts(count))
        novelty = novelty[:, : model.terms]
    asked = cfg.beside > 0 and cfg.alike > 0
    first_set = features[model.config.data.modalities[0]] if asked else None
    found = frame_scores(novelty, units, model.calibration(), cfg, first=first_set)
    weight, (frame, source) = np.zeros(count), at
    if count and found.unit[frame] >= 0:
        chosen, counted = most_unusual(
            found.of_units, units.tracks.frame, units.group, float(cfg.highest)
        )
        first, last = window_bounds(units.tracks, int(cfg.reach))
        counts = np.zeros(count)
        here = units.tracks.frame[chosen] == source
        counts[chosen[here]] = counted[here]
        if cfg.beside > 0:
            counts = counts @ beside(units, source, cfg, first_set)
        for unit, share in ((int(u), counts[u]) for u in np.flatnonzero(counts)):
            window = slice(first[unit], last[unit])
            weight[window] += share / (last[unit] - first[unit] + float(cfg.prior))
    return Seen(*at, features, code, units, novelty, found, weight)


def beside(units: UnitVideo, frame: int, cfg: Any, first: np.ndarray | None) -> np.ndarray:
    """float64 [n, n]: how much each unit counts in what each of the units of a frame is given by
    those near it; 0 of other frames. first: of the first feature set, where it takes part."""
    here = np.flatnonzero(units.tracks.frame == frame)
    found, x = np.zeros((len(units.group),) * 2), None if first is None else first[here]
    places = Places(*(part[here] for part in places_of(units)))
    alike = float(cfg.alike) if first is not None else 1.0
    rows = spread_beside(np.eye(len(here)), places, float(cfg.beside), x, alike)
    found[np.ix_(here, here)] = rows
    return found


def per_term(model: OpenedModel, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """([n, terms] how much a step of novelty counts in the score, [n, terms] usual novelty)."""
    c, group = model.calibration(), seen.units.group
    steps = seen.weight[:, None] * c.weight / c.spread[group] / c.scale
    return steps, c.centre[group]


class Near(NamedTuple):
    """The nearest normal units of n units by one term."""

    index: np.ndarray  # int64 [n, k] in their bank
    relation: np.ndarray  # float64 [n, k]
    shares: dict[str, np.ndarray]  # set -> float64 [n] of the novelty; they sum to 1


def nearest(model: OpenedModel, seen: Seen, term: Sequence[str], rows: np.ndarray) -> Near:
    """Of the units at `rows`, in float64. Of several banks each unit has its own."""
    net, state = model.reader.model, model.state
    names = [name for name, _ in net.widths]
    kept = {n: np.asarray(x) for n, x in jax.device_get(state.constants[BANK]).items()}
    scale = np.asarray(net.scales) * np.exp(np.asarray(jax.device_get(state.params["scale"])))
    of_one = lambda name, row: kept[name][seen.code[row]] if net.banks > 1 else kept[name]
    indices, relations, shares = [], [], {name: [] for name in term}
    for row in rows:
        squares = {}
        for name in term:
            i = names.index(name)
            step = float(scale[i]) / np.asarray(of_one("spread", row), np.float64)[..., i]
            apart = (seen.features[name][row] - of_one(f"units_{name}", row)) * step
            squares[name] = (np.asarray(apart, np.float64) ** 2).sum(-1)  # [K]
        total = np.sum(list(squares.values()), 0)
        if set(term) & set(net.within):
            total = total + np.where(of_one("camera", row) == seen.code[row], 0.0, APART)
        closest = np.argsort(total, kind="stable")[: net.nearest]
        indices.append(closest)
        relations.append(1.0 / (1.0 + total[closest] / net.softness**2))
        known = np.stack([squares[name][closest] for name in term])  # [sets, k]
        sums = known.sum(0)
        even = np.full_like(known, 1.0 / len(term))
        parts = np.where(sums > 0, known / np.where(sums > 0, sums, 1.0), even).mean(1)
        for name, part in zip(term, parts, strict=True):
            shares[name].append(float(part))
    return Near(np.array(indices), np.array(relations), {n: np.array(x) for n, x in shares.items()})


def set_parts(model: OpenedModel, seen: Seen) -> dict[str, float]:
    """Parts of the feature sets, which add up to the score with the first one, USUAL."""
    sets = dict.fromkeys(model.config.data.modalities, 0.0)
    rows = np.flatnonzero(seen.weight)
    if not len(rows):
        return {USUAL: seen.score, **sets}
    steps, usual = per_term(model, seen)
    for t, term in enumerate(model.columns[: model.terms]):
        close = nearest(model, seen, term, rows)
        for name, share in close.shares.items():
            sets[name] += float((steps[rows, t] * seen.novelty[rows, t] * share).sum())
    return {USUAL: -float((steps * usual).sum()), **sets}


def relations_of(model: OpenedModel, seen: Seen) -> list[Relation]:
    """The terms in words; a share is that of the mean size of what a term adds to the units."""
    c = model.calibration()
    group = seen.units.group
    size = np.abs((seen.novelty - c.centre[group]) / c.spread[group] * c.weight)
    size = size.mean(0) if len(size) else c.weight
    total = max(float(size.sum()), 1e-12)
    terms = model.columns[: model.terms]
    found = [
        Relation(product_said(term), float(w), float(x / total))
        for term, w, x in zip(terms, c.weight, size, strict=True)
    ]
    return sorted(found, key=lambda r: -r.share)
