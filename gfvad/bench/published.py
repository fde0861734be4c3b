"""Published score files through this project's own evaluation: the check that its numbers mean what
the papers' numbers mean.

    gfvad compare published --root=/data

DIR holds (any of) xd_violence/, published_scores/. Prints one line a figure: what is known of the
file, what we get. Exits 1 where they differ by more than TOLERANCE, 2 where nothing was found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from gfvad.base.arrays import load_npy
from gfvad.base.options import Parser
from gfvad.base.types import DataError, ScoredVideo
from gfvad.data import annotations, ground_truth
from gfvad.measure.frames import compress, labels_from_spans, unit_to_frames
from gfvad.measure.protocols import micro, transform
from gfvad.measure.results import read_scores

TOLERANCE = 5e-6  # the known figures have five digits
# a clip of 16 frames is scored for its ninth: 8 labels before the first score and 7 after the last
# have none
MEMAE_CUT = slice(8, -7)


class Check(NamedTuple):
    """One known figure."""

    source: str  # key of SOURCES
    quantity: str  # a ranking metric, 'frames' or 'positives'
    normalisation: str
    expected: float


CHECKS = (
    Check("HL-Net, XD-Violence", "frames", "none", 2_330_384),
    Check("HL-Net, XD-Violence", "positives", "none", 537_805),
    Check("HL-Net, XD-Violence", "ap", "none", 0.78998),
    Check("HL-Net, XD-Violence", "pr_trapezoid", "none", 0.78997),
    Check("HL-Net, XD-Violence", "auc", "none", 0.93421),
    Check("MemAE, Ped2", "auc", "none", 0.69581),
    Check("MemAE, Ped2", "auc", "minmax", 0.93406),
    Check("MemAE, Avenue", "auc", "none", 0.80745),
    Check("MemAE, Avenue", "auc", "minmax", 0.80991),
    Check("TEVAD, ShanghaiTech", "auc", "none", 0.98098),
)


def scored(name: str, scores, labels, **more) -> ScoredVideo:
    """A ScoredVideo from frame scores [T] and labels [T]; more: what else is known of it."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.uint8)
    known = {"classes": (), "spans": ground_truth.EMPTY, "span_classes": (), "unit_frames": 1}
    return ScoredVideo(name, scores, labels, int(labels.any()), fps=0.0, **(known | more))


def xd_hlnet(root: Path) -> list[ScoredVideo]:
    """800 videos of XD-Violence with the snippet scores of HL-Net (offline), 16 frames a snippet.

    Raises DataError where the number of scores is not that of the ground truth.
    """
    folder, unit = root / "xd_violence", ground_truth.SNIPPET
    truths = ground_truth.xd_test(folder)
    order = ground_truth.read_order(folder / "test_order.txt")
    scores = load_npy(folder / "hlnet_offline_snippet_scores.npy")
    snippets = ground_truth.split_snippets(scores, truths, order)
    return [
        scored(
            name,
            unit_to_frames(snippets[name], truths[name].num_frames, unit),
            labels_from_spans(truths[name].spans, truths[name].num_frames),
            classes=(annotations.xd_classes(name) or (0, ()))[1],
            spans=truths[name].spans,
            span_classes=truths[name].span_classes,
            unit_frames=unit,
        )
        for name in order
    ]


def memae(root: Path, dataset: str) -> list[ScoredVideo]:
    """Clips of published_scores/memae_DATASET.npz (arrays scores_NN and labels_NN)."""
    arrays = read_scores(root / "published_scores" / f"memae_{dataset}.npz")
    clips = sorted(key.removeprefix("scores_") for key in arrays if key.startswith("scores_"))
    return [
        scored(clip, arrays[f"scores_{clip}"], arrays[f"labels_{clip}"][MEMAE_CUT])
        for clip in clips
    ]


def tevad(root: Path) -> list[ScoredVideo]:
    """199 videos of published_scores/tevad_shanghaitech.npz (arrays scores/NAME and
    labels/NAME)."""
    arrays = read_scores(root / "published_scores" / "tevad_shanghaitech.npz")
    names = sorted(key.removeprefix("scores/") for key in arrays if key.startswith("scores/"))
    return [scored(name, arrays[f"scores/{name}"], arrays[f"labels/{name}"]) for name in names]


# name -> (its file under root, reader)
SOURCES: dict[str, tuple[str, Callable[[Path], list[ScoredVideo]]]] = {
    "HL-Net, XD-Violence": ("xd_violence/hlnet_offline_snippet_scores.npy", xd_hlnet),
    "MemAE, Ped2": ("published_scores/memae_ped2.npz", lambda root: memae(root, "ped2")),
    "MemAE, Avenue": ("published_scores/memae_avenue.npz", lambda root: memae(root, "avenue")),
    "TEVAD, ShanghaiTech": ("published_scores/tevad_shanghaitech.npz", tevad),
}


def measure_quantity(videos: Sequence[ScoredVideo], quantity: str, normalisation: str) -> float:
    """One quantity of CHECKS under micro aggregation without smoothing."""
    if quantity == "frames":
        return float(sum(len(v.labels) for v in videos))
    if quantity == "positives":
        return float(sum(int(v.labels.sum()) for v in videos))
    runs = [compress(transform(v.scores, normalisation, ("none", 0.0)), v.labels) for v in videos]
    return micro(runs, 0, 0)[quantity][0]


def check_all(root: Path) -> list[tuple[Check, float]]:
    """Every check whose file lies under root, with what we get. Raises DataError where there is
    none."""
    videos = {
        source: reader(root)
        for source, (file, reader) in SOURCES.items()
        if (root / file).is_file()
    }
    if not videos:
        files = ", ".join(file for file, _ in SOURCES.values())
        raise DataError(
            f"{root}: holds none of {files}; give the folder of the published scores by --root=DIR"
        )
    return [
        (check, measure_quantity(videos[check.source], check.quantity, check.normalisation))
        for check in CHECKS
        if check.source in videos
    ]


def run(argv: Sequence[str]) -> int:
    """Prints the table; 0 where all figures agree, 1 where one does not."""
    parser = Parser("gfvad compare published", __doc__)
    parser.add_argument(
        "--root", type=Path, required=True, help="folder with xd_violence/ and published_scores/"
    )
    rows, differing = check_all(parser.parse_args(argv).root), 0
    table = Table("scores", "quantity (micro)", "normalisation", "known", "ours", "")
    for check, value in rows:
        form = "{:,.0f}" if check.quantity in ("frames", "positives") else "{:.5f}"
        agrees = abs(value - check.expected) <= TOLERANCE
        differing += not agrees
        figures = (form.format(check.expected), form.format(value))
        table.add_row(*check[:3], *figures, "agrees" if agrees else "DIFFERS")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    return int(differing > 0)
