"""Evidence by sources (evidence.py) of a run: read from its records, put into its model, and said
in its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.data import sampling
from gfvad.data.features import layouts, sources
from gfvad.tasks.fusion import evidence
from gfvad.tasks.fusion.content import MIN_STD

Statistics = Mapping[str, Mapping[str, np.ndarray]]  # set -> {'mean': [D], 'std': [D], ...}
HOW = {
    sources.COLUMN: "by the column source of labels.csv",
    sources.NAMES: "by their names",
    sources.FEATURES: "by clustering of their features, as nothing says their sources",
}


class Judged(NamedTuple):
    """What the sources of the training videos say."""

    found: evidence.Evidence
    how: str  # a key of HOW
    videos: int


def settle(config: ConfigDict, videos: int) -> None:
    """Makes evidence `auto` what so many training videos can bear. In place."""
    if config.model.evidence == "auto":
        few = videos <= config.model.few_videos
        config.model.evidence = "sources" if few else "trained"


def judge_run(config: ConfigDict, train: Any, root: Any) -> Judged:
    """Of the training videos that are not held out for validation. root: the folder of features;
    None where only records are there."""
    fraction = config.data.validation_fraction
    chosen, _ = sampling.split_validation(train.names, train.labels, fraction)
    rows: dict[str, list[np.ndarray]] = {m: [] for m in train.dims}
    counts = []
    for i in chosen:
        features = train[int(i)].features
        counts.append(int(train.lengths[i]))
        for m in rows:
            rows[m].append(np.asarray(features[m], np.float64).mean(0))
    units = {m: np.concatenate(x) for m, x in rows.items()}
    video = np.repeat(np.arange(len(chosen)), counts)
    names = [train.names[i] for i in chosen]
    groups, how = sources_of(config, names, root, units, video)
    labels = np.asarray(train.labels)[chosen]
    videos = evidence.Videos(units, video, labels, groups)
    found = evidence.judge(videos, int(config.loss.topk_divisor))
    return Judged(found, how, len(chosen))


def sources_of(
    config: ConfigDict,
    names: Sequence[str],
    root: Any,
    units: Mapping[str, np.ndarray],
    video: np.ndarray,
) -> tuple[np.ndarray, str]:
    """(source of each video [V], how they were told). Raises ConfigError for a pattern that fits
    nothing."""
    if config.data.source_pattern:
        return sources.by_pattern(names, config.data.source_pattern), sources.NAMES
    column = layouts.open_layout(config.data).sources() if root is not None else {}
    if (found := sources.by_column(names, column)) is not None:
        return found, sources.COLUMN
    joined = [
        np.nan_to_num(evidence.means(x, video, len(names), evidence.present(x)))
        for x in units.values()
    ]
    return sources.cluster(np.concatenate(joined, 1)), sources.FEATURES


def with_branches(statistics: Statistics, judged: Judged, mode: str) -> dict[str, dict[str, Any]]:
    """Statistics of the feature sets with the branches, brought to standardised features (mode:
    config.data.standardize); weights of sets that are left out are 0."""
    out: dict[str, dict[str, Any]] = {}
    for m, values in statistics.items():
        mean = values["mean"] if mode != "none" else np.zeros_like(values["mean"])
        std = np.where(values["std"] > MIN_STD, values["std"], 1.0)
        std = std if mode == "standardize" else np.ones_like(std)
        branch = judged.found.branches.get(m, evidence.Linear(np.zeros(len(mean)), 0.0))
        weight = branch.weight * std
        out[m] = {**values, "weight": weight, "offset": branch.offset - branch.weight @ mean}
    return out


def part(s: evidence.Set, name: str, found: evidence.Evidence) -> str:
    """What becomes of a set, in a word or two."""
    if s.weight > 0:
        return f"counts {s.weight:.2f}"
    above = s.auc - np.nan_to_num(s.error) > 0.5
    return "adds nothing" if above else "LEFT OUT, not above chance"


def say_judged(judged: Judged, say: Callable[[str], None]) -> None:
    """The sources, and what each set is worth on those it did not see."""
    found = judged.found
    say(
        f"evidence: {found.sources} sources in {judged.videos} training videos, told"
        f" {HOW[judged.how]}; AUC of videos of held-out sources, with its standard error:"
    )
    for m, s in found.sets.items():
        say(f"evidence:   {m} {s.auc:.3f} ± {s.error:.3f}, {part(s, m, found)}")
    say(f"evidence:   together {found.auc:.3f} ± {found.error:.3f}")
    if not found.branches:
        say(
            "warning: on sources that took no part, no feature set tells abnormal videos from"
            " normal ones: this model will give every video the same score; expected features that"
            " say what the classes differ in, or more videos of more sources"
        )


def told(judged: Judged) -> dict[str, Any]:
    """{'evidence': ..., 'tables': [one table]} for results.json."""
    found = judged.found
    sets = {m: {**s._asdict(), "part": part(s, m, found)} for m, s in found.sets.items()}
    tree = {"sources": found.sources, "videos": judged.videos, "told": judged.how, "sets": sets}
    tree |= {"auc": found.auc, "error": found.error}
    shown = lambda value: "-" if np.isnan(value) else f"{value:.4f}"
    rows = [
        [m, f"{shown(s.auc)} ± {s.error:.4f}", shown(s.without), part(s, m, found)]
        for m, s in found.sets.items()
    ]
    rows.append(["together", f"{shown(found.auc)} ± {found.error:.4f}", "-", ""])
    title = (
        f"training videos of held-out sources ({found.sources} sources, told {HOW[judged.how]}):"
        " what to expect of a new source"
    )
    header = ["feature set", "AUC of videos", "the others without it", "its part"]
    return {"evidence": tree, "tables": [{"title": title, "header": header, "rows": rows}]}
