"""Which ground truth scores fit, and by which of the ways of ways.py, the same for every video.

Of the ground truths of a set the one is taken whose lengths differ least, the usual one first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gfvad.base.names import canonical, match_names, some
from gfvad.base.types import DataError, ScoredVideo
from gfvad.data import ground_truth
from gfvad.data.ground_truth import Truth
from gfvad.data.score_files import known
from gfvad.data.score_files.reading import Content
from gfvad.data.score_files.truths import Candidate, GroundTruths
from gfvad.data.score_files.ways import MOST_CUT, UNITS, Choices, Way, counts_of, ways_of
from gfvad.measure.frames import spans_of, unit_to_frames

AS_FOUND = Choices()
NEAREST = 3  # numbers of scores that an error names
WHOLE = "all videos"  # the name of what nothing cuts into videos


class Fitted(NamedTuple):
    """Scores and labels, frame by frame."""

    videos: list[ScoredVideo]
    title: str  # which ground truth, and how the scores stand for it
    notes: list[str]
    by_video: bool  # whether videos are known; else all are one


def fit_labels(content: Content, truths: GroundTruths, choices: Choices = AS_FOUND) -> Fitted:
    """The scores of a file against a set. Raises DataError where their lengths fit nothing, the
    order of videos is not known, or videos are missing."""
    choices = choices._replace(
        order=choices.order or content.order, lengths=choices.lengths or content.lengths
    )
    if truths.vector is not None:
        return _against_vector(content, truths, choices)
    if content.one is not None:
        order = tuple(map(truths.spell, choices.order)) or truths.order or _only(truths)
        if not order:
            raise DataError(
                f"{content.path}: one array of {len(content.one):,} scores, and nothing says in"
                f" which order its videos stand; expected an array a video, a list 'names' beside"
                f" it, or --order=FILE with a name a line. {known.of_entries(len(content.one))}"
            )
        content = _divided(content, truths, order, choices)
    return _by_name(content, truths, choices)


def _only(truths: GroundTruths) -> tuple[str, ...]:
    """The one video of a set that has no other."""
    names = tuple(truths.candidates[0].truths) if truths.candidates else ()
    return names if len(names) == 1 else ()


# ---- scores of each video by its name


def _by_name(content: Content, truths: GroundTruths, choices: Choices) -> Fitted:
    if truths.open_ended is not None:
        truths = _ended(content, truths, choices)
    notes: list[str] = []
    found = _matched(content, truths, choices, notes)
    names = list(found)
    entries = [len(found[name]) for name in names]
    best: tuple[int, Candidate, Way] | None = None
    for candidate in truths.candidates:
        frames = [candidate.truths[name].num_frames for name in names]
        for way in ways_of(entries, frames, choices):
            pairs = list(zip(entries, frames))
            if all(way.allows(n, t) for n, t in pairs):
                off = sum(way.off(n, t) for n, t in pairs)
                if best is None or off < best[0]:
                    best = off, candidate, way
    if best is None:
        raise DataError(_no_fit(content, found, truths))
    off, candidate, way = best
    if off:
        notes.append(
            f"lengths differ by {off:,} frames in all: scores beyond a video's labels, and labels"
            " beyond its scores, are left out"
        )
    videos = [_scored(n, found[n], candidate.truths[n], way, truths.classes(n)) for n in names]
    return Fitted(videos, f"{candidate.title}; {way.text}", notes, True)


def _scored(
    name: str, scores: np.ndarray, truth: Truth, way: Way, classes: tuple[str, ...]
) -> ScoredVideo:
    labels = ground_truth.labels(truth)[way.first : truth.num_frames - way.last]
    frames = min(len(labels), len(scores) * way.unit) if way.unit else len(labels)
    spans = np.clip(truth.spans - way.first, 0, frames)
    kept = spans[:, 0] < spans[:, 1]
    kinds = tuple(c for c, keep in zip(truth.span_classes, kept) if keep)
    values = unit_to_frames(scores, frames, way.unit)
    label = int(labels[:frames].any())
    return ScoredVideo(
        name, values, labels[:frames], label, classes, spans[kept], kinds, way.unit, 0.0
    )


def _matched(
    content: Content, truths: GroundTruths, choices: Choices, notes: list[str]
) -> dict[str, np.ndarray]:
    """{name of the set: scores}. Raises DataError where videos lack scores, or none has any."""
    wanted = list(truths.candidates[0].truths)
    given = list(content.videos)
    places = places_of(wanted, [truths.spell(name) for name in given])
    found = {name: content.videos[given[i]] for name, i in zip(wanted, places) if i >= 0}
    lost = [name for name in wanted if name not in found]
    if not found:
        raise DataError(
            f"{content.path}: none of its {len(given)} videos is in {truths.source}. It has"
            f" {some(given)}; the labels are of {some(wanted)}; expected scores under these names"
        )
    if lost and not choices.partial:
        raise DataError(
            f"{content.path}: no scores of {len(lost)} of {len(wanted)} videos in {truths.source}:"
            f" {some(lost)}; expected all of them: add them, or give --partial to evaluate the"
            " rest, which is another test set"
        )
    if lost:
        notes.append(f"{len(lost)} of {len(wanted)} videos have no scores and are left out")
    used = {places[i] for i in range(len(wanted))}
    if unused := [name for i, name in enumerate(given) if i not in used]:
        notes.append(f"{len(unused)} videos have no labels and are left out: {some(unused)}")
    return found


def places_of(wanted: Sequence[str], given: Sequence[str]) -> list[int]:
    """Index among the given names of each wanted one, -1 where none fits. Equal names; only where
    no name at all is equal, those of the same numbers ('01' and 'Test001'), each once."""
    exact = {canonical(name): i for i, name in enumerate(given)}
    places = [exact.get(canonical(name), -1) for name in wanted]
    if any(i >= 0 for i in places):
        return places
    places = match_names(wanted, given)
    used = [i for i in places if i >= 0]
    return places if len(set(used)) == len(used) else [-1] * len(wanted)


def _ended(content: Content, truths: GroundTruths, choices: Choices) -> GroundTruths:
    """Spans with the lengths of the scores: a video without a span is normal."""
    if choices.unit is None or not choices.unit:
        raise DataError(
            f"{truths.source}: spans, and nothing says how long the videos are; expected"
            " frame_counts.txt (NAME@FRAMES) beside them, or --unit=1 (a score a frame) or"
            " --unit=16, and then the scores say it"
        )
    given = [truths.spell(name) for name in content.videos]
    places = places_of(list(truths.order), given)
    if lost := [name for name, i in zip(truths.order, places) if i < 0]:
        raise DataError(
            f"{content.path}: no scores of {len(lost)} of {len(truths.order)} videos with spans in"
            f" {truths.source}: {some(lost)}; expected all of them under these names"
        )
    spelt = {i: name for name, i in zip(truths.order, places)}
    assert truths.open_ended is not None
    made = {
        spelt.get(i, name): truths.open_ended(spelt.get(i, name), len(scores) * choices.unit)
        for i, (name, scores) in enumerate(zip(given, content.videos.values()))
    }
    return truths._replace(candidates=(Candidate("lengths of the scores", made),))


# ---- one array for all videos


def _divided(
    content: Content, truths: GroundTruths, order: Sequence[str], choices: Choices
) -> Content:
    """One array in the order of videos -> an array a video."""
    assert content.one is not None
    if choices.lengths:
        return _cut(content, order, choices.lengths)
    expected: dict[int, str] = {}  # entries -> in words
    for candidate in truths.candidates:
        if lost := [name for name in order if name not in candidate.truths]:
            raise DataError(
                f"{content.path}: the order of its videos names {len(lost)} that are not in"
                f" {truths.source}: {some(lost)}; expected names of that set"
            )
        frames = [candidate.truths[name].num_frames for name in order]
        for rule, counted in counts_of(choices).items():
            counts = [counted(t) for t in frames]
            if sum(counts) == len(content.one) and min(counts) > 0:
                return _cut(content, order, counts)
            told = f"{sum(counts):,} ({candidate.title}; {rule})"
            expected.setdefault(sum(counts), told)
    total = len(content.one)
    nearest = [expected[n] for n in sorted(expected, key=lambda n: abs(n - total))[:NEAREST]]
    raise DataError(
        f"{content.path}: {len(content.one):,} scores for {len(order)} videos; expected"
        f" {' or '.join(nearest) or 'the lengths of the videos: --lengths=FILE'}."
        f" {known.of_entries(len(content.one))}"
    )


def _cut(content: Content, order: Sequence[str], counts: Sequence[int]) -> Content:
    assert content.one is not None
    if len(order) != len(counts) or sum(counts) != len(content.one):
        raise DataError(
            f"{content.path}: {len(content.one):,} scores; {len(order)} videos in order and"
            f" {len(counts)} lengths that sum to {sum(counts):,}; expected a length a video, and"
            " their sum as the number of scores"
        )
    parts = np.split(content.one, np.cumsum(counts)[:-1])
    videos = {canonical(name): part for name, part in zip(order, parts)}
    return content._replace(videos=videos, one=None)


def _against_vector(content: Content, truths: GroundTruths, choices: Choices) -> Fitted:
    """Labels of all videos in one vector, cut by whatever says the lengths."""
    assert truths.vector is not None
    vector, order = truths.vector, choices.order
    if content.one is None:
        if not order:
            raise DataError(
                f"{truths.source}: one array of labels for all videos, and nothing says in which"
                f" order {content.path} has them; expected --order=FILE with a name a line"
            )
        by_name = {canonical(name): x for name, x in content.videos.items()}
        if lost := [n for n in order if canonical(n) not in by_name]:
            raise DataError(
                f"{content.path}: no scores of {some(lost)}; expected those of every video that"
                " --order names"
            )
        parts = [by_name[canonical(name)] for name in order]
        choices = choices._replace(lengths=tuple(map(len, parts)))
        content = content._replace(one=np.concatenate(parts), videos={})
    assert content.one is not None
    total, units = len(content.one), UNITS if choices.unit is None else (choices.unit,)
    unit = next((u for u in units if u and total * u == len(vector)), 0)
    if not unit:
        raise DataError(
            f"{content.path}: {total:,} scores, and {len(vector):,} labels in {truths.source};"
            f" expected as many, or one for 16 labels. {known.of_entries(total)}"
        )
    entries = choices.lengths or tuple(n // unit for n in truths.lengths)
    names = order or truths.order or tuple(f"video {i}" for i in range(1, len(entries) + 1))
    given, notes = bool(entries), []
    if content.order and not truths.order and not choices.lengths:
        notes.append(
            "the scores state an order of videos, the labels do not: they are taken to have the"
            " same one"
        )
    if not given:
        entries, names = (total,), (WHOLE,)
        notes.append(
            "nothing says where one video ends and the next begins: what looks at videos is left"
            " out; give --lengths=FILE (entries a video, a number a line)"
        )
    cut = _cut(content, names, entries)
    labels = np.split(vector, np.cumsum([n * unit for n in entries])[:-1])
    spans = [spans_of(y) for y in labels]
    videos = [
        _scored(name, x, Truth(len(y), s, ("",) * len(s)), Way(unit), ())
        for (name, x), y, s in zip(cut.videos.items(), labels, spans)
    ]
    return Fitted(videos, f"{truths.source.name}; {Way(unit).text}", notes, given)


def _no_fit(content: Content, found: Mapping[str, np.ndarray], truths: GroundTruths) -> str:
    """What to say where no ground truth of a set fits."""
    lines = []
    for candidate in truths.candidates:
        frames = {name: candidate.truths[name].num_frames for name in found}
        fits = [
            name
            for name in found
            if any(Way(u).allows(len(found[name]), frames[name]) for u in UNITS)
        ]
        odd = next(name for name in found if len(fits) == len(found) or name not in fits)
        lines.append(
            f"{candidate.title}: {len(fits)} of {len(found)} videos fit, {odd!r} has"
            f" {len(found[odd]):,} scores and {frames[odd]:,} frames"
        )
    advice = "all of them by one rule: a score a frame, or one for 16"
    lacking = {
        t.num_frames - len(found[n]) for n, t in truths.candidates[0].truths.items() if n in found
    }
    if len(lacking) == 1 and 0 < min(lacking) <= MOST_CUT:
        lacks = lacking.pop()
        advice = f"--first=K where K of the {lacks} frames that each video lacks are its first ones"
    elif len({len(x) for x in found.values()}) == 1:
        advice = "--unit=0 where these are equal spans of each video"
    return f"{content.path}: lengths fit no ground truth ({'; '.join(lines)}); expected {advice}"
