"""What an evaluation of the predictive model says beside its scores: the share of each term, the
floors, pixel-level metrics, where frames are ordered wrongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from gfvad.tasks.prediction import score_terms
from gfvad.tasks.prediction.scorer import Scorer
from gfvad.tasks.prediction.term_weights import Chosen

PAPER_SIGMA = 5.0  # frames, the authors' on Ped2
PAPER_WEIGHTS = {"appearance": 0.8, "text": 0.2}  # the authors' on Ped2: pixels, description


Frames = list[np.ndarray]  # V x [T]


@dataclass
class Report:
    """What an evaluation says of the scores of a test split."""

    config: ConfigDict
    data: ClipData  # the test split
    truth: Truth
    scorer: Scorer
    readings: list[score_terms.Readings]  # one a test video
    rule: str  # what chose the checkpoint

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the terms of the score."""
        return self.scorer.chosen.weights

    @cached_property
    def terms(self) -> list[dict[str, np.ndarray]]:
        """Calibrated terms of every test video, also those that score.terms leaves out."""
        return term_scores(self, self.config.score, self.scorer.calibration)

    @cached_property
    def videos(self) -> list[ScoredVideo]:
        """Frame scores with what the ground truth says."""
        scores = [score_terms.combine(p, self.weights) for p in in_score(self.terms, self.weights)]
        return scored_videos(self, scores)

    @cached_property
    def heat(self) -> list[dict[str, np.ndarray]]:
        """Maps of each test video, 'total' among them."""
        return [
            score_terms.heat(r, self.scorer.calibration, self.weights, self.config.score)
            for r in self.readings
        ]

    def pixel_records(self, say: Callable[[str], None]) -> list[dict]:
        """Pixel-level metrics of the score's maps; [] without masks."""
        if self.truth.masks is None:
            return []
        say("pixel metrics")
        return pixel_records(self, [h["total"] for h in self.heat])

    def about(self) -> dict[str, Any]:
        """What results.json says besides the records."""
        named = compare(self, in_score(self.terms, self.weights)) | {
            f"term alone/{n}": micro_auc(self, [p[n] for p in self.terms]) for n in self.terms[0]
        }
        if self.truth.masks is not None:
            named |= floor_pixels(self)
        chosen = self.scorer.chosen
        return {
            "ground_truth": self.truth.source,
            "weights": chosen.weights,
            "synthetic_auc": chosen.auc,
            "named": named,
            "tables": shown_tables(chosen, named, self.videos),
        }


def term_scores(
    report: Report, cfg: Any, calibration: score_terms.Calibration
) -> list[dict[str, np.ndarray]]:
    """Calibrated terms of every test video, also those that score.terms leaves out."""
    return [
        score_terms.calibrated(score_terms.frame_values(r, calibration, cfg), calibration)
        for r in report.readings
    ]


def in_score(
    parts: Sequence[Mapping[str, np.ndarray]], weights: Mapping[str, float]
) -> list[dict[str, np.ndarray]]:
    """The terms that the score is made of."""
    return [{name: p[name] for name in weights} for p in parts]


def scored_videos(report: Report, scores: Sequence[np.ndarray]) -> list[ScoredVideo]:
    """Frame scores with what the ground truth says."""
    return [
        ScoredVideo(name, np.asarray(s, np.float64), y, int(y.any()), (), spans, (), 1, float(fps))
        for name, s, y, spans, fps in zip(
            report.data.names, scores, report.truth.labels, report.truth.spans, report.data.fps
        )
    ]


def micro_auc(report: Report, scores: Frames) -> float:
    """AUC over all frames pooled."""
    return float(roc_auc(np.concatenate(scores), np.concatenate(report.truth.labels)))


def paper_scores(columns: Sequence[tuple[float, Frames]]) -> Frames:
    """The paper's order: each term min-max a video, smoothed by a Gaussian of sigma 5, then the
    weighted sum."""
    shaped = [
        [w * score_shapes.gaussian(score_shapes.min_max(x), PAPER_SIGMA) for x in frames]
        for w, frames in columns
    ]
    return [sum(parts) for parts in zip(*shaped)]


def compare(report: Report, parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Micro AUC of everything beside the headline, by name: floors, terms alone, the score
    without each, other protocols."""
    weights, cfg = report.weights, report.config.score
    flow = flow_magnitudes(report)
    found: dict[str, float] = {}
    for name, frames, side in flow_floors.FLOORS if flow is not None else ():
        scores = [flow_floors.flow_floor(m, frames, side).max((1, 2)) for m in flow]
        found[f"floor/{name}"] = micro_auc(report, scores)
        found[f"floor, paper protocol/{name}"] = micro_auc(report, paper_scores([(1.0, scores)]))
    for name in weights if len(weights) > 1 else ():
        found[f"score without/{name}"] = micro_auc(
            report,
            [
                score_terms.combine({n: x for n, x in p.items() if n != name}, weights)
                for p in parts
            ],
        )
    found["score with equal weights"] = micro_auc(
        report, [score_terms.combine(p, dict.fromkeys(p, 1.0)) for p in parts]
    )
    instant = [
        score_terms.frame_values(r, report.scorer.calibration, cfg, instant=True)
        for r in report.readings
    ]
    found["score, paper protocol (each term min-max a video, sigma 5, then the sum)"] = micro_auc(
        report, paper_scores([(w, [v[n] for v in instant]) for n, w in weights.items() if w > 0])
    )
    paper = {
        "appearance": [v["appearance"] for v in instant] if "appearance" in instant[0] else None
    }
    paper["text"] = (
        [r.text for r in report.readings] if report.readings[0].text is not None else None
    )
    own = [(PAPER_WEIGHTS[n], x) for n, x in paper.items() if x is not None]
    if own:
        found["the paper's own two terms, paper protocol (0.8 pixels, 0.2 description)"] = (
            micro_auc(report, paper_scores(own))
        )
    other = cfg.copy_and_resolve_references()
    other.causal = True
    causal = in_score(term_scores(report, other, report.scorer.causal), weights)
    found["score, causal windows (streaming)"] = micro_auc(
        report, [score_terms.combine(p, weights) for p in causal]
    )
    return found


def flow_magnitudes(report: Report) -> list[np.ndarray] | None:
    """Flow magnitude cells [T, a, b] of every test video; None without flow, or with
    score.floors off."""
    flow = report.data.flow
    return (
        None
        if flow is None or not report.config.score.floors
        else [np.asarray(flow.video(i)[..., 2], np.float32) for i in range(len(report.data))]
    )


def pixel_records(report: Report, maps: Sequence[np.ndarray]) -> list[dict]:
    """Pixel-level metrics of the score's maps."""
    videos = [
        map_cells.MappedVideo(n, m, report.truth.masks[i])
        for i, (n, m) in enumerate(zip(report.data.names, maps))
    ]
    return pixel.records(
        videos,
        checkpoint=report.rule,
        resamples=report.config.eval.bootstrap,
        seed=report.config.seed,
    )


def floor_pixels(report: Report) -> dict[str, float]:
    """The same of each flow floor, by name."""
    flow, found = flow_magnitudes(report), {}
    for name, frames, side in flow_floors.FLOORS if flow is not None else ():
        maps = [
            np.pad(flow_floors.flow_floor(m, frames, side), ((0, 0), (0, 1), (0, 1)), mode="edge")
            for m in flow
        ]
        for record in pixel_records(report, maps):
            found[f"floor, {record['metric']}/{name}"] = record["value"]
    return found


def misses(videos: Sequence[ScoredVideo]) -> list[list[str]]:
    """A row a test video: AUC within it, the share of all wrongly ordered pairs of frames that
    its frames take part in, and the worst frames."""
    scores, labels = (
        np.concatenate([v.scores for v in videos]),
        np.concatenate([v.labels for v in videos]).astype(bool),
    )
    above, below = np.sort(scores[~labels]), np.sort(scores[labels])
    rows = []
    lost = [pairs_lost(v, above, below) for v in videos]
    total = sum(x.sum() for x, _ in lost) or 1.0
    for video, (missed, alarmed) in zip(videos, lost):
        y = video.labels.astype(bool)
        within = f"{roc_auc(video.scores, video.labels):.4f}" if y.any() and not y.all() else "-"
        worst = lambda x: (
            ", ".join(str(i + 1) for i in np.argsort(-x, kind="stable")[:3] if x[i] > 0) or "-"
        )
        rows.append(
            [
                video.name,
                f"{int(y.sum())}",
                f"{int((~y).sum())}",
                within,
                f"{100 * missed.sum() / total:.1f} %",
                worst(missed),
                f"{100 * alarmed.sum() / total:.1f} %",
                worst(alarmed),
            ]
        )
    return rows


def shown_tables(
    chosen: Chosen, named: Mapping[str, float], videos: Sequence[ScoredVideo]
) -> list[dict[str, Any]]:
    """The tables of results.md: terms, what was measured beside the headline, misses."""
    weights = [
        [
            n,
            f"{w:g}",
            f"{chosen.alone[n]:.4f}" if n in chosen.alone else "given",
            f"{named[f'term alone/{n}']:.4f}",
        ]
        for n, w in chosen.weights.items()
    ]
    misses_header = "video|abnormal|normal|AUC within|missed|worst frames|false alarms|worst frames"
    return [
        {
            "title": (
                "Terms of the score: weights chosen on synthetic events in held-out normal video"
            ),
            "header": ["term", "weight", "AUC alone, synthetic events", "AUC alone, test"],
            "rows": weights,
        },
        {
            "title": "Beside the headline: micro frame AUC (pixel metrics as named)",
            "header": ["what", "value"],
            "rows": [[n, f"{v:.4f}"] for n, v in named.items() if v is not None],
        },
        {
            "title": "Where pairs of frames are ordered wrongly",
            "header": misses_header.split("|"),
            "rows": misses(videos),
        },
    ]
