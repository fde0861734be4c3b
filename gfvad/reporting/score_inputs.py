"""Score files and labels as a command line gives them, opened."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.files import read_lines
from gfvad.base.names import canonical
from gfvad.base.options import Parser
from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.data.annotations import parse_frame_counts
from gfvad.data.score_files import fitting, known, reading, truths
from gfvad.data.score_files.ways import Choices

MOST_RESAMPLES = 1_000_000


class Opened(NamedTuple):
    """A score file on its labels."""

    path: Path
    truths: truths.GroundTruths
    fitted: fitting.Fitted

    @property
    def videos(self) -> list[ScoredVideo]:
        """Its test videos."""
        return self.fitted.videos

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Frame scores of each video."""
        return {v.name: v.scores for v in self.videos}


def add_options(parser: Parser) -> None:
    """The options that say what score files and labels are."""
    option = parser.add_argument
    option("--scores", type=Path, action="append", required=True, metavar="FILE")
    option("--labels", default="", help="file or folder of labels or spans, or a set's name")
    option(
        "--data", "--config.data.root", dest="data", type=Path, help="with a set's name: its folder"
    )
    option("--order", type=Path, help="names of the videos in one array, a line each")
    option("--lengths", type=Path, help="entries a video, a line each (or NAME@ENTRIES)")
    option("--unit", type=int, help="frames a score stands for; 0: equal spans (default: found)")
    option("--first", type=int, help="frames at a video's beginning that have no score")
    option("--partial", action="store_true", help="leave out videos without scores")
    option(
        "--checkpoints",
        action="store_true",
        help="the files are checkpoints of one model, the last one last",
    )


def parse_options(argv: Sequence[str], about: str | None, command: str) -> Namespace:
    """The options of a command line. Raises ConfigError."""
    parser = Parser(f"gfvad {command}", about)
    add_options(parser)
    if command == "evaluate":
        option = parser.add_argument
        option("--output", type=Path, metavar="DIR", help="write results.json, results.md there")
        option("--metric", choices=("auc", "ap"), help="of the headline (default: the set's)")
        option("--resamples", type=int, default=1000, help="of the videos, for intervals")
    options = parser.parse_args(["--help"] if {"-h", "--help"} & set(argv) else argv)
    if any(str(path) in ("", ".") for path in options.scores):  # an unset variable of the shell
        raise ConfigError("--scores=: empty; expected the path of a score file")
    for name, most in (("resamples", MOST_RESAMPLES), ("unit", 10**6), ("first", 10**6)):
        value = getattr(options, name, None)
        if value is not None and not 0 <= value <= most:
            raise ConfigError(f"--{name}={value}; expected a whole number from 0 to {most:,}")
    return options


def open_files(options: Namespace) -> list[Opened]:
    """Every score file of a command line, on its labels (its own ones, where no others are given).
    Raises DataError."""
    contents = [reading.read_content(path.expanduser()) for path in options.scores]
    place = options.labels
    given = truths.open_labels(place, options.data) if place else None
    order, lengths = _order(options.order), _lengths(options)
    choices = Choices(options.unit, options.first, order, lengths, options.partial)
    opened = []
    for content in contents:
        known_truths = given or truths.open_labels(_own_labels(content))
        opened.append(
            Opened(content.path, known_truths, fitting.fit_labels(content, known_truths, choices))
        )
        labels = np.concatenate([v.labels for v in opened[-1].videos])
        if labels.all() or not labels.any():
            kind = "abnormal" if labels.all() else "normal"
            raise DataError(
                f"{known_truths.source}: all {len(labels):,} frames are {kind}; expected both"
                " kinds: nothing can be ranked"
            )
    return opened


def _own_labels(content: reading.Content) -> str:
    """A score file that holds labels, too, as the place of labels. Raises DataError where it has
    none."""
    try:
        reading.read_content(content.path, reading.LABELS)
    except DataError:
        fits = known.of_entries(content.total)
        raise DataError(
            f"{content.path}: no labels in it, and no --labels; expected --labels=PLACE, a file or"
            f" a folder of the set that these scores are of. {fits}"
        ) from None
    return str(content.path)


def _order(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    names = tuple(canonical(line) for _, line in read_lines(path, "a video name a line"))
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a video stands twice; expected every video once")
    return names


def _lengths(options: Namespace) -> tuple[int, ...]:
    path = options.lengths
    if path is None:
        return ()
    lines = read_lines(path, "a length a line, or NAME@LENGTH")
    if all("@" in line for _, line in lines):
        table = parse_frame_counts(path)
        order = _order(options.order) or tuple(table)
        if lost := [name for name in order if name not in table]:
            raise DataError(f"{path}: no length of {lost[0]!r}; expected one for every video")
        return tuple(table[name] for name in order)
    try:
        numbers = [float(line) for _, line in lines]
    except ValueError:
        raise DataError(f"{path}: not a number a line; expected lengths of videos") from None
    return reading.whole_lengths(numbers, str(path))
