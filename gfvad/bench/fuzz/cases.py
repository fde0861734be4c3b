"""The ten kinds of input: which commands read them, which files are changed, and how.

A case is its number and the seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from gfvad.bench.fuzz import arrays, binary, captions, films, settings, tables, trees
from gfvad.bench.fuzz.effect import CHANGES, EITHER, Mutation
from gfvad.bench.fuzz.meant import meant


class Pool(NamedTuple):
    """Mutations of the files that match some patterns, tried on some commands."""

    commands: Sequence[str]
    targets: Sequence[str]  # glob patterns in the case's folder, one is drawn
    mutations: Sequence[Mutation]
    weight: int = 1


SETS = ("prepare-generic", "prepare-xd", "prepare-ucf", "prepare-shanghai", "prepare-vadclip")
LISTED = (
    "prepare-generic",
    "prepare-generic",
    "prepare-xd",
    "prepare-ucf",
    "prepare-vadclip",
    "prepare-features",
)
ROOTS = ("generic", "xd", "ucf", "shanghai", "vadclip")
BROKEN = (*binary.DAMAGE, *binary.PLACES[:-1])  # for files whose content is not told apart
LISTED_BROKEN = (*map(meant, binary.DAMAGE), *binary.PLACES[:-1])  # of tables and captions
ARRAY_DAMAGE = (arrays.zero_numbers, *binary.DAMAGE[3:])
LISTS = (
    "*/labels.csv",
    "*/spans.csv",
    "*/frame_counts.txt",
    "*/annotations.txt",
    "*/temporal_annotations.txt",
    "*/*rgb*.csv",
    "*/Temporal_*.txt",
)
CONFIG = trees.json_of(CHANGES)
FILES = (*binary.DAMAGE, *binary.PLACES)
WRITERS = (
    "prepare-generic",
    "prepare-xd",
    "prepare-features",
    "extract",
    "extract-plain",
    "export",
    "main-score",
    "score-features",
    "report-run",
    "report-runs",
    "train",
)
OUTPUT = settings.PLACES

POOLS: dict[str, tuple[Pool, ...]] = {
    "features": (
        Pool(
            (*SETS, "prepare-features"),
            tuple(f"{r}/**/*.npy" for r in (*ROOTS, "features")),
            arrays.FEATURES,
            6,
        ),
        Pool(
            (*SETS, "prepare-features"),
            tuple(f"{r}/**/*.npy" for r in (*ROOTS, "features")),
            (
                *ARRAY_DAMAGE,
                *binary.PLACES,
                *binary.NAMES,
                binary.other_part,
                binary.other_part,
            ),
            4,
        ),
        Pool(
            ("prepare-logits",), ("logits/*.npz",), (*arrays.ARCHIVES, *BROKEN, binary.duplicate), 3
        ),
        Pool(
            ("score-features", "main-score"),
            ("features/*/*.npy",),
            (*arrays.FEATURES, *ARRAY_DAMAGE, *binary.PLACES),
            2,
        ),
        Pool(("train",), ("features/*/*.npy",), arrays.FEATURES, 1),
        Pool(
            ("prepare-features", "prepare-generic", "score-features"),
            ("features/*/*.npy", "generic/**/*.npy"),
            OUTPUT,
            1,
        ),
    ),
    "tables": (
        Pool(LISTED, LISTS, tables.TABLES, 8),
        Pool(LISTED, LISTS, LISTED_BROKEN, 2),
        Pool(("extract",), ("labels.csv", "spans.csv"), (*tables.TABLES, *LISTED_BROKEN), 3),
        Pool(
            ("score-features",),
            ("features/units.csv", "features/spans.csv", "features/labels.csv"),
            (*tables.TABLES, *LISTED_BROKEN),
            1,
        ),
        Pool(("prepare-features", "score-features"), ("features/units.csv",), tables.TABLES, 1),
        Pool(("prepare-xd", "extract"), ("xd/*.txt", "labels.csv"), OUTPUT, 1),
    ),
    "captions": (
        Pool(("prepare-generic", "prepare-logits"), ("*/captions.json",), captions.CAPTIONS, 6),
        Pool(("prepare-generic", "prepare-logits"), ("*/captions.json",), LISTED_BROKEN, 2),
        Pool(
            ("extract",),
            ("descriptions.jsonl",),
            (*captions.JSON_LINES, *tables.LINES[:8], *LISTED_BROKEN),
            4,
        ),
        Pool(
            ("extract", "prepare-generic"),
            ("descriptions.jsonl", "generic/captions.json"),
            OUTPUT,
            1,
        ),
    ),
    "configs": (
        Pool(
            ("train",),
            ("features/labels.csv",),
            (settings.override,) * 8 + (settings.unknown_override, settings.odd_option),
            5,
        ),
        Pool(
            ("evaluate", "main-score", "score-features"),
            ("run/config.json",),
            (*CONFIG, *BROKEN),
            4,
        ),
        Pool(("report-run",), ("run/config.json",), (*CONFIG, *BROKEN), 1),
        Pool(("score-frames",), ("frames_run/config.json",), (*CONFIG, *BROKEN), 1),
        Pool(
            ("train", "evaluate"),
            ("features/manifest.json", "run/features.json"),
            (*CONFIG, *FILES),
            1,
        ),
        Pool(("train",), ("features/labels.csv",), OUTPUT, 1),
    ),
    "checkpoints": (
        Pool(
            ("main-score", "score-features", "evaluate", "resume"),
            ("run/checkpoints/4/**/*", "half/checkpoints/2/**/*"),
            FILES,
            8,
        ),
        Pool(("resume-run",), ("run/checkpoints/4/**/*",), FILES, 3),
        Pool(("score-features",), ("run/calibration.json",), (*CONFIG, *FILES), 1),
        Pool(("resume",), ("half/*.jsonl",), (*map(trees.in_a_line, CONFIG), *FILES), 1),
        Pool(
            ("score-frames",),
            ("frames_run/checkpoints/2/**/*", "frames_run/scorer-*.npz"),
            FILES,
            1,
        ),
        Pool(("export",), ("run/checkpoints/4/**/*",), OUTPUT, 1),
    ),
    "records": (
        Pool(
            ("evaluate-records", "evaluate-records", "train-records"), ("records/**/*",), FILES, 8
        ),
        Pool(("train-records-skip",), ("records/*/*/*.array_record*", "records/*.json"), FILES, 4),
        Pool(
            ("evaluate-records", "train-records"),
            ("records/*.json", "records/*/*/*.json"),
            trees.json_of(EITHER),
            4,
        ),
        Pool(("prepare-features",), ("features/**/*.npy",), OUTPUT, 1),
    ),
    "artefacts": (
        Pool(("score-export",), ("export/manifest.json",), (*trees.json_of(CHANGES), *FILES), 5),
        Pool(("score-export",), ("export/model.jaxexport",), FILES, 3),
        Pool(("score-export",), ("export/*.*",), FILES, 1),
        Pool(
            ("export",),
            ("run/calibration.json", "run/config.json", "run/features.json"),
            (*CONFIG, *FILES),
            1,
        ),
        Pool(("export",), ("run/config.json",), OUTPUT, 2),
    ),
    "results": (
        Pool(
            ("report-run",),
            ("run/results.json", "run/calibration.json", "run/scores.npz", "features/*.csv"),
            BROKEN,
            2,
        ),
        Pool(
            ("report-run",), ("run/results.json", "run/calibration.json"), trees.json_of(CHANGES), 3
        ),
        Pool(("report-run",), ("run/scores.npz",), arrays.ARCHIVES, 1),
        Pool(
            ("report-runs", "summary"),
            ("runs/*/results.json",),
            (*trees.json_of(CHANGES), *BROKEN),
            3,
        ),
        Pool(("report-scores",), ("scores/scores.json",), (*trees.json_of(CHANGES), *BROKEN), 3),
        Pool(("report-scores",), ("scores/details/*.npz",), (*arrays.ARCHIVES, *BROKEN), 2),
        Pool(
            ("report-run", "report-runs", "main-score"),
            ("run/config.json", "runs/a/results.json"),
            OUTPUT,
            1,
        ),
    ),
    "videos": (
        Pool(("extract-plain",), ("clips/*.mp4",), films.FILMS, 6),
        Pool(("score-videos",), ("clips/*.mp4",), films.FILMS, 2),
        Pool(("score-frames",), ("films/*.mp4",), films.FILMS, 2),
        Pool(("extract-plain", "extract"), ("clips/*.mp4",), OUTPUT, 1),
    ),
    "streams": (
        Pool(("stream",), ("clips/fight_c.mp4",), films.STREAMED, 4),
        Pool(
            ("stream", "stream-frames"),
            ("clips/fight_c.mp4", "films/one.mp4"),
            (*films.STREAMED[:6], binary.cut, binary.append, binary.empty),
            1,
        ),
        Pool(("stream",), ("clips/fight_c.mp4",), settings.SOURCES, 3),
        Pool(("stream",), ("clips/fight_c.mp4",), OUTPUT, 1),
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
    return Case(
        number, kind, rng.choice(list(pool.commands)), pool, rng.choice(list(pool.mutations)), rng
    )
