"""Compares runs: paired tests, mean and spread over seeds, classes and videos, folds.

    gfvad compare runs/modalities/settings/all runs/modalities/settings/text
    gfvad compare summary runs/modalities/settings/all runs/modalities/settings/text
    gfvad compare breakdown runs/fusion/settings/graph runs/fusion/settings/only-text
    gfvad compare --config=ucf --models=all --seeds=5 --workdir=runs/compare

  gfvad compare --config=NAME     trains our model of a config and those that a user would pick
                                  instead, and compares them in one table
  gfvad compare A B               two settings by paired tests, over seeds and over test videos
  gfvad compare summary RUNS...   mean and spread over seeds of each setting
  gfvad compare breakdown RUNS... a table a class and a table a video: where settings differ
  gfvad compare folds ABLATION... ablations that differ in the tested videos alone: cross-validation
  gfvad compare published         score files of published models through this evaluation

A, B and RUNS are run folders or folders of seed runs. `gfvad compare summary --help` and so on show
the options of the others; those of `gfvad compare A B` follow.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import command
from gfvad.base.options import Parser, joined


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    if any(word.startswith("--config") for word in argv) or argv[:1] == ["models"]:
        return models(argv[argv[:1] == ["models"] :])
    forms = {"summary": summary, "breakdown": breakdown, "folds": folds}
    if argv[:1] == ["published"]:
        from gfvad.bench import published

        return published.run(argv[1:])
    return forms[argv[0]](argv[1:]) if argv and argv[0] in forms else pair(argv)


def models(argv: Sequence[str]) -> int:
    """Our model of a config against those that a user would pick instead, in one table.

    gfvad compare --config=ucf --models=all --seeds=5 --workdir=runs/compare
    gfvad compare --config=ucf --models=near,ur_dmu,foil_late --against=near --workdir=runs/near
    gfvad compare --config=avenue_tracks --models=all --workdir=runs/avenue

    All learn from the same batches by the same loop and are evaluated by the same protocols.
    comparison.md and comparison.csv in --workdir say of each model its parameters, seconds of
    training, frames scored a second, AUC, AP, intervals, paired tests against ours, and beside them
    the floors, and what papers report with which protocol. The same command goes on where it
    stopped.

      --config=NAME[:VARIANT]  our model and its data; --config.KEY=VALUE as in training
      --models=all             names, joined by commas: of the sweep's settings, of variants of the
                               config, or paths of files of further sweeps (own models)
      --against=NAME           which of them is ours (default: the config as it is)
      --workdir=DIR            folder of the comparison
      --seeds=5                of each model
      --sweep=comparison       what there is to choose from; with `comparators` each weakly
                               supervised model has its published schedule: hours on a processor
      --resamples=2000, --at-once=32, --processes=N  as in gfvad ablate
    """
    if {"-h", "--help"} & set(argv):
        print(textwrap.dedent(models.__doc__ or ""))
        return 0
    from gfvad.ablation import comparison

    return comparison.compared(joined(argv))


def pair(argv: Sequence[str]) -> int:
    """Two settings by paired tests."""
    parser = Parser("gfvad compare", __doc__)
    option = parser.add_argument
    option("a", type=Path, metavar="A", help="a run folder, or a folder of seed runs")
    option("b", type=Path, metavar="B", help="the same of the other setting")
    option("--resamples", type=int, default=2000, help="of the test videos")
    option("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    from gfvad.measure import compare
    from gfvad.measure.results import json_tree, read_scores
    from gfvad.tasks import frame_labels

    runs = [compare.find_runs(folder) for folder in (options.a, options.b)]
    videos = compare.Videos(frame_labels(next(iter(runs[0].values()))), options.resamples)
    resample = lambda path: videos.resample(read_scores(path / "scores.npz"), str(path))
    a, b = ({seed: resample(path) for seed, path in seeds.items()} for seeds in runs)
    results = [compare.compare(a, b, metric) for metric in compare.METRICS]
    if options.json:
        trees = [result._asdict() for result in results]
        trees = [t | {"a": t["a"]._asdict(), "b": t["b"]._asdict()} for t in trees]
        print(json.dumps([json_tree(tree) for tree in trees]))
        return 0
    print("\n".join(compare.text(result, (str(options.a), str(options.b))) for result in results))
    print(
        "micro frame metrics, last checkpoint, no normalisation, no smoothing; p of each test"
        " by itself"
    )
    if note := compare.caveat(len(videos.labels)):
        print(note)
    return 0


def summary(argv: Sequence[str]) -> int:
    """Mean and spread over seeds of finished runs.

    gfvad compare summary runs/ucf-fused

    Each folder holds results.json or sub-folders that do. Runs whose configs differ only in the
    seed are one row. Runs of the predictive model get a second table of all else that was measured.
    """
    parser = Parser("gfvad compare summary", summary.__doc__)
    what = "run folders, or folders of them"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help=what)
    options = parser.parse_args(argv)
    from gfvad.measure import summary as lib

    rows = lib.summarise([path for folder in options.runs for path in lib.find(folder)])
    print(lib.seeds_table(rows))
    print("\nmicro frame metrics, last checkpoint, no normalisation, no smoothing")
    if beside := lib.table_beside(rows):
        print(
            f"\n{beside}\n\nmean ± sd over seeds, last checkpoint; micro frame AUC but for pixel"
            " metrics, which say so"
        )
    if tested := lib.paired_text(rows):
        print(f"\n{tested}")
    return 0


def breakdown(argv: Sequence[str]) -> int:
    """Where settings differ: a table a class and a table a video.

    gfvad compare breakdown runs/fusion/settings/graph runs/fusion/settings/only-text

    Means over seeds, of settings with one test set. Of a class: frame AUC of its videos together
    with all normal videos. Of a video: its share of the pairs of an abnormal and a normal frame
    that are ordered wrongly.
    """
    parser = Parser("gfvad compare breakdown", breakdown.__doc__)
    what = "a run folder, or a folder of seed runs"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help=what)
    options = parser.parse_args(argv)
    from gfvad.measure.breakdown import tables
    from gfvad.measure.compare import find_runs
    from gfvad.measure.results import read_scores
    from gfvad.tasks import frame_labels, video_classes

    settings = {folder.name: list(find_runs(folder).values()) for folder in options.runs}
    first = next(iter(settings.values()))[0]
    classes = video_classes(first)
    scores = {
        name: [read_scores(run / "scores.npz") for run in runs] for name, runs in settings.items()
    }
    print(tables(scores, frame_labels(first), classes))
    print(
        "\nclasses: frame AUC with all normal videos; videos: per cent of all abnormal-normal pairs"
        " of frames that are lost; means over seeds, last checkpoint"
    )
    return 0


def folds(argv: Sequence[str]) -> int:
    """Ablations that differ in nothing but the videos they test, joined: cross-validation.

    gfvad compare folds runs/fights/folds/0 runs/fights/folds/1 runs/fights/folds/2

    One folder of `gfvad ablate` a fold, of features by `gfvad extract --fold=K`.
    """
    from gfvad.measure import folds as lib

    parser = Parser("gfvad compare folds", folds.__doc__)
    option, metrics = parser.add_argument, ["auc", lib.OF_VIDEOS]
    option("folders", nargs="+", type=Path, metavar="ABLATION", help="ablations, one a fold")
    about = "of the ablations' tables (default: auc auc_video)"
    option("--metric", nargs="+", default=metrics, help=about)
    options = parser.parse_args(argv)
    tables = [lib.joined_table(lib.join(options.folders, name), name) for name in options.metric]
    print("\n\n".join(tables))
    return 0
