"""The commands that are tried, and the sound inputs that need no model.

All paths are relative to a case's folder, so that a copy of the inputs works anywhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.bench.fuzz import digests, media, people
from gfvad.bench.fuzz.sets import SETS
from gfvad.bench.fuzz.sizes import OF_TRACKS, OWN, SMALL, TRACKS, overrides

LENGTHS = {"calm_a": 40, "calm_b": 36, "fight_a": 48, "fight_b": 34}  # frames of the clips
LENGTHS |= {"calm_c": 38, "calm_d": 20, "fight_c": 50, "fight_d": 36}
TEST = ("calm_c", "calm_d", "fight_c", "fight_d")


class Command(NamedTuple):
    """One command line and what it reads and writes."""

    module: str  # whose main(argv) is called
    argv: tuple[str, ...]
    needs: tuple[str, ...]  # parts of the sound inputs, copied for a case
    digest: Callable[[Path], dict[str, str]]  # {item: digest} of what it wrote
    output: str = "out"  # what it may create or change, with all below; "": nothing
    local: bool = False  # a change of one video's input changes that video's items alone
    older: str = ""  # folders without which the result is right too: of the newest checkpoint

    @property
    def outputs(self) -> tuple[str, ...]:
        """Its output, and the cache."""
        return (self.output, "cache") if self.output else ()


def command(name: str, words: str, needs: str, digest: Callable, **more: Any) -> Command:
    """`gfvad NAME WORDS`; more: further fields of Command."""
    module = "gfvad.main" if name == "main" else f"gfvad.commands.{name}"
    return Command(module, tuple(words.split()), tuple(needs.split()), digest, **more)


def of_run(words: str, needs: str, output: str = "out", **more: Any) -> Command:
    """`gfvad WORDS --workdir=OUTPUT`."""
    digest = partial(digests.run_folder, folder=output)
    return command("main", f"{words} --workdir={output}", needs, digest, output=output, **more)


def trained(words: str, needs: str, output: str = "out") -> Command:
    """A training of the small configuration."""
    made = of_run("", needs, output)
    return made._replace(argv=(OWN, *SMALL, *overrides(words), *made.argv))


def prepared(source: str, words: str) -> Command:
    """`gfvad prepare` of a folder."""
    words = f"{words} --source={source} --out=out"
    return command("prepare", words, source, digests.records, local=True)


def scoring(words: str, needs: str, **more: Any) -> Command:
    """`gfvad score`."""
    more = {"local": True} | more
    return command("score", f"{words} --out=out", needs, digests.scores_and_alarms, **more)


def reported(words: str, needs: str, output: str, folder: str) -> Command:
    """`gfvad report`, whose page lies in a folder."""
    return command("report", words, needs, partial(digests.page, folder=folder), output=output)


OF_RECORDS = "data.root= data.dataset=generic data.records=records train.steps=2"
FEATURES = "--dataset=generic --modalities=motion,appearance,audio"  # of an extraction
TABLES = "--labels=labels.csv --spans=spans.csv"
TEXT = "--modalities=appearance,audio,text --encoder=text=text:path=descriptions.jsonl,encoder=hash"
NEWEST, NEWEST_OF_FRAMES = "run/checkpoints/4", "frames_run/checkpoints/2"
FRAMES = "frames_run films frames"
COMMANDS: dict[str, Command] = {
    f"prepare-{part}": prepared(part, f"--dataset={dataset} --text-encoder=hash {more}")
    for part, (_, dataset, more) in SETS.items()
} | {
    "extract": command(
        "extract",
        f"clips --out=out --workers=0 {TABLES} {TEXT}",
        "clips labels.csv spans.csv descriptions.jsonl",
        digests.features,
        local=True,
    ),
    "extract-plain": command(
        "extract", "clips --out=out --workers=0", "clips", digests.features, local=True
    ),
    "prepare-features": prepared("features", FEATURES),
    "train": trained("train.steps=2", "features"),
    "resume": trained("train.steps=4", "features half", "half"),
    "resume-run": trained("train.steps=4", "features run", "run"),
    "evaluate": of_run("--mode=evaluate", "features run", "run", older=NEWEST),
    "train-records": trained(OF_RECORDS, "records"),
    "train-records-skip": trained(f"{OF_RECORDS} data.on_corrupt=skip", "records"),
    "evaluate-records": of_run("--mode=evaluate", "records of_records", "of_records"),
    "main-score": command(
        "main",
        "--mode=score --workdir=run --input=features --output=out/scores.npz",
        "features run",
        digests.run_folder,
        local=True,
        older=NEWEST,
    ),
    "score-features": scoring("--model=run features --workers=0", "run features", older=NEWEST),
    "score-export": scoring("--model=export features --workers=0", "export features"),
    "score-videos": scoring("--model=run clips --workers=0", "run clips"),
    "score-frames": scoring("--model=frames_run films", FRAMES, older=NEWEST_OF_FRAMES),
    "stream-frames": scoring("--model=frames_run films/one.mp4 --stream", FRAMES, local=False),
    "stream": scoring("--model=run clips/fight_c.mp4 --stream --workers=0", "run clips"),
    "train-tracks": of_run("", "tracks")._replace(argv=(OF_TRACKS, *TRACKS, "--workdir=out")),
    "score-tracks": scoring("--model=novelty_run tracks/test", "novelty_run tracks"),
    "score-tracks-export": scoring("--model=novelty_export tracks/test", "novelty_export tracks"),
    "export-tracks": command(
        "export", "--workdir=novelty_run --out=out --platforms=cpu", "novelty_run", digests.artefact
    ),
    "score-patches": scoring("--model=patch_run films", "patch_run films"),
    "stream-patches": scoring(
        "--model=patch_run films/one.mp4 --stream", "patch_run films", local=False
    ),
    "export": command("export", "--workdir=run --out=out --platforms=cpu", "run", digests.artefact),
    "report-scores": reported("scores", "scores", "scores/report.html", "scores"),
    "report-run": reported("run --out=out/page.html", "run features", "out", "out"),
    "report-runs": reported("runs --out=out/page.html", "runs", "out", "out"),
    "summary": command("compare", "summary runs", "runs", digests.said, output=""),
}


def call(module: str, argv: Sequence[str]) -> int:
    """A command's main, as its own interpreter would call it; returns the exit code."""
    try:
        return int(importlib.import_module(module).main(list(argv)) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1


def build_files() -> int:
    """The inputs that need no model, into the current folder; 0 as of a command."""
    for part, (write, _, _) in SETS.items():
        write(Path(part))
    people.write(Path("tracks"))
    for seed, (name, frames) in enumerate(LENGTHS.items()):
        media.write_video(Path("clips") / f"{name}.mp4", frames, seed, sound=name != "calm_d")
    for seed, name in enumerate(("one", "two")):
        media.write_video(Path("films") / f"{name}.mp4", 12, 20 + seed, sound=False)
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
    return 0
