"""What an evaluation of the predictive model says beside its scores: the share of each term, the
floors, pixel-level metrics, where frames are ordered wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ScoredVideo
from gfvad.data.frames.clip_data import ClipData
from gfvad.data.frames.truth import Truth
from gfvad.measure import flow_floors, map_cells, pixel, score_shapes
from gfvad.measure.breakdown import pairs_lost
from gfvad.measure.metrics import roc_auc
from gfvad.measure.paired import Beside
from gfvad.tasks.prediction import score_terms
from gfvad.tasks.prediction.picture_bank import small_pictures
from gfvad.tasks.prediction.score_rule import ScoreRule, streaming
from gfvad.tasks.prediction.term_weights import Chosen

NEAREST = "floor/nearest training picture in grey, 32 x 16 pixels"
PAPER_SIGMA = 5.0  # frames, the authors' on Ped2


Frames = list[np.ndarray]  # V x [T]


@dataclass
class Report:
    """What an evaluation says of the scores of a test split."""

    config: ConfigDict
    data: ClipData  # the test split
    truth: Truth
    scorer: ScoreRule
    readings: list[score_terms.Readings]  # one a test video
    rule: str  # what chose the checkpoint

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the terms of the score."""
        return self.scorer.chosen.weights

    @cached_property
    def terms(self) -> list[dict[str, np.ndarray]]:
        """Calibrated terms of every test video, also those that score.terms leaves out."""
        return self.term_scores(self.config.score, self.scorer.calibration)

    def term_scores(
        self, cfg: Any, calibration: score_terms.Calibration
    ) -> list[dict[str, np.ndarray]]:
        """`terms` by another calibration."""
        return [
            score_terms.calibrated(score_terms.frame_values(r, calibration, cfg), calibration)
            for r in self.readings
        ]

    def combined(self, terms: Sequence[Mapping[str, np.ndarray]], left_out: str = "") -> Frames:
        """Scores from the terms of every video, without one of them."""
        names = [name for name in self.weights if name != left_out]
        return [score_terms.combine({n: t[n] for n in names}, self.weights) for t in terms]

    @cached_property
    def videos(self) -> list[ScoredVideo]:
        """Frame scores with what the ground truth says."""
        truth = zip(self.truth.labels, self.truth.spans, self.data.fps)
        return [
            ScoredVideo(
                name, np.asarray(s, np.float64), y, int(y.any()), (), spans, (), 1, float(fps)
            )
            for name, s, (y, spans, fps) in zip(self.data.names, self.combined(self.terms), truth)
        ]

    @cached_property
    def heat(self) -> list[dict[str, np.ndarray]]:
        """Maps of each test video, 'total' among them."""
        return [
            score_terms.heat(r, self.scorer.calibration, self.weights, self.config.score)
            for r in self.readings
        ]

    def of_pixels(self, maps: Sequence[np.ndarray]) -> list[dict]:
        """Pixel-level metrics of maps of every video, where there are masks."""
        masks, config = self.truth.masks, self.config
        assert masks is not None
        pairs = enumerate(zip(self.data.names, maps))
        videos = [map_cells.MappedVideo(name, x, masks[i]) for i, (name, x) in pairs]
        return pixel.records(
            videos, checkpoint=self.rule, resamples=config.eval.bootstrap, seed=config.seed
        )

    def micro_auc(self, scores: Frames) -> float:
        """AUC over all frames pooled."""
        return float(roc_auc(np.concatenate(scores), np.concatenate(self.truth.labels)))

    def about(self) -> dict[str, Any]:
        """What results.json says besides the records."""
        named = self.compared() | {
            f"term alone/{n}": self.micro_auc([t[n] for t in self.terms]) for n in self.terms[0]
        }
        if self.truth.masks is not None:
            named |= self.floor_pixels()
        return weights_of(self.scorer) | {
            "ground_truth": self.truth.source,
            "named": named,
            "floor_commands": {
                name: f"train or evaluate with --config.score.terms={better_term(name)}"
                for name in self.floors
            },
            "tables": shown_tables(self.scorer.chosen, named, self.videos),
        }

    def authors_protocol(self) -> dict[str, float]:
        """Micro AUC by the authors' own two terms and protocol, under a name that states it: the
        error of the whole frame, 1 - cosine of the description, each min-max within a video (where
        they do so), smoothed, then their weighted sum; the first frames, which have too little
        before them, are left out."""
        cfg, data = self.config.score, self.config.data
        first = data.clip_frames * data.stride
        kept = [i for i, r in enumerate(self.readings) if len(r.maps["appearance"]) > first]
        columns = [
            [values[first:] for values in score_terms.plain_values(self.readings[i]).values()]
            for i in kept
        ]
        labels = [self.truth.labels[i][first:] for i in kept]
        if not kept or len(np.unique(np.concatenate(labels))) < 2:
            return {}
        weights, sigma = cfg.paper_weights[: len(columns[0])], cfg.paper_sigma
        scores = [
            authors_scores(terms, weights, sigma, min_max=cfg.paper_min_max) for terms in columns
        ]
        told = [f"{w:g} {name}" for w, name in zip(weights, ("frame error", "description"))]
        told += ["min-max a video"] * cfg.paper_min_max
        name = f"{', '.join(told)}, sigma {sigma:g}, first {first} frames left out"
        value = roc_auc(np.concatenate(scores), np.concatenate(labels))
        return {f"the authors' terms and protocol ({name})": float(value)}

    def flow_magnitudes(self) -> Frames:
        """Flow magnitude cells [T, a, b] of every test video; [] without flow, or with
        score.floors off."""
        flow = self.data.flow
        if flow is None or not self.config.score.floors:
            return []
        return [np.asarray(flow.video(i)[..., 2], np.float32) for i in range(len(self.data))]

    def flow_floors(self) -> Iterator[tuple[str, Frames]]:
        """(name, maps of every test video) of each score that flow alone gives."""
        flow = self.flow_magnitudes()
        for name, frames, side in flow_floors.FLOORS if flow else ():
            yield name, [flow_floors.flow_floor(x, frames, side) for x in flow]

    @cached_property
    def floors(self) -> dict[str, Frames]:
        """Frame scores of every test video that need no training: those of flow, and the distance
        of the whole grey picture to the nearest training picture."""
        found = {f"floor/{n}": [x.max((1, 2)) for x in maps] for n, maps in self.flow_floors()}
        bank = self.scorer.calibration.bank
        if bank is None or not self.config.score.floors:
            return found
        frames = (self.data.frames.video(i) for i in range(len(self.data)))
        return found | {NEAREST: [bank.nearest(small_pictures(x)) for x in frames]}

    def beside(self) -> Beside:
        """Frame scores of the floors, and of each term alone."""
        names = self.data.names
        singles = {
            f"term alone/{n}": dict(zip(names, (t[n] for t in self.terms), strict=True))
            for n in self.terms[0]
        }
        floors = {n: dict(zip(names, x, strict=True)) for n, x in self.floors.items()}
        return Beside(floors, singles)

    def floor_pixels(self) -> dict[str, float]:
        """Pixel-level metrics of each of those, by name."""
        found = {}
        for name, maps in self.flow_floors():
            wide = [np.pad(x, ((0, 0), (0, 1), (0, 1)), mode="edge") for x in maps]
            found |= {f"floor, {r['metric']}/{name}": r["value"] for r in self.of_pixels(wide)}
        return found

    def compared(self) -> dict[str, float]:
        """Micro AUC of everything beside the headline, by name: floors, terms alone, the score
        without each, other protocols."""
        weights, cfg, rule, auc = self.weights, self.config.score, self.scorer, self.micro_auc
        found: dict[str, float] = {}
        for name, scores in self.floors.items():
            found[name] = auc(scores)
            own = name.replace("floor/", "floor, paper protocol/")
            found[own] = auc(paper_scores([(1.0, scores)]))
        for name in weights if len(weights) > 1 else ():
            found[f"score without/{name}"] = auc(self.combined(self.terms, name))
        equal = dict.fromkeys(weights, 1.0)
        found["score with equal weights"] = auc(
            [score_terms.combine({n: t[n] for n in weights}, equal) for t in self.terms]
        )
        instant = [
            score_terms.frame_values(r, rule.calibration, cfg, instant=True) for r in self.readings
        ]
        used = [(w, [v[n] for v in instant]) for n, w in weights.items() if w > 0]
        found["score, paper protocol (each term min-max a video, sigma 5, then the sum)"] = auc(
            paper_scores(used)
        )
        found |= self.authors_protocol()
        causal = self.term_scores(streaming(cfg), rule.causal)
        found["score, causal windows (streaming)"] = auc(self.combined(causal))
        return found


def better_term(floor: str) -> str:
    """The term of the score that asks what a floor asks, and more."""
    return "bank" if floor == NEAREST else "speed"


def weights_of(rule: ScoreRule) -> dict[str, Any]:
    """What results.json says of the weights of the terms."""
    chosen = rule.chosen
    return {
        "weights": chosen.weights,
        "synthetic_auc": chosen.auc,
        "synthetic_auc_of_kinds": chosen.kinds,
    }


def paper_scores(columns: Sequence[tuple[float, Frames]]) -> Frames:
    """The paper's order: each term min-max a video, smoothed by a Gaussian of sigma 5, then the
    weighted sum."""
    shaped = [
        [w * score_shapes.gaussian(score_shapes.min_max(x), PAPER_SIGMA) for x in frames]
        for w, frames in columns
    ]
    return [np.asarray(sum(parts)) for parts in zip(*shaped)]


def authors_scores(
    terms: Sequence[np.ndarray], weights: Sequence[float], sigma: float, min_max: bool
) -> np.ndarray:
    """The authors' score of a video [T]: each term brought to 0..1 where they do so, smoothed by a
    Gaussian, then their weighted sum."""
    shape = score_shapes.min_max if min_max else score_shapes.none
    smoothed = [score_shapes.gaussian(shape(np.asarray(x, np.float64)), sigma) for x in terms]
    return np.asarray(sum(w * x for w, x in zip(weights, smoothed, strict=True)))


def misses(videos: Sequence[ScoredVideo]) -> list[list[str]]:
    """A row a test video: AUC within it, the share of all wrongly ordered pairs of frames that
    its frames take part in, and the worst frames."""
    scores = np.concatenate([v.scores for v in videos])
    labels = np.concatenate([v.labels for v in videos]).astype(bool)
    lost = [pairs_lost(v, np.sort(scores[~labels]), np.sort(scores[labels])) for v in videos]
    total, rows = sum(x.sum() for x, _ in lost) or 1.0, []
    for video, pair in zip(videos, lost):
        y = video.labels.astype(bool)
        within = f"{roc_auc(video.scores, video.labels):.4f}" if y.any() and not y.all() else "-"
        rows.append([video.name, f"{int(y.sum())}", f"{int((~y).sum())}", within])
        for x in pair:  # missed frames, false alarms
            worst = [str(i + 1) for i in np.argsort(-x, kind="stable")[:3] if x[i] > 0]
            rows[-1] += [f"{100 * x.sum() / total:.1f} %", ", ".join(worst) or "-"]
    return rows


def shown_tables(
    chosen: Chosen, named: Mapping[str, float], videos: Sequence[ScoredVideo]
) -> list[dict[str, Any]]:
    """The tables of results.md: terms, what was measured beside the headline, misses."""
    alone = {n: f"{x:.4f}" for n, x in chosen.alone.items()}
    of_kinds = chosen.kinds
    weights = [
        [
            n,
            f"{w:g}",
            *(f"{of_kinds[kind][n]:.3f}" for kind in of_kinds),
            alone.get(n, "given"),
            f"{named[f'term alone/{n}']:.4f}",
        ]
        for n, w in chosen.weights.items()
    ]
    header = "video|abnormal|normal|AUC within|missed|worst frames|false alarms|worst frames"
    values = [[n, f"{v:.4f}"] for n, v in named.items() if v is not None]
    tables = {
        "Terms of the score: weights chosen on synthetic events in held-out normal video": (
            "|".join(["term|weight", *of_kinds, "AUC alone, all synthetic events|AUC alone, test"]),
            weights,
        ),
        "Beside the headline: micro frame AUC (pixel metrics as named)": ("what|value", values),
        "Where pairs of frames are ordered wrongly": (header, misses(videos)),
    }
    return [
        {"title": title, "header": header.split("|"), "rows": rows}
        for title, (header, rows) in tables.items()
    ]
