"""Anybody's score files under every protocol: `gfvad evaluate --scores`, `gfvad doctor --scores`.

What a file must be: gfvad/data/score_files. What is measured: gfvad/measure/protocols.py, with the
floors of label_floors.py, the mistakes of mistakes.py and paired tests of several files.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gfvad.base.files import table_text, write_text
from gfvad.base.owned import Owned, digest
from gfvad.base.types import DataError, ScoredVideo
from gfvad.data.score_files import known
from gfvad.measure import compare, label_floors, mistakes, paired, results, tables
from gfvad.measure.metrics import RANKING
from gfvad.measure.probability import METRICS as PROBABILITY
from gfvad.measure.protocols import HEADLINE, protocol_matrix
from gfvad.reporting.score_inputs import Opened, open_files, parse_options

AS_GIVEN = "as given"  # the checkpoint of somebody's scores: they know how it was chosen
EMA, GAUSSIAN = (0.9,), (5.0,)  # smoothings of the matrix, as in training
COMPARED = ["metric", "A", "B", "A minus B", "95 %", "p"]


# ---- gfvad evaluate --scores


def evaluate(argv: Sequence[str], about: str | None) -> int:
    """Evaluates score files; returns the exit code."""
    options = parse_options(argv, about, "evaluate")
    own = Owned(options.output, "evaluation", "gfvad evaluate") if options.output else None
    names = _folders(options.scores)
    written = [f"{n}{file}" for n in names for file in ("results.json", "results.md")]
    if own:
        own.claim([*written, "compared.csv"])
    opened = open_files(options)
    require_alike(opened)
    trees = []
    for one in opened:
        print(introduction(one))
        print(f"evaluating every protocol, {options.resamples} bootstrap resamples", flush=True)
        trees.append(tree_of(one, options, time.monotonic()))
        tables.print_table(trees[-1])
        print()
    pairs = against_first(opened, options.resamples) if len(opened) > 1 else []
    if pairs:
        print(compared_text(pairs))
    if checkpoints := _checkpoints(opened, options):
        print(text_of(mistakes.shown_table(mistakes.all_of(opened[-1].videos, checkpoints))))
    if own:
        with own.locked("evaluation", written), own.staged(last=written[0]) as staging:
            for name, tree in zip(names, trees):
                write_text(staging / f"{name}results.md", tables.markdown(tree))
                results.write_tree(staging / f"{name}results.json", tree)
            if pairs:
                write_text(staging / "compared.csv", table_text(COMPARED, cells_of(pairs)))
        print(f"results  {', '.join(str(options.output / name) for name in written)}")
    return 0


def _folders(paths: Sequence[Path]) -> list[str]:
    """Where in the output the results of each file go: '' of one file, 'NAME/' of several."""
    if len(paths) == 1:
        return [""]
    stems = [path.stem for path in paths]
    return [
        f"{stem}/" if stems.count(stem) == 1 else f"{stem}-{i}/" for i, stem in enumerate(stems, 1)
    ]


def introduction(one: Opened) -> str:
    """What was found, in lines: the file, the ground truth that it fits, notes, odd signs."""
    videos = one.videos
    frames = sum(len(v.labels) for v in videos)
    positive = sum(int(v.labels.sum()) for v in videos)
    lines = [
        f"scores   {one.path}",
        f"fits     {one.fitted.title}",
        f"         {len(videos):,} videos, {frames:,} frames, {positive:,} abnormal"
        f" ({positive / frames:.2%}): {known.told(frames, positive)}",
    ]
    lines += [f"note     {note}" for note in one.fitted.notes]
    lines += [f"ODD      {sign}" for sign in mistakes.signs(videos)]
    return "\n".join(lines)


def tree_of(one: Opened, options: Namespace, started: float) -> dict[str, Any]:
    """The tree of results.json of one file: every protocol, floors, mistakes."""
    videos, by_video = one.videos, one.fitted.by_video
    resamples = options.resamples if by_video else 0
    cfg = Namespace(ema=EMA, gaussian=GAUSSIAN, bootstrap=resamples)
    records = protocol_matrix(videos, cfg, checkpoint=AS_GIVEN)
    if not by_video:  # what looks at videos says nothing
        plain = {**HEADLINE, "checkpoint": AS_GIVEN}
        kept = (*RANKING, *PROBABILITY)
        records = [
            r
            for r in records
            if r["metric"] in kept and all(r[key] == value for key, value in plain.items())
        ]
    meta: dict[str, Any] = {
        "dataset": one.truths.dataset,
        "split": "test",
        "ground_truth": one.fitted.title,
        "ground_truth_frames": sum(len(v.labels) for v in videos),
        "positive_frames": sum(int(v.labels.sum()) for v in videos),
        "seed": 0,
        "config_hash": "of a score file",
        "device": "scores of a file",
        "label": one.path.name,
        "scores": str(one.path),
        "scores_digest": None if one.path.is_dir() else digest(one.path),
        "metric": options.metric or one.truths.metric,
        "notes": [*one.fitted.notes, *mistakes.signs(videos)],
    }
    if by_video:
        meta |= beside(videos, resamples)
    return results.build_results(records, meta | {"wall_seconds": time.monotonic() - started})


def beside(videos: Sequence[ScoredVideo], resamples: int) -> dict[str, Any]:
    """Floors and mistakes, for results.json."""
    floors = label_floors.scores_of(videos)
    named = {name: label_floors.with_scores(videos, scores) for name, scores in floors.items()}
    values = {name: mistakes.values(floor) for name, floor in named.items()}
    rows = [["these scores", *(f"{value:.5f}" for value in mistakes.values(videos))]]
    rows += [[name, *(f"{value:.5f}" for value in pair)] for name, pair in values.items()]
    shown = [
        {
            "title": "beside scores that look at no video (micro, raw)",
            "header": ["score", "AUC", "AP"],
            "rows": rows,
        }
    ]
    fair = {n: x for n, x in floors.items() if n not in label_floors.NEEDS_LABELS}
    tested = paired.against(videos, paired.Beside(fair), resamples)
    if table := paired.table(tested.rows):
        shown.append(table)
    shown.append(mistakes.shown_table(mistakes.all_of(videos)))
    prefix = lambda n: "with labels/" if n in label_floors.NEEDS_LABELS else "floor/"
    return {
        "paired": tested.rows,
        "named": {f"{prefix(n)}{n}": auc for n, (auc, _) in values.items()},
        "named_ap": {f"{prefix(n)}{n}": ap for n, (_, ap) in values.items()},
        "tables": shown,
    }


# ---- several files


def require_alike(opened: Sequence[Opened]) -> None:
    """Raises DataError where files are of other videos or lengths than the first one."""
    first = opened[0]
    lengths = {v.name: len(v.labels) for v in first.videos}
    for other in opened[1:]:
        if {v.name: len(v.labels) for v in other.videos} != lengths:
            raise DataError(
                f"{other.path}: fits {other.fitted.title}, and {first.path} {first.fitted.title};"
                " expected scores of the same videos and frames to compare: give scores of one"
                " kind, or evaluate them one by one"
            )


def against_first(
    opened: Sequence[Opened], resamples: int
) -> list[tuple[Opened, Opened, compare.Comparison]]:
    """Every other file against the first one in AUC and AP, by paired bootstrap over videos."""
    first = opened[0]
    labels = {v.name: v.labels for v in first.videos}
    videos = compare.Videos(labels, resamples)
    drawn = [{0: videos.resample(one.scores, str(one.path))} for one in opened]
    return [
        (other, first, compare.compare(found, drawn[0], metric))
        for other, found in zip(opened[1:], drawn[1:])
        for metric in compare.METRICS
    ]


def cells_of(pairs: Sequence[tuple[Opened, Opened, compare.Comparison]]) -> list[list[str]]:
    """Rows of COMPARED."""
    return [
        [
            found.metric.upper(),
            f"{shown_name(a, b)} {found.a.mean:.4f}",
            f"{shown_name(b, a)} {found.b.mean:.4f}",
            compare.number(found.difference, signed=True),
            compare.between(found.bootstrap_interval, signed=True),
            compare.p_value(found.bootstrap_p),
        ]
        for a, b, found in pairs
    ]


def shown_name(one: Opened, other: Opened) -> str:
    """The name of a file, with its folder where the other one is called so, too."""
    same = one.path.name == other.path.name
    return f"{one.path.parent.name}/{one.path.name}" if same else one.path.name


def compared_text(pairs: Sequence[tuple[Opened, Opened, compare.Comparison]]) -> str:
    """The paired tests in lines."""
    title = "paired bootstrap over test videos (micro, raw)"
    text = text_of({"title": title, "header": COMPARED, "rows": cells_of(pairs)})
    return "\n".join([text, *filter(None, [compare.caveat(len(pairs[0][0].videos))])])


def _checkpoints(opened: Sequence[Opened], options: Namespace) -> list[Sequence[ScoredVideo]]:
    several = options.checkpoints and len(opened) > 1
    return [one.videos for one in opened] if several else []


# ---- gfvad doctor --scores


def examine(argv: Sequence[str], about: str | None) -> int:
    """Says which ground truth score files fit, what is odd, and what mistakes would add."""
    options = parse_options(argv, about, "doctor")
    opened = open_files(options)
    checkpoints = _checkpoints(opened, options)
    for one in opened[-1:] if checkpoints else opened:
        print(introduction(one), flush=True)
        if not one.fitted.by_video:
            print("note     what mistakes add is not told without the lengths of videos")
            continue
        auc, ap = mistakes.values(one.videos)
        print(f"plain    AUC {auc:.5f}, AP {ap:.5f} (micro, raw)\n")
        section = mistakes.shown_table(mistakes.all_of(one.videos, checkpoints))
        print(text_of(section))
    return 0


def text_of(section: Mapping[str, Any]) -> str:
    """A table in aligned lines."""
    rows = [section["header"], *section["rows"]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([f"{section['title']}:", *lines])
