"""The model against each score that stands beside its headline, on the same test videos.

Whole videos are drawn with replacement, the same for the model and for what it is held against; of
fewer than FEWEST videos equal pieces, which are less independent than videos. The statistic is the
difference of micro frame AUC, raw (gfvad/measure/compare.py has the formulas). The draws depend on
the videos alone, so that runs of several seeds can be joined: there the statistic is the mean
difference over seeds. Where each video is wholly of one class, it is the difference of what is the
headline there: AUC of videos by their peaks (gfvad/measure/whole_clips.py).

paired.npz: float32 AUC of each resample [R], under `this model` and the name of each other score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import lies_at
from gfvad.base.types import ScoredVideo
from gfvad.measure import bootstrap, compare
from gfvad.measure.frames import compress
from gfvad.measure.metrics import roc_auc
from gfvad.measure.protocols import one_class_each
from gfvad.measure.results import read_scores

MODEL = "this model"
FILE = "paired.npz"
# videos below which pieces of them are drawn, and how many pieces
FEWEST, PIECES = 5, 20
FLOOR, SINGLE = "floor", "single set"
BEST = {FLOOR: "best floor", SINGLE: "best single set"}
HEADER = ["score", "AUC", "model minus it", "95 %", "p"]
# what is compared -> how it is called
FRAMES, PEAKS = "auc", "auc_video"
STATISTICS = {FRAMES: "micro frame AUC, raw", PEAKS: "AUC of whole videos by their peaks, raw"}

Scores = Mapping[str, np.ndarray]  # video -> frame scores [T]


class Beside(NamedTuple):
    """Frame scores of the test split that need no training, and of the model with one feature set
    (or one term) alone, by name."""

    floors: Mapping[str, Scores] = {}
    singles: Mapping[str, Scores] = {}


class Drawn(NamedTuple):
    """What is drawn with replacement: a video, or a piece of one."""

    name: str
    first: int  # frame
    labels: np.ndarray  # uint8 [T], from there on


class Tested(NamedTuple):
    """What is said of the pairs, and the resamples that it rests on."""

    rows: list[dict[str, Any]]  # of results.json, the best of each kind first
    resampled: dict[str, np.ndarray]  # of paired.npz; {} where there is nothing to draw


def against(videos: Sequence[ScoredVideo], beside: Beside, resamples: int) -> Tested:
    """The model's frame scores of labelled videos against all that stands beside them. Fewer than
    FEWEST videos are cut into PIECES equal pieces, which are drawn in their place.

    A row has `against` (the name), `kind` (floor or single set), `value` (AUC of the other),
    `difference` (of the model's from it), `ci95` and `p` (null where nothing can be drawn: see
    `bootstrap.draw`), `drawn` (how many are drawn from) `of` (videos or pieces), `statistic` (auc
    of frames, auc_video of whole clips).
    """
    labelled = [v for v in videos if len(v.labels)]
    model: Scores = {v.name: v.scores for v in labelled}
    known = [Drawn(v.name, 0, v.labels) for v in labelled]
    drawn_from, statistic = "videos", PEAKS if one_class_each(labelled) else FRAMES
    if statistic == PEAKS:
        known = [Drawn(v.name, 0, v.labels[:1]) for v in labelled]
        model = peaks(model, labelled)
        beside = Beside(*({n: peaks(x, labelled) for n, x in of.items()} for of in beside))
    elif 0 < len(known) < FEWEST:
        known, drawn_from = pieces_of(known), "pieces"
    others = {FLOOR: beside.floors, SINGLE: beside.singles}
    if not known or not any(others.values()):
        return Tested([], {})
    present = np.array([[(v.labels == kind).any() for kind in (0, 1)] for v in known])
    drawn = bootstrap.draw(present, resamples, 0)
    mine, resampled = _auc(known, model, drawn)
    kept, rows = {MODEL: resampled}, []
    for kind, scores in others.items():
        of_kind = []
        for name, frames in scores.items():
            value, kept[name] = _auc(known, frames, drawn)
            of_kind.append(
                {
                    "against": name,
                    "kind": kind,
                    "value": value,
                    "difference": mine - value,
                    **of_differences(resampled - kept[name]),
                    "drawn": len(known),
                    "of": drawn_from,
                    "statistic": statistic,
                }
            )
        rows += sorted(of_kind, key=lambda row: -row["value"])
    return Tested(rows, kept if len(drawn) else {})


def peaks(scores: Scores, videos: Sequence[ScoredVideo]) -> Scores:
    """The highest score of each video [1]; frames beyond its labels count nowhere."""
    return {v.name: np.asarray(scores[v.name])[: len(v.labels)].max(keepdims=True) for v in videos}


def pieces_of(videos: Sequence[Drawn]) -> list[Drawn]:
    """Videos cut into about PIECES equal pieces in all, one after the other."""
    total = sum(len(v.labels) for v in videos)
    found = []
    for v in videos:
        count = max(1, round(PIECES * len(v.labels) / total))
        edges = np.linspace(0, len(v.labels), count + 1).astype(int)
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            if last > first:
                found.append(Drawn(v.name, v.first + int(first), v.labels[first:last]))
    return found


def _auc(parts: Sequence[Drawn], scores: Scores, drawn: np.ndarray) -> tuple[float, np.ndarray]:
    """(AUC, AUC of each resample [R]); frames beyond a video's labels count nowhere."""
    of = [np.asarray(scores[p.name])[p.first : p.first + len(p.labels)] for p in parts]
    runs = [compress(x, p.labels) for x, p in zip(of, parts, strict=True)]
    pooled = bootstrap.pool(runs)
    value = float(roc_auc(np.concatenate(of), np.concatenate([p.labels for p in parts])))
    return value, bootstrap.resampled_ranking(pooled, drawn, names=("auc",))["auc"]


def of_differences(differences: np.ndarray) -> dict[str, Any]:
    """p and interval of resampled differences [R]; None without any."""
    p = compare.bootstrap_p(differences)
    return {"ci95": bootstrap.percentiles(differences), "p": None if np.isnan(p) else p}


def best(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Of each kind, the row of the highest AUC."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["kind"] not in found or row["value"] > found[row["kind"]]["value"]:
            found[row["kind"]] = row
    return found


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """'against the best floor, nearest velocity 0.7986: +0.0226 (...)' of each kind."""
    return [
        f"against the {BEST[kind]}, {shown(row['against'])} {row['value']:.4f}:"
        f" {row['difference']:+.4f} ({interval(row)}, p {p_text(row)}, {row['drawn']} {row['of']})"
        for kind, row in best(rows).items()
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The table of results.md; None without rows."""
    if not rows:
        return None
    cells = [
        [
            shown(r["against"]) + (f" ({r['kind']})" if r["kind"] == FLOOR else ""),
            f"{r['value']:.4f}",
            f"{r['difference']:+.4f}",
            interval(r),
            p_text(r),
        ]
        for r in rows
    ]
    first = rows[0]
    note = "" if first["ci95"] is None else compare.caveat(first["drawn"], first["of"])
    # runs of before tell of frames
    statistic = STATISTICS[first.get("statistic", FRAMES)]
    method = f"paired bootstrap over {first['of']}, {statistic}"
    title = f"this model against what stands beside it ({method})" + (f"; {note}" if note else "")
    return {"title": title, "header": HEADER, "rows": cells}


def shown(name: str) -> str:
    """A name without what says its kind."""
    return name.removeprefix("floor/").removeprefix("this model, ").removeprefix("term alone/")


def interval(row: Mapping[str, Any]) -> str:
    """'+0.0012 to +0.0440'."""
    low, high = row["ci95"] or (np.nan, np.nan)
    return compare.between((low, high), signed=True)


def p_text(row: Mapping[str, Any]) -> str:
    """'0.031', '< 0.001' or '-'."""
    return compare.p_value(np.nan if row["p"] is None else row["p"])


def over_seeds(
    runs: Sequence[tuple[Mapping[str, Any], Path]],
) -> list[dict[str, Any]]:
    """The same of several seeds of one setting: rows as `against` gives, of the mean over seeds.

    Args: runs: (tree of results.json, its folder) of each seed. [] where a seed has no pairs, or
    its resamples are of other videos or of another statistic.
    """
    if not runs or any(not lies_at(folder / FILE) for _, folder in runs):
        return []
    rows = [{row["against"]: row for row in results.get("paired") or ()} for results, _ in runs]
    drawn = [read_scores(folder / FILE) for _, folder in runs]
    names = [n for n in rows[0] if all(n in found for found in rows)]
    wanted = {MODEL, *names}
    shapes = {x[n].shape for x in drawn for n in wanted if n in x}
    undrawn = any(of[n]["ci95"] is None for of in rows for n in names)
    statistics = {of[n].get("statistic", FRAMES) for of in rows for n in names}
    if (
        not names
        or undrawn
        or max(len(shapes), len(statistics)) > 1
        or any(wanted - set(x) for x in drawn)
    ):
        return []
    found = []
    for name in names:
        mean = lambda key, name=name: float(np.mean([of[name][key] for of in rows]))
        differences = np.stack([x[MODEL] - x[name] for x in drawn]).astype(np.float64).mean(0)
        given = {"value": mean("value"), "difference": mean("difference")}
        found.append({**rows[0][name], **given, **of_differences(differences)})
    return sorted(found, key=lambda row: (row["kind"] != FLOOR, -row["value"]))
