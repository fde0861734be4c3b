"""Of an opened run: what a score of one of its test videos comes from, and what is left of it where
the named causes are taken away (gfvad/tasks/task.py: Task.explain, Task.without_causes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.types import DataError, ScoredVideo
from gfvad.data.streams import DEFAULT_FPS
from gfvad.measure.explained import TRIED, Cause, Explained, Removal, named
from gfvad.tasks.fusion import bank_units, explained
from gfvad.tasks.fusion.explained import OWN, Parts
from gfvad.tasks.fusion.probe import (
    Probe,
    Window,
    unit_scores_of,
    window_of,
    without_sets,
    without_units,
)
from gfvad.tasks.fusion.run import score_videos
from gfvad.tasks.task import Restored

BANK = "training video"
UNKNOWN = (float("nan"), float("nan"))  # when it is


class Moment(NamedTuple):
    """The unit whose score is explained."""

    probe: Probe
    window: Window
    place: int  # in the window
    starts: np.ndarray  # float64 [n + 1] seconds at which units of the video start, and its end
    parts: Parts

    @property
    def unit(self) -> int:
        """Its number in the video."""
        return self.window.start + self.place

    @property
    def score(self) -> float:
        """Of the unit."""
        return float(1.0 / (1.0 + np.exp(-self.parts.value)))


def kept_weights(run: Any, which: str) -> Restored:
    """The weights asked for."""
    return run.checkpoints(which)[0]


def score_test(run: Any, chosen: Restored) -> list[ScoredVideo]:
    """Frame scores of the test split, made anew."""
    return score_videos(run.evaluator, chosen.state, run.test, "scoring the test split")


def explain(run: Any, chosen: Restored, index: int, at: float | None = None) -> Explained:
    """What the score of test video `index` comes from, `at` so many seconds (None: where it is
    highest)."""
    moment, meta = moment_of(run, chosen, index, at), run.test.meta(index)
    return Explained(
        meta.name,
        float(moment.starts[moment.unit]),
        float(moment.starts[moment.unit + 1]),
        moment.score,
        moment.parts.value,
        "logit",
        moment.parts.sets,
        with_origins(run, chosen, causes_at(moment, meta.name)),
        explained.relations_of(moment.probe, moment.window),
    )


def moment_of(run: Any, chosen: Restored, index: int, at: float | None) -> Moment:
    """The unit of a test video at so many seconds, or that with the highest score."""
    key = "probe", chosen.step
    if key not in run.made:
        run.made[key] = Probe(run.model, chosen.state, run.config)
    meta, probe = run.test.meta(index), run.made[key]
    scores = unit_scores_of(probe, run.test, index)
    frames = meta.unit_frames if len(scores) == run.test.lengths[index] else 0
    seconds = (frames or meta.num_frames / len(scores)) / (meta.fps or DEFAULT_FPS)
    starts = np.arange(len(scores) + 1) * seconds
    unit = int(np.argmax(scores))
    if at is not None:
        if not 0 <= at < max(starts[-1], seconds):
            raise DataError(
                f"{meta.name}: --at={at:g}: expected seconds of the video, 0 up to {starts[-1]:.1f}"
            )
        unit = min(int(at / seconds), len(scores) - 1)
    window = window_of(run.test, index, unit, run.config.data)
    place = unit - window.start
    return Moment(probe, window, place, starts, explained.logit_parts(probe, window, place))


def causes_at(moment: Moment, name: str = "") -> list[Cause]:
    """The units with the largest parts, of the video and of the bank, each with what the logit
    loses without it; name: of the video."""
    parts = moment.parts
    of_bank = np.argsort(-np.abs(parts.bank), kind="stable")[:TRIED]
    found = explained.causes_of(parts, moment.window, name, moment.starts) + [
        Cause("", *UNKNOWN, float(parts.bank[k]), float(parts.bank_weights[k]), BANK, int(k))
        for k in of_bank
        if parts.bank[k]
    ]
    found = sorted(found, key=lambda c: -abs(c.part))[:TRIED]
    return [c._replace(without=fall_without(moment, [c])) for c in found]


def with_origins(run: Any, chosen: Restored, causes: Sequence[Cause]) -> list[Cause]:
    """The same with where the units of the bank come from, as long as the training part is
    there."""
    places = [c.place for c in causes if c.what == BANK]
    if run.train is None or not places:
        return list(causes)
    examples, steps = run.training().examples, int(chosen.state.step)
    known = bank_units.origins(run.config, examples, steps, places)
    told = lambda c, o: c._replace(
        video=o.video, start=o.start, end=o.end, what=f"{BANK}, {o.label}"
    )
    return [told(c, known[c.place]) if c.what == BANK else c for c in causes]


def without_causes(run: Any, chosen: Restored, index: int) -> Removal:
    """How far the highest logit of a test video falls without the named causes: the feature set
    with the largest part, the named units, and those beside the moment itself."""
    moment = moment_of(run, chosen, index, None)
    falls = {}
    # what a bank, or events, say by a feature set goes with it
    sets = {
        m: sum(x for n, x in moment.parts.sets.items() if n == m or n.startswith(f"{m}: "))
        for m in run.config.data.modalities
    }
    if len(sets) > 1:
        first = max(sets, key=lambda m: sets[m])
        other = str(np.random.default_rng(index).choice([m for m in sets if m != first]))
        left = (without_sets(moment.window, [m]) for m in (first, other))
        own, others = (moment.parts.value - moment.probe.logit(w, moment.place) for w in left)
        falls["feature set"] = own, others
    causes = causes_at(moment)
    beside = [c for c in causes if c.place != moment.place or c.what == BANK]
    for name, those in (("units", named(causes)), ("units beside the moment", named(beside))):
        others = as_many_others(moment, those, index)
        if those and others is not None:
            falls[name] = fall_without(moment, those), fall_without(moment, others)
    return Removal(run.test.names[index], moment.parts.value, falls)


def fall_without(moment: Moment, causes: Sequence[Cause]) -> float:
    """How far the logit falls without some units: of the video, which become absent, and of the
    bank, which no longer count."""
    gone = without_units(moment.window, [c.place for c in causes if c.what != BANK])
    known = None
    if kept := [c.place for c in causes if c.what == BANK]:
        known = np.ones(len(moment.parts.bank))
        known[kept] = 0
    return moment.parts.value - moment.probe.logit(gone, moment.place, known)


def as_many_others(moment: Moment, causes: Sequence[Cause], seed: int) -> list[Cause] | None:
    """As many other units of each kind, drawn at random, none of them the moment's own; None where
    there are not so many."""
    every = {
        False: [int(j) for j in np.flatnonzero(moment.window.mask) if j != moment.place],
        True: [int(k) for k in np.flatnonzero(moment.parts.bank)],
    }
    rng, found = np.random.default_rng(seed), []
    for of_bank, places in every.items():
        taken = [c.place for c in causes if (c.what == BANK) is of_bank]
        others = sorted(set(places) - set(taken))
        if len(others) < len(taken):
            return None
        drawn = rng.choice(others, len(taken), replace=False) if taken else []
        what = BANK if of_bank else OWN
        found += [Cause("", *UNKNOWN, 0.0, 0.0, what, int(k)) for k in drawn]
    return found
