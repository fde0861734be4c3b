"""Of an opened run of the predictive model: what a score comes from, exactly, and what is left of
it where the named causes are taken away (gfvad/tasks/task.py: Task.explain, Task.without_causes).

A score is a weighted sum of the evidence of its terms. A term's part is what it has above its
evidence in an ordinary frame, that of the mean of held-out normal video; the rest is the part of no
cause. The cause of a term is the place where its map is largest; without it, the map is there what
it is at the middle place of the same frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.types import DataError, ScoredVideo
from gfvad.data.frames.decode import DEFAULT_FPS
from gfvad.measure.explained import Cause, Explained, Removal, named
from gfvad.tasks.prediction import score_terms, trained
from gfvad.tasks.prediction.picture_bank import PictureBank, small_pictures
from gfvad.tasks.prediction.score_rule import bank_places
from gfvad.tasks.task import Restored

USUAL = "of what is usual"
NEAREST = "nearest normal picture"
CLOSEST = 2  # normal pictures that are named
UNKNOWN = float("nan")


class Frame(NamedTuple):
    """A frame whose score is explained."""

    index: int  # in the video
    fps: float
    readings: score_terms.Readings  # of the video
    terms: Mapping[str, np.ndarray]  # evidence of the terms of the score [T]
    score: float


class Place(NamedTuple):
    """A place in the map of a term."""

    term: str
    row: int
    column: int


def kept_weights(run: Any, which: str) -> Restored:
    """The weights asked for, with the rule of the score that was kept beside them."""
    if run.found is None:
        run.found = trained.find(run.config, run.workdir, which, run.say)
    return run.checkpoints(which)[0]


def score_test(run: Any, chosen: Restored) -> list[ScoredVideo]:
    """Frame scores of the test split, made anew."""
    return run.evaluate(chosen).videos


def frame_at(run: Any, chosen: Restored, index: int, at: float | None) -> Frame:
    """A frame of a test video: at so many seconds, or that with the highest score."""
    rule, report = run.opened.scorer, getattr(run, "report", None)
    if report is not None:
        readings = report.readings[index]
    else:
        found = run.opened.reader.read(chosen.state, run.test, [index], "reading the video")[0]
        readings = score_terms.compared(found, rule.calibration.bank)
    terms = terms_of(run, score_terms.term_maps(readings, rule.calibration), readings)
    scores = score_terms.combine(terms, rule.chosen.weights)
    fps, frame = float(run.test.fps[index]) or DEFAULT_FPS, int(np.argmax(scores))
    if at is not None:
        if not 0 <= at < len(scores) / fps:
            raise DataError(
                f"{run.test.names[index]}: --at={at:g}: expected seconds of the video, 0 up to"
                f" {len(scores) / fps:.1f}"
            )
        frame = int(at * fps)
    return Frame(frame, fps, readings, terms, float(scores[frame]))


def terms_of(
    run: Any, maps: score_terms.Maps, readings: score_terms.Readings
) -> dict[str, np.ndarray]:
    """Evidence [T] of the terms of the score by maps before their windows."""
    rule, cfg = run.opened.scorer, run.config.score
    windowed = score_terms.windowed(maps, cfg)
    values = score_terms.values_of(windowed, readings, rule.calibration, cfg)
    return score_terms.calibrated(values, rule.calibration, tuple(rule.chosen.weights))


def term_parts(run: Any, frame: Frame) -> dict[str, float]:
    """Parts of the terms, which add up to the score with the first one, USUAL."""
    weights = run.opened.scorer.chosen.weights
    usual = float(score_terms.evidence(np.zeros(1), 0.0, 1.0)[0])
    terms = {n: float(weights[n] * (x[frame.index] - usual)) for n, x in frame.terms.items()}
    return {USUAL: usual * sum(weights[n] for n in frame.terms), **terms}


def explain(run: Any, chosen: Restored, index: int, at: float | None = None) -> Explained:
    """What the score of test video `index` comes from, `at` so many seconds (None: where it is
    highest)."""
    frame, name = frame_at(run, chosen, index, at), run.test.names[index]
    start, end = frame.index / frame.fps, (frame.index + 1) / frame.fps
    causes = [*places_at(run, frame, name), *normal_pictures(run, frame, index)]
    parts = term_parts(run, frame)
    return Explained(name, start, end, frame.score, frame.score, "score", parts, causes, [])


def places_at(run: Any, frame: Frame, video: str) -> list[Cause]:
    """The place of each term that has a map, that with the largest part first."""
    parts, found = term_parts(run, frame), []
    half = run.config.score.temporal / 2
    for number, place in enumerate(largest_places(run, frame)):
        found.append(
            Cause(
                video,
                max(frame.index - half, 0) / frame.fps,
                (frame.index + half) / frame.fps,
                parts[place.term],
                UNKNOWN,
                f"{place.term} at {pixels(run, frame, place)}",
                number,
                fall_without(run, frame, place),
            )
        )
    return sorted(found, key=lambda c: -c.part)


def largest_places(run: Any, frame: Frame) -> Iterator[Place]:
    """Where the map of each term of the score is largest, its windows taken."""
    maps = score_terms.term_maps(frame.readings, run.opened.scorer.calibration)
    for name, x in score_terms.windowed(maps, run.config.score).items():
        if name in frame.terms:
            at = np.unravel_index(int(np.argmax(x[frame.index])), x.shape[1:])
            yield Place(name, *map(int, at))


def pixels(run: Any, frame: Frame, place: Place) -> str:
    """'32, 16 to 48, 32': the cell of a map in the picture as the model reads it."""
    maps = score_terms.term_maps(frame.readings, run.opened.scorer.calibration)
    rows, columns = maps[place.term].shape[1:3]
    height, width = run.config.data.height / rows, run.config.data.width / columns
    x, y = round(place.column * width), round(place.row * height)
    return f"{x}, {y} to {round(x + width)}, {round(y + height)}"


def fall_without(run: Any, frame: Frame, place: Place) -> float:
    """How far the score falls where a place, with all that its windows take in, is as the middle
    place of its frame."""
    maps = dict(score_terms.term_maps(frame.readings, run.opened.scorer.calibration))
    cfg, x = run.config.score, np.array(maps[place.term], np.float64)
    side = 1 if place.term in score_terms.COARSE else max(int(cfg.spatial), 1)
    around, near = side // 2, int(cfg.temporal)
    times = slice(max(frame.index - near, 0), frame.index + near + 1)
    rows = slice(max(place.row - around, 0), place.row + around + 1)
    columns = slice(max(place.column - around, 0), place.column + around + 1)
    x[times, rows, columns] = np.median(x[times], (1, 2), keepdims=True)
    terms = terms_of(run, {**maps, place.term: x}, frame.readings)
    weights = run.opened.scorer.chosen.weights
    return frame.score - float(score_terms.combine(terms, weights)[frame.index])


def normal_pictures(run: Any, frame: Frame, index: int) -> list[Cause]:
    """The normal pictures that are nearest to a frame over all places, where the score has a bank
    of them; the weight is the mean relation, 1 where they are the same."""
    bank = run.opened.scorer.calibration.bank
    if bank is None:
        return []
    shown = run.test.frames.video(index)[frame.index : frame.index + 1]
    relation, found = bank.relations(small_pictures(shown))[0].mean(0), []
    for k in np.argsort(-relation, kind="stable")[:CLOSEST]:
        told = origin_of(run, bank, int(k))
        found.append(Cause(*told, UNKNOWN, float(relation[k]), NEAREST, int(k)))
    return found


def origin_of(run: Any, bank: PictureBank, place: int) -> tuple[str, float, float]:
    """(training video, start, end in seconds) of a picture of the bank; '' where the training
    videos are not there."""
    if run.train is None:
        return "", UNKNOWN, UNKNOWN
    video, frame = (int(x[place]) for x in bank_places(run.train.lengths))
    fps = float(run.train.fps[video]) or DEFAULT_FPS
    return run.train.names[video], frame / fps, (frame + 1) / fps


def without_causes(run: Any, chosen: Restored, index: int) -> Removal:
    """How far the highest score of a test video falls without the term with the largest part, and
    without the place that it comes from; other places are drawn in the same map."""
    frame, rng = frame_at(run, chosen, index, None), np.random.default_rng(index)
    weights = run.opened.scorer.chosen.weights
    falls, parts = {}, term_parts(run, frame)
    terms = {n: x for n, x in parts.items() if n != USUAL and weights[n] > 0}
    if len(terms) > 1:
        first = max(terms, key=lambda n: terms[n])
        other = str(rng.choice([n for n in terms if n != first]))
        left = lambda n: score_terms.combine(
            {m: x for m, x in frame.terms.items() if m != n}, weights
        )
        falls["term"] = tuple(frame.score - float(left(n)[frame.index]) for n in (first, other))
    places = list(largest_places(run, frame))
    if chosen_places := named(places_at(run, frame, ""))[:1]:
        place = places[chosen_places[0].place]
        x = score_terms.term_maps(frame.readings, run.opened.scorer.calibration)[place.term]
        row, column = (int(rng.integers(n)) for n in x.shape[1:3])
        other = Place(place.term, row, column)
        falls["place"] = tuple(fall_without(run, frame, p) for p in (place, other))
    return Removal(run.test.names[index], frame.score, falls)
