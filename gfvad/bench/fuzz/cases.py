"""The ten kinds of input: which commands read them, which files are changed, and how.

A case is its number and the seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from gfvad.bench.fuzz import arrays, binary, captions, films, people, settings, tables, trees
from gfvad.bench.fuzz.effect import CHANGES, EITHER, Mutation
from gfvad.bench.fuzz.meant import meant


class Pool(NamedTuple):
    """Mutations of the files that match some patterns, tried on some commands."""

    commands: str  # names, one is drawn
    targets: str  # glob patterns in the case's folder, one of their files is drawn
    mutations: Sequence[Mutation]
    weight: int = 1


SETS = "prepare-generic prepare-xd prepare-ucf prepare-shanghai prepare-vadclip prepare-features"
LISTED = "prepare-generic prepare-generic prepare-xd prepare-ucf prepare-vadclip prepare-features"
SET_ARRAYS = (
    "generic/**/*.npy xd/**/*.npy ucf/**/*.npy shanghai/**/*.npy vadclip/**/*.npy features/**/*.npy"
)
LISTS = (
    "*/labels.csv */spans.csv */frame_counts.txt */annotations.txt */temporal_annotations.txt"
    " */*rgb*.csv */Temporal_*.txt"
)
BROKEN = (*binary.DAMAGE, *binary.PLACES[:-1])  # for files whose content is not told apart
LISTED_BROKEN = (*map(meant, binary.DAMAGE), *binary.PLACES[:-1])  # of tables and captions
ARRAY_DAMAGE = (arrays.zero_numbers, *binary.DAMAGE[3:])
CONFIG = trees.json_of(CHANGES)
FILES = (*binary.DAMAGE, *binary.PLACES)
STATED = (*CONFIG, *BROKEN)
TOLD = (*CONFIG, *FILES)
PARTS = (*binary.NAMES, binary.other_part, binary.other_part)
OVERRIDES = (*[settings.override] * 8, settings.unknown_override, settings.odd_option)
LINES = (*captions.JSON_LINES, *tables.LINES[:8], *LISTED_BROKEN)
OUTPUT = settings.PLACES
STREAM_DAMAGE = (*films.STREAMED[:6], binary.cut, binary.append, binary.empty)

POOLS: dict[str, tuple[Pool, ...]] = {
    "features": (
        Pool(SETS, SET_ARRAYS, arrays.FEATURES, 6),
        Pool(SETS, SET_ARRAYS, (*ARRAY_DAMAGE, *binary.PLACES, *PARTS), 4),
        Pool("prepare-logits", "logits/*.npz", (*arrays.ARCHIVES, *BROKEN, binary.duplicate), 3),
        Pool(
            "score-features main-score",
            "features/*/*.npy",
            (*arrays.FEATURES, *ARRAY_DAMAGE, *binary.PLACES),
            2,
        ),
        Pool("train", "features/*/*.npy", arrays.FEATURES),
        Pool("train-tracks", "tracks/labels.npz", (*arrays.ARCHIVES, *BROKEN)),
        Pool(
            "prepare-features prepare-generic score-features",
            "features/*/*.npy generic/**/*.npy",
            OUTPUT,
        ),
    ),
    "tables": (
        Pool(LISTED, LISTS, tables.TABLES, 8),
        Pool(LISTED, LISTS, LISTED_BROKEN, 2),
        Pool("extract", "labels.csv spans.csv", (*tables.TABLES, *LISTED_BROKEN), 3),
        Pool(
            "score-features",
            "features/units.csv features/spans.csv features/labels.csv",
            (*tables.TABLES, *LISTED_BROKEN),
        ),
        Pool("prepare-features score-features", "features/units.csv", tables.TABLES),
        Pool("prepare-xd extract", "xd/*.txt labels.csv", OUTPUT),
        Pool("score-tracks", "tracks/test/*.csv", people.BOXES, 3),
        Pool("train-tracks", "tracks/train/*.csv tracks/test/*.csv", people.BOXES),
        Pool("score-tracks train-tracks", "tracks/test/*.csv", OUTPUT),
    ),
    "captions": (
        Pool("prepare-generic prepare-logits", "*/captions.json", captions.CAPTIONS, 6),
        Pool("prepare-generic prepare-logits", "*/captions.json", LISTED_BROKEN, 2),
        Pool("extract", "descriptions.jsonl", LINES, 4),
        Pool("extract prepare-generic", "descriptions.jsonl generic/captions.json", OUTPUT),
    ),
    "configs": (
        Pool("train", "features/labels.csv", OVERRIDES, 5),
        Pool("evaluate main-score score-features", "run/config.json", STATED, 4),
        Pool("report-run", "run/config.json", STATED),
        Pool("score-frames", "frames_run/config.json", STATED),
        Pool("score-tracks", "novelty_run/config.json", STATED),
        Pool("train evaluate", "features/manifest.json run/features.json", TOLD),
        Pool("train", "features/labels.csv", OUTPUT),
    ),
    "checkpoints": (
        Pool(
            "main-score score-features evaluate resume",
            "run/checkpoints/4/**/* half/checkpoints/2/**/*",
            FILES,
            8,
        ),
        Pool("resume-run", "run/checkpoints/4/**/*", FILES, 3),
        Pool("score-features", "run/calibration.json", TOLD),
        Pool("resume", "half/*.jsonl", (*map(trees.in_a_line, CONFIG), *FILES)),
        Pool("score-frames", "frames_run/checkpoints/2/**/* frames_run/scorer-*.npz", FILES),
        Pool("export", "run/checkpoints/4/**/*", OUTPUT),
        Pool("score-tracks", "novelty_run/checkpoints/2/**/* novelty_run/novelty-2.json", FILES),
        Pool("score-tracks score-patches", "*_run/novelty-2.json", CONFIG),
    ),
    "records": (
        Pool("evaluate-records evaluate-records train-records", "records/**/*", FILES, 8),
        Pool("train-records-skip", "records/*/*/*.array_record* records/*.json", FILES, 4),
        Pool(
            "evaluate-records train-records",
            "records/*.json records/*/*/*.json",
            trees.json_of(EITHER),
            4,
        ),
        Pool("prepare-features", "features/**/*.npy", OUTPUT),
    ),
    "artefacts": (
        Pool("score-export", "export/manifest.json", TOLD, 5),
        Pool("score-export", "export/model.jaxexport", FILES, 3),
        Pool("score-export", "export/*.*", FILES),
        Pool("export", "run/calibration.json run/config.json run/features.json", TOLD),
        Pool("export", "run/config.json", OUTPUT, 2),
        Pool("score-tracks-export", "novelty_export/[a-z]*.*", FILES),
        Pool("score-tracks-export", "novelty_export/[a-z]*.json", TOLD),
        Pool("export-tracks", "novelty_run/novelty-2.json novelty_run/config.json", TOLD),
    ),
    "results": (
        Pool(
            "report-run",
            "run/results.json run/calibration.json run/scores.npz features/*.csv",
            BROKEN,
            2,
        ),
        Pool("report-run", "run/results.json run/calibration.json", CONFIG, 3),
        Pool("report-run", "run/scores.npz", arrays.ARCHIVES),
        Pool("report-runs summary", "runs/*/results.json", STATED, 3),
        Pool("report-scores", "scores/scores.json", STATED, 3),
        Pool("report-scores", "scores/details/*.npz", (*arrays.ARCHIVES, *BROKEN), 2),
        Pool("report-run report-runs main-score", "run/config.json runs/a/results.json", OUTPUT),
    ),
    "videos": (
        Pool("extract-plain", "clips/*.mp4", films.FILMS, 6),
        Pool("score-videos", "clips/*.mp4", films.FILMS, 2),
        Pool("score-frames", "films/*.mp4", films.FILMS, 2),
        Pool("extract-plain extract", "clips/*.mp4", OUTPUT),
        Pool("score-patches", "films/*.mp4", films.FILMS),
    ),
    "streams": (
        Pool("stream", "clips/fight_c.mp4", films.STREAMED, 4),
        Pool("stream stream-frames", "clips/fight_c.mp4 films/one.mp4", STREAM_DAMAGE),
        Pool("stream", "clips/fight_c.mp4", settings.SOURCES, 3),
        Pool("stream", "clips/fight_c.mp4", OUTPUT),
        Pool("stream-patches", "films/one.mp4", STREAM_DAMAGE),
    ),
}
KINDS = tuple(POOLS)


class Case(NamedTuple):
    """What a number and a seed mean."""

    number: int
    kind: str
    command: str
    pool: Pool
    mutation: Mutation
    rng: random.Random  # goes on to draw the file and the change


def draw(seed: int, number: int) -> Case:
    """The case of a number: kinds take turns; all else is drawn."""
    rng = random.Random(f"gfvad fuzz {seed} {number}")
    kind = KINDS[number % len(KINDS)]
    pool = rng.choices(POOLS[kind], [p.weight for p in POOLS[kind]])[0]
    command, mutation = rng.choice(pool.commands.split()), rng.choice(pool.mutations)
    return Case(number, kind, command, pool, mutation, rng)
