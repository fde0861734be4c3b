"""What an evaluation of the predictive model writes: results.json, results.md, scores.npz,
figures; the floors and the share of each term beside the score."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base import run_files
from gfvad.base.types import ScoredVideo
from gfvad.data.frames.source import ClipData
from gfvad.data.frames.truth import Truth
from gfvad.measure import finite, flow_floors, pixel, protocols, results, tables, whole_clips
from gfvad.measure.breakdown import pairs_lost
from gfvad.measure.metrics import roc_auc
from gfvad.settings import config as config_lib
from gfvad.tasks.fusion.job import device_name
from gfvad.tasks.prediction import pictures, score_terms
from gfvad.tasks.prediction.term_weights import Chosen

PAPER_SIGMA = 5.0  # frames, the authors' on Ped2
PAPER_WEIGHTS = {"appearance": 0.8, "text": 0.2}  # the authors' on Ped2: pixels, description


class Report(NamedTuple):
    """All that a report is made of."""

    config: ConfigDict
    workdir: Path
    data: ClipData  # the test split
    truth: Truth
    calibration: score_terms.Calibration
    causal: score_terms.Calibration  # the same for windows that end at the frame
    chosen: Chosen
    readings: list[score_terms.Readings]  # one a test video
    rule: str  # what chose the checkpoint
    mapper: Any
    started: float
    alarm: tuple[float, str]  # alarm threshold, and how it was made
    extra: Mapping[str, Any] = {}  # what results.json says besides: of the data, by content


Frames = list[np.ndarray]  # V x [T]


def write(report: Report, reader: Any, state: Any, say: Callable[[str], None]) -> None:
    """Evaluates every protocol, writes all files of the run and prints the tables."""
    config, folder = report.config, report.workdir
    every = term_scores(report, config.score, report.calibration)
    parts = in_score(every, report.chosen.weights)
    videos = scored_videos(report, [score_terms.combine(p, report.chosen.weights) for p in parts])
    finite.require(folder / "scores.npz", videos)
    say(f"evaluating every protocol, {config.eval.bootstrap} bootstrap resamples")
    records = protocols.protocol_matrix(
        videos, config.eval, None, checkpoint=report.rule, seed=config.seed
    )
    records += whole_clips.records(
        videos, report.alarm, report.rule, config.eval.bootstrap, config.seed
    )
    heat = [
        score_terms.heat(r, report.calibration, report.chosen.weights, config.score)
        for r in report.readings
    ]
    named = compare(report, parts) | {
        f"term alone/{n}": micro_auc(report, [p[n] for p in every]) for n in every[0]
    }
    if report.truth.masks is not None:
        say("pixel metrics")
        records += pixel_records(report, [h["total"] for h in heat])
        named |= floor_pixels(report)
    meta = describe(report, named, videos)
    scores = folder / "scores.npz"
    with run_files.run(folder).staged(last="results.json") as staging:
        results.write_scores(staging / scores.name, videos)
        tree = results.write_results(staging / "results.json", records, meta)
        results.atomically(
            staging / "results.md", lambda file: file.write(tables.markdown(tree).encode())
        )
    run_files.run(folder).claim(
        f"figures/{kind}" for v in videos for kind in (f"heat_{v.name}.png", f"clip_{v.name}.mp4")
    )
    drawn = pictures.draw(report, videos, parts, heat, reader, state) if config.eval.figures else []
    run_files.drawn(folder, drawn)
    tables.print_table(tree)
    print(f"\nresults  {folder / 'results.json'}, {folder / 'results.md'}\nscores   {scores}")
    if drawn:
        print(f"figures  {', '.join(str(path) for path in drawn)}")


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
        [w * protocols.gaussian(protocols.min_max(x), PAPER_SIGMA) for x in frames]
        for w, frames in columns
    ]
    return [sum(parts) for parts in zip(*shaped)]


def compare(report: Report, parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Micro AUC of everything beside the headline, by name: floors, terms alone, the score
    without each, other protocols."""
    weights, cfg = report.chosen.weights, report.config.score
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
        score_terms.frame_values(r, report.calibration, cfg, instant=True) for r in report.readings
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
    causal = in_score(term_scores(report, other, report.causal), weights)
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
        pixel.MappedVideo(n, m, report.truth.masks[i])
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


def misses(report: Report, videos: Sequence[ScoredVideo]) -> list[list[str]]:
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
        )  # noqa: E731
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


def describe(
    report: Report, named: Mapping[str, float], videos: Sequence[ScoredVideo]
) -> dict[str, Any]:
    """What results.json says besides the records."""
    config = report.config
    without_seed = config.copy_and_resolve_references()
    without_seed.seed = without_seed.eval.bootstrap = 0
    chosen = report.chosen
    weights = [
        [
            n,
            f"{w:g}",
            f"{chosen.alone[n]:.4f}" if n in chosen.alone else "given",
            f"{named[f'term alone/{n}']:.4f}",
        ]
        for n, w in chosen.weights.items()
    ]
    shown = [
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
            "header": [
                "video",
                "abnormal",
                "normal",
                "AUC within",
                "missed",
                "worst frames",
                "false alarms",
                "worst frames",
            ],
            "rows": misses(report, videos),
        },
    ]
    inputs = (
        ["frames"]
        + ["differences"] * config.model.motion
        + ["flow"] * config.data.flow
        + ["descriptions"] * bool(report.data.text_width)
    )
    return {
        "dataset": config.data.dataset,
        "split": config.data.test_name,
        "ground_truth": report.truth.source,
        "ground_truth_frames": sum(len(v.scores) for v in videos),
        "positive_frames": sum(int(v.labels.sum()) for v in videos),
        "seed": config.seed,
        "config_hash": config_lib.config_hash(config),
        "group": config_lib.config_hash(without_seed),
        "label": " + ".join(inputs) + (f" ({config.variant})" if config.variant else ""),
        "device": device_name(report.mapper),
        "wall_seconds": time.monotonic() - report.started,
        "metric": config.eval.metric,
        "config": config.to_dict(),
        "weights": chosen.weights,
        "synthetic_auc": chosen.auc,
        "named": dict(named),
        "tables": shown,
        **report.extra,
    }
