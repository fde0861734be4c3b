"""The commands that are tried, and the sound inputs that need no model.

All paths are relative to a case's folder, so that a copy of the inputs works anywhere.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gfvad.bench.fuzz import digests, media
from gfvad.bench.fuzz.sets import SETS
from gfvad.bench.fuzz.sizes import OWN, SMALL

LENGTHS = {
    "calm_a": 40,
    "calm_b": 36,
    "fight_a": 48,
    "fight_b": 34,
    "calm_c": 38,
    "calm_d": 20,
    "fight_c": 50,
    "fight_d": 36,
}  # frames of the clips
TEST = ("calm_c", "calm_d", "fight_c", "fight_d")


class Command(NamedTuple):
    """One command line and what it reads and writes."""

    module: str  # whose main(argv) is called
    argv: tuple[str, ...]
    needs: tuple[str, ...]  # parts of the sound inputs, copied for a case
    outputs: tuple[str, ...]  # paths that it may create or change, with all below them
    digest: Callable[
        [Path], dict[str, str]
    ]  # {item: digest} of what it wrote; equal for equal results
    local: bool = False  # a change of one video's input changes that video's items alone
    older: str = ""  # folders without which the result is right too: of the newest checkpoint
    sound_exit: int = 0


def prepare(part: str) -> Command:
    """`gfvad prepare` of one of SETS."""
    _, dataset, more = SETS[part]
    return Command(
        "gfvad.commands.prepare",
        (f"--dataset={dataset}", f"--source={part}", "--text-encoder=hash", *more, "--out=out"),
        (part,),
        ("out", "cache"),
        digests.records,
        True,
    )


def score(*words: str, needs: tuple[str, ...], **more) -> Command:
    """`gfvad score`."""
    return Command(
        "gfvad.commands.score",
        (*words, "--workers=0", "--out=out"),
        needs,
        ("out", "cache"),
        digests.scored,
        **({"local": True} | more),
    )


RUN = ("--workdir=run",)
NEWEST = "run/checkpoints/4"
OF_RECORDS = (
    OWN,
    *SMALL,
    "--config.data.root=",
    "--config.data.dataset=generic",
    "--config.data.records=records",
    "--config.train.steps=2",
)
COMMANDS: dict[str, Command] = {f"prepare-{part}": prepare(part) for part in SETS} | {
    "extract": Command(
        "gfvad.commands.extract",
        (
            "clips",
            "--out=out",
            "--workers=0",
            "--labels=labels.csv",
            "--spans=spans.csv",
            "--modalities=appearance,audio,text",
            "--encoder=text=text:path=descriptions.jsonl,encoder=hash",
        ),
        ("clips", "labels.csv", "spans.csv", "descriptions.jsonl"),
        ("out", "cache"),
        digests.features,
        True,
    ),
    "extract-plain": Command(
        "gfvad.commands.extract",
        ("clips", "--out=out", "--workers=0"),
        ("clips",),
        ("out", "cache"),
        digests.features,
        True,
    ),
    "prepare-features": Command(
        "gfvad.commands.prepare",
        (
            "--dataset=generic",
            "--source=features",
            "--modalities=motion,appearance,audio",
            "--out=out",
        ),
        ("features",),
        ("out", "cache"),
        digests.records,
        True,
    ),
    "train": Command(
        "gfvad.main",
        (OWN, *SMALL, "--config.train.steps=2", "--workdir=out"),
        ("features",),
        ("out", "cache"),
        digests.run,
    ),
    "resume": Command(
        "gfvad.main",
        (OWN, *SMALL, "--config.train.steps=4", "--workdir=half"),
        ("features", "half"),
        ("half", "cache"),
        lambda at: digests.run(at, "half"),
    ),
    "resume-run": Command(
        "gfvad.main",
        (OWN, *SMALL, "--config.train.steps=4", *RUN),
        ("features", "run"),
        ("run", "cache"),
        lambda at: digests.run(at, "run"),
    ),
    "evaluate": Command(
        "gfvad.main",
        ("--mode=evaluate", *RUN),
        ("features", "run"),
        ("run", "cache"),
        lambda at: digests.run(at, "run"),
        older=NEWEST,
    ),
    "train-records": Command(
        "gfvad.main", (*OF_RECORDS, "--workdir=out"), ("records",), ("out", "cache"), digests.run
    ),
    "train-records-skip": Command(
        "gfvad.main",
        (*OF_RECORDS, "--config.data.on_corrupt=skip", "--workdir=out"),
        ("records",),
        ("out", "cache"),
        digests.run,
    ),
    "evaluate-records": Command(
        "gfvad.main",
        ("--mode=evaluate", "--workdir=of_records"),
        ("records", "of_records"),
        ("of_records", "cache"),
        lambda at: digests.run(at, "of_records"),
    ),
    "main-score": Command(
        "gfvad.main",
        ("--mode=score", *RUN, "--input=features", "--output=out/scores.npz"),
        ("features", "run"),
        ("out", "cache"),
        digests.run,
        True,
        NEWEST,
    ),
    "score-features": score("--model=run", "features", needs=("run", "features"), older=NEWEST),
    "score-export": score("--model=export", "features", needs=("export", "features")),
    "score-videos": score("--model=run", "clips", needs=("run", "clips")),
    "score-frames": Command(
        "gfvad.commands.score",
        ("--model=frames_run", "films", "--out=out"),
        ("frames_run", "films", "frames"),
        ("out", "cache"),
        digests.scored,
        True,
        "frames_run/checkpoints/2",
    ),
    "stream-frames": Command(
        "gfvad.commands.score",
        ("--model=frames_run", "films/one.mp4", "--stream", "--out=out"),
        ("frames_run", "films", "frames"),
        ("out", "cache"),
        digests.scored,
    ),
    "stream": score("--model=run", "clips/fight_c.mp4", "--stream", needs=("run", "clips")),
    "export": Command(
        "gfvad.commands.export",
        (*RUN, "--out=out", "--platforms=cpu"),
        ("run",),
        ("out", "cache"),
        digests.artefact,
    ),
    "report-scores": Command(
        "gfvad.commands.report",
        ("scores",),
        ("scores",),
        ("scores/report.html", "cache"),
        lambda at: digests.page(at / "scores"),
    ),
    "report-run": Command(
        "gfvad.commands.report",
        ("run", "--out=out/page.html"),
        ("run", "features"),
        ("out", "cache"),
        lambda at: digests.page(at / "out"),
    ),
    "report-runs": Command(
        "gfvad.commands.report",
        ("runs", "--out=out/page.html"),
        ("runs",),
        ("out", "cache"),
        lambda at: digests.page(at / "out"),
    ),
    "summary": Command("gfvad.commands.compare", ("summary", "runs"), ("runs",), (), digests.said),
}


def call(module: str, argv: tuple[str, ...]) -> int:
    """A command's main, as its own interpreter would call it; returns the exit code."""
    try:
        return int(importlib.import_module(module).main(list(argv)) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1


def build_files() -> None:
    """The inputs that need no model, into the current folder."""
    for part, (write, _, _) in SETS.items():
        write(Path(part))
    for seed, (name, frames) in enumerate(LENGTHS.items()):
        media.write(Path("clips") / f"{name}.mp4", frames, seed, sound=name != "calm_d")
    for seed, name in enumerate(("one", "two")):
        media.write(Path("films") / f"{name}.mp4", 12, 20 + seed, sound=False)
    rows = [
        f"{name},{int(name.startswith('fight'))},{'test' if name in TEST else 'train'}"
        for name in LENGTHS
    ]
    Path("labels.csv").write_text("\n".join(["name,label,split", *rows]) + "\n")
    Path("spans.csv").write_text("name,start,end\nfight_c,10,40\nfight_d,0,16\n")
    Path("descriptions.jsonl").write_text(
        "".join(
            f'{{"video": "{n}", "frame": {t}, "text": "people walk, {t % 5}"}}\n'
            for n, k in LENGTHS.items()
            for t in range(1, k + 1, 4)
        )
    )
    for part, folder, lengths in (("training", 30, (10, 12, 16)), ("testing", 60, (10, 9))):
        for k, frames in enumerate(lengths, 1):
            media.write_frames(Path("frames") / part / "frames" / f"{k:02d}", frames, folder + k)
    Path("frames/spans.txt").write_text("01 3 6\n02 2 4\n")


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
