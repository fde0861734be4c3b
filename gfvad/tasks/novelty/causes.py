"""Of an opened run of graph novelty: the objects or patches that a score comes from, the normal
units nearest to them, and what is left of the score without (gfvad/tasks/task.py: Task.explain,
Task.without_causes)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gfvad.measure.explained import TRIED, Cause, Explained, NotExplained, Removal, named
from gfvad.tasks.novelty import explained
from gfvad.tasks.novelty.explained import Seen, looked_at, nearest, only, per_term
from gfvad.tasks.novelty.model import BANK
from gfvad.tasks.novelty.opened import OpenedModel, open_model
from gfvad.tasks.novelty.registry import refuse_comparator
from gfvad.tasks.task import Restored

NEAREST = "nearest normal unit by {}"
CLOSEST = 2  # nearest normal units that are named, of each term
NOTHING = 40.0  # taken off the logarithm of a set's scale: it no longer counts
UNKNOWN = float("nan")


def kept_weights(run: Any, which: str) -> Restored:
    """The weights asked for, with the calibration that was kept beside them."""
    if run.found is None:
        run.found = open_model(run.workdir, which, run.mapper, run.config, compared=True)
    return run.checkpoints(which)[0]


def explain(run: Any, chosen: Restored, index: int, at: float | None = None) -> Explained:
    """What the score of test video `index` comes from, `at` so many seconds (None: where it is
    highest). Raises NotExplained for a comparator."""
    refuse_comparator(run.model.config, "gfvad explain", NotExplained)
    model, seen = run.model, explained.seen_at(run, index, at)
    fps, name = run.test.fps(index), run.test.names[index]
    things = things_at(model, seen, name, fps, run.test.patches)
    return Explained(
        name,
        seen.frame / fps,
        (seen.frame + 1) / fps,
        seen.score,
        seen.score,
        "score",
        explained.set_parts(model, seen),
        things[:TRIED] + normal_units(run, seen),
        explained.relations_of(model, seen),
    )


def things_of(seen: Seen) -> np.ndarray:
    """int64 [n] the thing that each unit is of: an object's number, or a patch and its grid."""
    return seen.units.tracks.person * (seen.units.group.max(initial=0) + 1) + seen.units.group


def things_at(model: OpenedModel, seen: Seen, video: str, fps: float, patches: bool) -> list[Cause]:
    """Objects or patches whose parts add up to the score, the largest first."""
    steps, usual = per_term(model, seen)
    part, place = (steps * (seen.novelty - usual)).sum(1), things_of(seen)
    tracks, found = seen.units.tracks, []
    for thing in np.unique(place[seen.weight > 0]):
        own = np.flatnonzero((place == thing) & (seen.weight > 0))
        here = own[np.argmin(np.abs(tracks.frame[own] - seen.source))]
        x1, y1, x2, y2 = (int(round(x)) for x in tracks.box[here])
        what = "patch" if patches else f"object {tracks.person[here]}"
        found.append(
            Cause(
                video,
                float(tracks.frame[own].min() / fps),
                float((tracks.frame[own].max() + 1) / fps),
                float(part[own].sum()),
                float(seen.weight[own].sum()),
                f"{what} at {x1}, {y1} to {x2}, {y2}",
                int(thing),
            )
        )
    found.sort(key=lambda c: -abs(c.part))
    tried = [c._replace(without=fall_without(model, seen, [c.place])) for c in found[:TRIED]]
    return tried + found[TRIED:]


def fall_without(model: OpenedModel, seen: Seen, things: Iterable[int]) -> float:
    """How far the score falls where some objects, or patches, are not there."""
    kept = ~np.isin(things_of(seen), list(things))
    features = {name: x[kept] for name, x in seen.features.items()}
    at = seen.frame, seen.source
    return (
        seen.score - looked_at(model, at, features, seen.code[kept], only(seen.units, kept)).score
    )


def fall_without_set(model: OpenedModel, seen: Seen, name: str) -> float:
    """How far the score falls where a feature set counts in no relation."""
    scale = np.array(model.state.params["scale"])
    scale[list(model.config.data.modalities).index(name)] -= NOTHING
    state = model.state._replace(params={**model.state.params, "scale": scale})
    other = replace(model, state=state)
    at = seen.frame, seen.source
    return seen.score - looked_at(other, at, seen.features, seen.code, seen.units).score


def normal_units(run: Any, seen: Seen) -> list[Cause]:
    """Normal units nearest to the unit with the largest part, by each term; the weight is their
    relation to it, 1 where they are the same."""
    model = run.model
    steps, usual = per_term(model, seen)
    part = steps * (seen.novelty - usual)
    if not seen.weight.any():
        return []
    unit, found = int(np.argmax(part.sum(1))), []
    origins = Origins(run)
    for t in np.argsort(-part[unit], kind="stable"):
        term = model.columns[t]
        close = nearest(model, seen, term, np.array([unit]))
        for k in range(min(CLOSEST, close.index.shape[1])):
            place, relation = int(close.index[0, k]), float(close.relation[0, k])
            told = origins.of(int(seen.code[unit]), place)
            what = NEAREST.format("*".join(term))
            found.append(Cause(*told, UNKNOWN, relation, what, place))
    return found


class Origins:
    """Which training units the bank holds: they were drawn by the seed. Known as long as the
    training videos are there, and are those that it was made from."""

    def __init__(self, run: Any):
        self.run, self.drawn = run, None
        if run.train is not None:
            training = run.training()
            rng = np.random.default_rng((run.config.seed, 0))
            self.drawn = training.units.draw(training.bank, rng)
            counts = [len(t.frame) for t in run.train.tracks]
            self.starts = np.concatenate([[0], np.cumsum(counts)])

    def of(self, code: int, place: int) -> tuple[str, float, float]:
        """(video, start, end in seconds) of a unit of the bank; '' where it is not known."""
        if self.drawn is None:
            return "", UNKNOWN, UNKNOWN
        at = (place,) if self.drawn.ndim == 1 else (code, place)
        unit = int(self.drawn[at])
        kept, own = self.run.model.state.constants[BANK], self.run.training().units.features
        if any(not np.array_equal(kept[f"units_{n}"][at], x[unit]) for n, x in own.items()):
            return "", UNKNOWN, UNKNOWN
        train = self.run.train
        video = int(np.searchsorted(self.starts, unit, side="right")) - 1
        frame = int(train.tracks[video].frame[unit - self.starts[video]])
        fps = train.fps(video)
        return train.names[video], frame / fps, (frame + 1) / fps


def without_causes(run: Any, chosen: Restored, index: int) -> Removal:
    """How far the highest score of a test video falls without the feature set with the largest
    part, and without the named objects or patches. Raises NotExplained for a comparator."""
    refuse_comparator(run.model.config, "gfvad explain", NotExplained)
    model, seen = run.model, explained.seen_at(run, index, None)
    falls: dict[str, tuple[float, float]] = {}
    parts, rng = explained.set_parts(model, seen), np.random.default_rng(index)
    sets = {n: x for n, x in parts.items() if n != explained.USUAL}
    if len(sets) > 1 and seen.weight.any():
        first = max(sets, key=lambda n: sets[n])
        other = str(rng.choice([n for n in sets if n != first]))
        own, others = (fall_without_set(model, seen, n) for n in (first, other))
        falls["feature set"] = own, others
    things = named(things_at(model, seen, "", 1.0, run.test.patches))
    others = other_things(seen, [c.place for c in things], rng)
    if things and others:
        own = fall_without(model, seen, [c.place for c in things])
        name = "patches" if run.test.patches else "objects"
        falls[name] = own, fall_without(model, seen, others)
    return Removal(run.test.names[index], seen.score, falls)


def other_things(seen: Seen, taken: Sequence[int], rng: np.random.Generator) -> list[int]:
    """As many other things of the same picture, drawn at random; [] where there are not so many."""
    here = seen.units.tracks.frame == seen.source
    others = np.setdiff1d(things_of(seen)[here], list(taken))
    if len(others) < len(taken):
        return []
    return [int(x) for x in rng.choice(others, len(taken), replace=False)]
