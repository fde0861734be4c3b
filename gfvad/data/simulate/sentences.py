"""Timed sentences of the simulated set: what is seen in each stretch, with gaps and errors, and
rarely what is heard (ours)."""

from __future__ import annotations

import numpy as np

from gfvad.data.simulate import process
from gfvad.data.simulate.generator import shown_prototypes
from gfvad.data.simulate.process import Path, Settings

MISSING, WRONG = 0.15, 0.1  # of the stretches: no sentence; the sentence of some activity instead
HEARD, NOTICED = 0.2, 0.1  # of audio covers, of relation events: a further sentence says so
ACTIVITIES = (
    (
        "People walk along a street.",
        "Passers-by cross the square.",
        "A few people stroll past the shops.",
    ),
    (
        "A crowd watches a game.",
        "Spectators sit around a playing field.",
        "Players run after a ball.",
    ),
    (
        "Cars drive over a crossing.",
        "Traffic moves along the road.",
        "A bus and several cars pass by.",
    ),
    ("People dance in a hall.", "Guests move on the dance floor.", "Couples dance under lamps."),
)
NUISANCES = (
    ("Lightning lights up the scene.", "A bright flash fills the picture."),
    ("The camera shakes.", "The picture is blurred and moves."),
)
ABNORMAL = (
    ("Two men hit each other.", "A man punches another man."),
    ("A crowd throws stones.", "Many people push and break things."),
)
SOUNDS = {
    process.NUISANCE_AUDIO: ("A siren is tested.", "Fireworks can be heard."),
    process.ABNORMAL_AUDIO: ("Gunshots are heard.", "A loud explosion is heard."),
}
MISMATCH = ("The sound does not fit what is seen.", "Something else is heard than what is seen.")


def runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Half-open [start, end) of the stretches of constant value, in order."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(zip(edges[:-1], edges[1:]))


def describe_path(
    rng: np.random.Generator, settings: Settings, path: Path
) -> list[tuple[int, int, str]]:
    """(first unit, unit after the last, sentence), in order of time; units without one are left
    undescribed."""
    k, table, said = settings.activities, process.kinds(settings), []
    sentences = [ACTIVITIES[one % len(ACTIVITIES)] for one in range(k)] + [*NUISANCES, *ABNORMAL]
    visual, _ = shown_prototypes(settings, path)
    for start, end in runs(visual):
        shown = rng.integers(k) if rng.random() < WRONG else visual[start]
        sentence = str(rng.choice(sentences[shown]))
        if rng.random() >= MISSING:
            said.append((start, end, sentence))
    for start, end in runs(path.kind):
        cover, member, offset = (int(column[path.kind[start]]) for column in table)
        if cover in SOUNDS and rng.random() < HEARD:
            said.append((start, end, SOUNDS[cover][member]))
        if offset > 0 and rng.random() < NOTICED:
            said.append((start, end, str(rng.choice(MISMATCH))))
    return sorted(said)
