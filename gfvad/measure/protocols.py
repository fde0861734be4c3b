"""The protocol matrix: every score file under every aggregation, normalisation and smoothing; the
honest default is the headline.

Protocols that rank alike are computed once: training statistics are one rising straight line for
all frames, min-max one a video, and both smoothings keep straight lines, so that micro of 'train'
and macro of both have the values of 'none' (computed apart they differed in the rounding of ties).

Order of operations: normalise a video's frame scores, then smooth them, then aggregate. Videos are
taken one at a time and kept as run lengths (frames.py); where smoothing leaves no runs, one
protocol of 2.3 million frames peaks at about 0.2 GB beside the scores.

A record is a dict: metric, aggregation, normalisation, smoothing, checkpoint, value (null where
undefined), ci95 ([low, high] or null), n_videos and n_frames the value was taken over. Metrics:
  auc, ap, pr_trapezoid, eer     under every protocol
  far@0.5                        share of frames of normal videos scored 0.5 or more; scores in [0,
                                 1] as they come (no normalisation)
  auc_abnormal                   auc of the frames of abnormal videos alone: is the event found,
                                 apart from the video (micro, none, none)
  auc_video                      auc of whole videos, each by its highest score: is the alarm raised
                                 in the right videos (micro, none, none)
  latency_ap                     average precision whose recall asks how early an event is found,
                                 see latency.py (micro, none, none)
  brier, ece                     whether scores in [0, 1] are probabilities, see probability.py
                                 (micro, none, none)
  class_ap/NAME                  frames of that class against the frames of all normal videos and
                                 the normal frames of its own; other classes' abnormal frames are
                                 left out (micro, none, none; ours)
  map@0.1 .. map@0.5, map@avg    temporal localisation, see localisation.py (scores as they come; no
  interval)
Where every video is wholly normal or wholly abnormal, macro, min-max, auc_abnormal and map@ say
nothing and are left out; whole_clips.py has what says more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gfvad.base.types import DataError, ScoredVideo
from gfvad.measure import bootstrap, probability
from gfvad.measure.frames import Runs, compress, labels_from_spans, peak
from gfvad.measure.latency import latency_ap
from gfvad.measure.localisation import is_of_class, mean_average_precision
from gfvad.measure.metrics import RANKING, cumulative_counts, false_alarm_rate, ranking_metrics
from gfvad.measure.score_shapes import NORMALISATIONS, transform

Record = dict[str, Any]
FAR_THRESHOLD = 0.5
# checkpoint chosen on the labels it is evaluated with: an extra, never a headline
BEST_ON_TEST = "best-on-test"


def micro(
    runs: Sequence[Runs], resamples: int, seed: int
) -> dict[str, tuple[float, list[float] | None]]:
    """All frames of all videos pooled: metric -> (value, 95 % interval over videos)."""
    pooled = bootstrap.pool(list(runs))
    values = ranking_metrics(bootstrap.counts(pooled))
    drawn = bootstrap.draw(bootstrap.presence(pooled), resamples, seed)
    spread = bootstrap.resampled_ranking(pooled, drawn)
    return {
        name: (values[name], bootstrap.interval(values[name], spread[name], drawn))
        for name in RANKING
    }


def macro(
    runs: Sequence[Runs], resamples: int, seed: int
) -> dict[str, tuple[float, list[float] | None]]:
    """Mean over videos of each video's metric, with one normal and one abnormal frame added to each
    so that it is defined.

    The added normal frame scores below, the added abnormal one above every frame. Published code
    (Georgescu et al. 2021) gives them 0 and 1, which is the same unless a score touches 0 or 1. A
    video without anomaly has AUC 1 whatever its scores, so macro flatters sets with many normal
    videos; no per-video normalisation changes it. Where all frames of all videos are of one kind,
    it is undefined as micro is.
    """
    if len({int(label) for r in runs for label in np.unique(r.labels)}) < 2:
        return {name: (float("nan"), None) for name in RANKING}
    rows = []
    for r in runs:
        scores = np.r_[r.scores, r.scores.min() - 1, r.scores.max() + 1]
        counts = cumulative_counts(scores, np.r_[r.labels, 0, 1], np.r_[r.weights, 1, 1])
        rows.append(ranking_metrics(counts))
    drawn = bootstrap.draw(np.ones((len(rows), 2), bool), resamples, seed)
    table = {name: np.array([row[name] for row in rows]) for name in RANKING}  # [V] each
    return {
        n: (m := float(v.mean()), bootstrap.interval(m, bootstrap.resampled_mean(v, drawn), drawn))
        for n, v in table.items()
    }


AGGREGATIONS: dict[str, Callable] = {"micro": micro, "macro": macro}
# (aggregation, normalisation) whose values are those of 'none', see the top of this file
RANK_AS_NONE = {("micro", "train"), ("macro", "train"), ("macro", "minmax")}
HEADLINE = {
    "aggregation": "micro",
    "normalisation": "none",
    "smoothing": "none",
    "checkpoint": "last",
}


def smoothing_names(eval_cfg) -> dict[str, tuple[str, float]]:
    """Name in the record -> (registry name, parameter): none, ema0.9, gaussian5, ..."""
    named = {"none": ("none", 0.0)}
    named |= {f"ema{decay:g}": ("ema", float(decay)) for decay in eval_cfg.ema}
    return named | {f"gaussian{sigma:g}": ("gaussian", float(sigma)) for sigma in eval_cfg.gaussian}


def transformed(
    videos: Sequence[ScoredVideo],
    normalisation: str,
    smoothing: tuple[str, float],
    train_stats: tuple[float, float],
) -> list[Runs]:
    """Runs of each video after `transform`."""
    made = (transform(v.scores, normalisation, smoothing, train_stats) for v in videos)
    return [compress(scores, v.labels) for scores, v in zip(made, videos)]


def check_scored(videos: Sequence[ScoredVideo]) -> None:
    """Raises DataError for no video, a repeated name, an empty one, scores not finite, or labels
    missing, too short or too long."""
    if not videos:
        raise DataError("no scored video: expected at least one; check the split and its records")
    seen: set[str] = set()
    for v in videos:
        if v.name in seen:
            raise DataError(f"video {v.name!r} was scored twice: expected every video once")
        seen.add(v.name)
        if len(v.labels) != len(v.scores) or not len(v.scores):
            raise DataError(
                f"video {v.name!r}: {len(v.scores)} frame scores and {len(v.labels)} frame labels,"
                " expected one label a frame; videos without labels can be scored (--mode=score),"
                " not evaluated"
            )
        if not np.isfinite(v.scores).all():
            bad = int((~np.isfinite(v.scores)).sum())
            raise DataError(
                f"video {v.name!r}: {bad} of {len(v.scores)} scores are not finite, expected"
                " numbers; check the model"
            )


def one_class_each(videos: Sequence[ScoredVideo]) -> bool:
    """Whether no video holds both normal and abnormal frames: nothing can be found inside one."""
    return all(v.labels.all() or not v.labels.any() for v in videos)


def class_runs(video: ScoredVideo, name: str) -> Runs:
    """Runs of a video with class `name` positive and the abnormal frames of other classes left
    out."""
    spans = np.asarray(video.spans).reshape(-1, 2)[is_of_class(video, name)]
    own = labels_from_spans(spans, len(video.labels)).astype(bool)
    abnormal = np.asarray(video.labels, bool)
    keep = own | ~abnormal
    return compress(np.asarray(video.scores)[keep], (own & abnormal)[keep])


def false_alarms(
    protocol: Mapping[str, str], normal: Sequence[Runs], resamples: int, seed: int
) -> Record:
    """far@0.5 over normal videos, at least one."""
    frames = np.array([r.weights.sum() for r in normal], np.float64)  # [V]
    rates = np.array([false_alarm_rate(r.scores, r.weights, FAR_THRESHOLD) for r in normal])
    alarms = rates * frames
    drawn = bootstrap.draw(np.ones((len(normal), 2), bool), resamples, seed)
    value = float(alarms.sum() / frames.sum())
    interval = bootstrap.interval(value, bootstrap.resampled_ratio(alarms, frames, drawn), drawn)
    return record(protocol, f"far@{FAR_THRESHOLD:g}", value, interval, size_of(normal))


def size_of(runs: Sequence[Runs]) -> tuple[int, int]:
    """(videos, frames)."""
    return len(runs), int(sum(r.weights.sum() for r in runs))


def record(
    protocol: Mapping[str, str], metric: str, value: float, ci95, size: tuple[int, int]
) -> Record:
    """One value, with its interval; size: the videos and frames it was taken over."""
    defined = None if np.isnan(value) else float(value)
    found = {"value": defined, "ci95": ci95, "n_videos": size[0], "n_frames": size[1]}
    return {"metric": metric, **protocol, **found}


def extra_records(
    videos: Sequence[ScoredVideo],
    protocol: Mapping[str, str],
    resamples: int,
    seed: int,
    class_scores=None,
) -> list[Record]:
    """auc_abnormal, auc_video, latency_ap, brier, ece, class_ap/NAME and map@IOU, each where its
    videos, classes or spans exist and it says something."""
    records = []
    inside = not one_class_each(videos)
    size = len(videos), sum(len(v.labels) for v in videos)

    def add(name: str, metric: str, runs: Sequence[Runs]) -> None:
        found = micro(runs, resamples, seed)[metric]
        records.append(record(protocol, name, *found, size_of(runs)))

    abnormal = [compress(v.scores, v.labels) for v in videos if v.label == 1]
    if abnormal and inside:
        add("auc_abnormal", "auc", abnormal)
    if {v.label for v in videos} >= {0, 1}:
        known = [v for v in videos if v.label in (0, 1)]
        add("auc_video", "auc", [peak(v.scores, bool(v.label)) for v in known])
    found = {"latency_ap": latency_ap(videos, resamples, seed)} if inside else {}
    if all(v.scores.min() >= 0 and v.scores.max() <= 1 for v in videos):
        found |= probability.of_videos(videos, resamples, seed)
    records += [record(protocol, name, *valued, size) for name, valued in found.items()]
    for name in sorted({c for v in videos for c in v.classes}):
        own = [v for v in videos if v.label == 0 or name in v.classes]
        add(f"class_ap/{name}", "ap", [class_runs(v, name) for v in own])
    if inside and any(len(v.spans) for v in videos):
        values = mean_average_precision(videos, class_scores=class_scores)
        named = {f"map@{iou:g}": value for iou, value in values.items()}
        named |= {"map@avg": float(np.mean(list(values.values())))}
        records += [record(protocol, name, value, None, size) for name, value in named.items()]
    return records


def protocol_matrix(
    videos: Iterable[ScoredVideo],
    eval_cfg,
    train_stats: tuple[float, float] | None = None,
    *,
    checkpoint: str = "last",
    seed: int = 0,
    class_scores=None,
) -> list[Record]:
    """Records of every protocol for V scored videos, headline protocol first; without macro and
    min-max where `one_class_each`.

    eval_cfg: `ema`, `gaussian`, `bootstrap` of config.eval. train_stats: (mean, std) of frame
    scores on the training split; None, or a std of 0 (a model that scores everything alike), leaves
    the normalisation 'train' out. checkpoint: the rule that chose the weights (last, best,
    best-on-test, a step). seed: of the resamples.
    Raises DataError as `check_scored`, and for statistics that are not finite.
    """
    videos = list(videos)
    check_scored(videos)
    if train_stats is not None and not np.isfinite(train_stats).all():
        raise DataError(
            f"training statistics: mean {train_stats[0]}, std {train_stats[1]}, expected numbers;"
            " check the model's scores"
        )
    records: list[Record] = []
    inside = not one_class_each(videos)
    stats, resamples = train_stats or (0.0, 1.0), eval_cfg.bootstrap
    plain = {**HEADLINE, "checkpoint": checkpoint}
    size = len(videos), sum(len(v.labels) for v in videos)
    values: dict[tuple[str, str, str], dict] = {}  # aggregation, normalisation, smoothing
    for normalisation in NORMALISATIONS:
        if normalisation == "minmax" and not inside:
            continue
        if normalisation == "train" and (train_stats is None or train_stats[1] == 0):
            continue
        for smoothing, chosen in smoothing_names(eval_cfg).items():
            protocol = {**plain, "normalisation": normalisation, "smoothing": smoothing}
            runs: list[Runs] = []  # lets go of the last protocol's before the next are made
            for aggregation, aggregate in AGGREGATIONS.items():
                if aggregation == "macro" and not inside:
                    continue
                alike = (aggregation, normalisation) in RANK_AS_NONE
                key = aggregation, "none" if alike else normalisation, smoothing
                if key not in values:
                    runs = runs or transformed(videos, normalisation, chosen, stats)
                    values[key] = aggregate(runs, resamples, seed)
                own = {**protocol, "aggregation": aggregation}
                for metric, (value, ci95) in values[key].items():
                    records.append(record(own, metric, value, ci95, size))
            if normalisation != "none":
                continue
            # where scores leave [0, 1], 0.5 means nothing
            normal = [r for v, r in zip(videos, runs, strict=True) if v.label == 0]
            within = all(r.scores.min() >= 0 and r.scores.max() <= 1 for r in runs)
            if normal and within:
                records.append(false_alarms(protocol, normal, resamples, seed))
    return records + extra_records(videos, plain, resamples, seed, class_scores)


def headline(records: Sequence[Record], metric: str) -> Record | None:
    """The record of `metric` (config.eval.metric) under the default protocol: of the last
    checkpoint, or of the one that was evaluated instead. Never of a checkpoint chosen on the
    test split; None where there is no such record."""
    plain = lambda r: all(r[k] == v for k, v in HEADLINE.items() if k != "checkpoint")
    found = [r for r in records if r["metric"] == metric and plain(r)]
    found = [r for r in found if r["checkpoint"] != BEST_ON_TEST]
    last = [r for r in found if r["checkpoint"] == HEADLINE["checkpoint"]]
    return next(iter(last or found), None)
