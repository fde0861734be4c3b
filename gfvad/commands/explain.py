"""Says what the score of a video comes from: feature sets, units, fused relations.

    gfvad explain runs/ucf-fused/seed0 --out=runs/ucf-fused/explained.md
    gfvad explain runs/ucf-fused/seed0 --video=Abuse028_x264 --at=0.5
    gfvad explain runs/ucf-fused/seed0 --without --out=runs/ucf-fused/without.csv

Of a run's test videos: the one that is named, where its score is highest, or --at so many seconds;
without --video the one with the highest score, as the run's results say it. Parts add up to the
score, of models with scores in [0, 1] to its logit. --without takes the named causes of every video
away and says how far its highest score falls, beside as many others drawn at random. See
docs/explain.md.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfvad.base.errors import ConfigError, DataError, command
from gfvad.base.options import Parser

if TYPE_CHECKING:
    from gfvad.measure.explained import Removal


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    parser = Parser("gfvad explain", __doc__)
    option = parser.add_argument
    option("run", type=Path, metavar="RUN", help="folder of a trained run")
    option("--video", default="", help="name of a test video (default: the highest score)")
    option("--at", type=float, help="seconds (default: where the video's score is highest)")
    option("--checkpoint", default="last", help="last, best (on validation), or a step")
    option("--data", type=Path, help="other data than the run's own, with a labelled test split")
    option("--without", action="store_true", help="take the named causes of all videos away")
    what = "file of the tables in Markdown; with --without a CSV file, a row a video and cause"
    option("--out", type=Path, help=what)
    option("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.at is not None and not args.video:
        raise ConfigError("--at without --video: expected the video that it is a time of")
    from gfvad.base.files import write_text
    from gfvad.measure import explained, tables
    from gfvad.measure.results import json_tree

    run, task, chosen = opened(args.run.expanduser(), args.checkpoint, args.data)
    if args.without:
        return take_away(run, task, chosen, args)
    index = index_of(run, chosen, args.video)
    found = task.explain(run, chosen, index, args.at)
    if args.json:
        print(json.dumps(json_tree(explained.as_tree(found)), indent=1, ensure_ascii=False))
        return 0
    what = "this score" if args.at is not None else "the highest score of this video"
    made = explained.as_tables(found, what if args.video else "the highest score")
    shown = [tables.Section(t["title"], t["header"], t["rows"], -1) for t in made]
    if args.out is not None:
        write_text(args.out.expanduser(), tables.as_markdown(shown).lstrip("\n"))
    tables.print_sections(shown, tables.console_of())
    return 0


def opened(folder: Path, checkpoint: str, data: Path | None) -> tuple[Any, Any, Any]:
    """(a run, its task, the weights asked for)."""
    from gfvad.tasks import job, parse, task_of
    from gfvad.train import loop

    words = [f"--workdir={folder}", "--mode=evaluate", f"--checkpoint={checkpoint}"]
    arguments = parse(words)._replace(data=data and data.expanduser(), output=folder)
    job.require_checkpoints(arguments.workdir)
    task = task_of(arguments.config)
    if data is None:
        run = job.begin(arguments)
    else:
        run = task.open_elsewhere(arguments, job.devices(arguments.config), loop.to_stderr)
    if not job.has_test(run):
        raise DataError(f"{folder}: no test split; expected one: give --data=FOLDER with one")
    return run, task, task.kept_weights(run, checkpoint)


def index_of(run: Any, chosen: Any, video: str) -> int:
    """The number of a test video; '': of the one with the highest score."""
    from gfvad.base.names import nearest
    from gfvad.measure import explained

    if not video:
        return explained.highest([v.scores for v in run.evaluate(chosen).videos])
    names = list(run.splits["test"].names)
    if video not in names:
        raise DataError(
            f"--video={video}: no test video of this run{nearest(video, names)}; expected one of"
            f" {len(names)}, e.g. {names[0]}"
        )
    return names.index(video)


def take_away(run: Any, task: Any, chosen: Any, args: Any) -> int:
    """Takes the named causes of every test video away, and says what that does."""
    from gfvad.base.files import write_text
    from gfvad.base.progress import Progress
    from gfvad.measure import explained, tables

    names = run.splits["test"].names
    removals: list[Removal] = []
    with Progress(len(names), "taking causes away") as progress:
        for index in range(len(names)):
            removals.append(task.without_causes(run, chosen, index))
            progress.advance()
    made = explained.falls_table(explained.measured(removals))
    tables.print_sections(
        [tables.Section(made["title"], made["header"], made["rows"], -1)], tables.console_of()
    )
    if args.out is not None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("video", "score", "cause", "fall", "fall without others"))
        for r in removals:
            rows = [(cause, *pair) for cause, pair in r.falls.items()]
            numbers = [[f"{x:.6g}" for x in (r.value, *pair)] for _, *pair in rows]
            table.writerows([r.video, x[0], cause, *x[1:]] for (cause, *_), x in zip(rows, numbers))
        path = write_text(args.out.expanduser(), text.getvalue())
        print(f"videos   {path}", file=sys.stderr)
    return 0
