"""What `--labels` may be: a folder of a known set's annotation, a file of labels or of spans.

    folder with                                     is
    annotations.txt, frame_counts.txt               XD-Violence (test_order.txt: the usual order)
    temporal_annotations.txt, frame_counts.txt      UCF-Crime
    test_spans.txt                                  Ped2: `video first last`, from 1, both in
    spans.csv (and frame_counts.txt: NAME@FRAMES)   `name,start,end`, from 0, end excluded
    frame_labels*.npz                               an array a video
    test_frame_mask/NAME.npy, or NAME.npy           an array a video

A file is one of these tables of spans, a JSON {"NAME": [[start, end], ...]} of them (from 0, end
excluded), or labels in any form that scores may have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.files import read_json
from gfvad.base.names import canonical
from gfvad.base.types import DataError
from gfvad.data import annotations, ground_truth
from gfvad.data.annotations import MOST_FRAMES
from gfvad.data.ground_truth import PED2_FRAMES, Truth
from gfvad.data.score_files import reading
from gfvad.measure.frames import spans_of

XD, UCF, PED2, SHANGHAI = "xd_violence", "ucf_crime", "ped2", "shanghaitech"
METRICS = {XD: "ap"}  # the metric of a set's papers; AUC of all others
SET_FILES = {
    XD: "annotations.txt",
    UCF: "temporal_annotations.txt",
    PED2: "test_spans.txt",
    SHANGHAI: "test_frame_mask",
}
COUNTS, ORDER_FILE = "frame_counts.txt", "test_order.txt"


class Candidate(NamedTuple):
    """A ground truth of a set: its lengths in words, and every test video."""

    title: str
    truths: Mapping[str, Truth]


class GroundTruths(NamedTuple):
    """What is known of a test set."""

    source: Path
    dataset: str
    candidates: tuple[Candidate, ...]  # the usual one first; () where only `vector` or spans are
    order: tuple[str, ...] = ()  # in which published scores have the videos; () where unknown
    vector: np.ndarray | None = None  # uint8 labels of all videos in one
    lengths: tuple[int, ...] = ()  # of the videos in `vector`
    # spans of abnormal videos whose lengths no file says: frames -> Truth of a name
    open_ended: Callable[[str, int], Truth] | None = None
    spell: Callable[[str], str] = canonical  # a name of a score file as the set spells it
    classes: Callable[[str], tuple[str, ...]] = lambda name: ()

    @property
    def metric(self) -> str:
        """What the set's papers report."""
        return METRICS.get(self.dataset, "auc")


def open_labels(place: str, root: Path | None = None) -> GroundTruths:
    """What `--labels` means: a path, or the name of a set whose folder is `root`. Raises DataError
    where it is neither, or cannot be read."""
    path = Path(place).expanduser()
    if not path.exists() and place in SET_FILES:
        if root is None:
            raise DataError(
                f"--labels={place}: a set without its folder; expected --data=FOLDER with"
                f" {SET_FILES[place]} beside it, or the folder itself: --labels=FOLDER"
            )
        path = root
        if not (path / SET_FILES[place]).exists():
            raise DataError(
                f"{path / SET_FILES[place]}: not found; expected the annotation of {place} there:"
                " see docs/data.md for where to get it"
            )
    if not path.exists():
        sets = ", ".join(SET_FILES)
        raise DataError(
            f"--labels={place}: not found; expected a file of labels or spans, a folder with a"
            f" set's annotation, or a set's name ({sets}) with --data=FOLDER"
        )
    return of_folder(path) if path.is_dir() else of_file(path)


def of_folder(folder: Path) -> GroundTruths:
    """By the first file of the table at the top that is there."""
    readers = {
        SET_FILES[XD]: xd_violence,
        SET_FILES[UCF]: ucf_crime,
        SET_FILES[PED2]: lambda path: of_spans(path, counted_from_one(path)),
        "spans.csv": lambda path: of_spans(path, spans_csv(path)),
        SET_FILES[SHANGHAI]: lambda path: by_video(path)._replace(dataset=SHANGHAI),
    }
    for name, reader in readers.items():
        if (folder / name).exists():
            return reader(folder / name)
    if archives := sorted(folder.glob("frame_labels*.npz")):
        return by_video(archives[0])
    if next(folder.glob("*.npy"), None):
        return by_video(folder)
    names = ", ".join([*readers, "frame_labels*.npz", "NAME.npy"])
    raise DataError(
        f"{folder}: no labels in it; expected one of {names}: see docs/compare_scores.md"
    )


def of_file(path: Path) -> GroundTruths:
    """A table of spans by what its lines look like, else labels."""
    kind = path.suffix.lower()
    if path.name == SET_FILES[XD]:
        return xd_violence(path)
    if path.name == SET_FILES[UCF]:
        return ucf_crime(path)
    if kind == ".txt":
        fields = [line.split() for _, line in annotations.read_lines(path, "spans or labels")]
        widths = {len(row) for row in fields}
        if widths == {3} and all(x.isdecimal() for row in fields for x in row[1:]):
            return of_spans(path, counted_from_one(path))
        if widths != {1}:
            has_class = all(len(row) > 1 and not row[1].lstrip("-").isdecimal() for row in fields)
            return ucf_crime(path) if has_class else xd_violence(path)
    if kind == ".csv":
        head = annotations.read_lines(path, "spans or labels")[0][1].lower().replace(" ", "")
        if {"start", "end"} <= set(head.split(",")):
            return of_spans(path, spans_csv(path))
    if kind == ".json" and (spans := spans_json(path)) is not None:
        return of_spans(path, spans)
    return by_video(path)


def by_video(path: Path) -> GroundTruths:
    """Labels of frames, an array a video or one for all."""
    content = reading.read_content(path, reading.LABELS)
    if content.one is not None:
        given = {"order": content.order, "vector": content.one, "lengths": content.lengths}
        return GroundTruths(path, path.stem, (), **given)
    truths = {
        name: Truth(len(y), spans := spans_of(y), ("",) * len(spans))
        for name, y in content.videos.items()
    }
    return GroundTruths(path, path.stem, (Candidate("the labels' lengths", truths),))


def xd_violence(path: Path) -> GroundTruths:
    """annotations.txt with frame_counts.txt and, where it is there, test_order.txt beside it."""
    folder = path.parent
    spans = annotations.parse_xd(path)
    counts = annotations.parse_frame_counts(require_counts(folder))
    ground_truth.require_counts(
        folder, [n for n in spans if annotations.find_name(counts, n) is None]
    )
    rules = {
        "(n - 1) // 16 snippets (the official one)": ground_truth.xd_frames,
        "snippets counted up": ground_truth.snippets_up,
        "snippets counted down": ground_truth.snippets_down,
        "every frame": lambda n: n,
    }
    candidates = tuple(
        Candidate(
            f"XD-Violence, {title}",
            {n: ground_truth.xd_truth(n, rule(frames), spans) for n, frames in counts.items()},
        )
        for title, rule in rules.items()
    )
    order = folder / ORDER_FILE
    known = {canonical(name).removeprefix("v="): name for name in counts}
    spell = lambda name: known.get(canonical(name).removeprefix("v="), canonical(name))
    listed = tuple(map(spell, ground_truth.read_order(order))) if order.is_file() else ()
    classes = lambda name: (annotations.xd_classes(name) or (0, ()))[1]
    return GroundTruths(folder, XD, candidates, listed, spell=spell, classes=classes)


def ucf_crime(path: Path) -> GroundTruths:
    """temporal_annotations.txt with frame_counts.txt beside it. The lines of the annotation are
    the usual order."""
    folder = path.parent
    counts = ground_truth.ucf_counts(require_counts(folder))
    events = {inclusive: annotations.parse_ucf(path, inclusive) for inclusive in (True, False)}
    ground_truth.require_counts(folder, [name for name in events[True] if name not in counts])
    rules = {
        "snippets counted up, end frames in (2048-d features)": (ground_truth.snippets_up, True),
        "snippets counted down, end frames out (1024-d features)": (
            ground_truth.snippets_down,
            False,
        ),
        "every frame": (lambda n: n, False),
    }
    candidates = tuple(
        Candidate(
            f"UCF-Crime, {title}",
            {
                name: ground_truth.cut(event.spans, rule(counts[name]), event.classes)
                for name, event in events[inclusive].items()
            },
        )
        for title, (rule, inclusive) in rules.items()
    )
    classes = lambda name: events[True][name].classes
    order = tuple(events[True])
    spell = annotations.ucf_name
    return GroundTruths(folder, UCF, candidates, order, spell=spell, classes=classes)


def require_counts(folder: Path) -> Path:
    """frame_counts.txt of a folder; raises DataError where it is not there."""
    path = folder / COUNTS
    if not path.is_file():
        raise DataError(
            f"{path}: not found; expected lines NAME@FRAMES beside the annotation, which does not"
            " say how long videos are: copy it there"
        )
    return path


def counted_from_one(path: Path) -> Mapping[str, np.ndarray]:
    """`video first last` of Ped2 -> {Test001: spans}."""
    return annotations.parse_ped2(path)


def spans_csv(path: Path) -> Mapping[str, np.ndarray]:
    """{name: [S, 2]} of spans.csv."""
    table = annotations.parse_spans_csv(path)
    return {name: np.array([row[:2] for row in rows], np.int64) for name, rows in table.items()}


def spans_json(path: Path) -> Mapping[str, np.ndarray] | None:
    """{name: [S, 2]} of a JSON {"NAME": [[start, end], ...]}, frames from 0, end excluded, [] for a
    normal video; None where it is another one."""
    tree = read_json(path, "labels: an object of lists", object)
    pairs = lambda x: isinstance(x, list) and all(isinstance(p, list) and len(p) == 2 for p in x)
    if not (isinstance(tree, dict) and any(tree.values()) and all(map(pairs, tree.values()))):
        return None
    found = {}
    for name, spans in tree.items():
        where = f"{path}, {name!r}"
        numbers = [frame_number(end, where) for span in spans for end in span]
        found[canonical(name)] = annotations.check_spans(where, numbers)
    return found


def frame_number(value: object, where: str) -> int:
    """A frame number of a JSON file. Raises DataError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_FRAMES:
        raise DataError(f"{where}: {value!r}; expected a whole frame number, from 0")
    return value


def of_spans(path: Path, spans: Mapping[str, np.ndarray]) -> GroundTruths:
    """Spans by video; lengths of a frame_counts.txt beside them, of Ped2, or of the scores."""
    counts: Mapping[str, int] = {}
    if (path.parent / COUNTS).is_file():
        counts = annotations.parse_frame_counts(path.parent / COUNTS)
    is_ped2 = set(spans) == {f"Test{i:03d}" for i in range(1, len(PED2_FRAMES) + 1)}
    if is_ped2 and not counts:
        counts = dict(zip(sorted(spans), PED2_FRAMES))
    dataset = PED2 if is_ped2 else path.parent.name
    if counts:
        truths = {n: truth_of(n, t, spans.get(n, ground_truth.EMPTY)) for n, t in counts.items()}
        return GroundTruths(path, dataset, (Candidate("every frame", truths),))
    ended = lambda name, frames: truth_of(name, frames, spans.get(name, ground_truth.EMPTY))
    return GroundTruths(path, dataset, (), tuple(spans), open_ended=ended)


def truth_of(name: str, frames: int, spans: np.ndarray) -> Truth:
    """Spans in a video of so many frames. Raises DataError for one that begins after its end."""
    if len(spans) and spans[:, 0].max() >= frames:
        raise DataError(
            f"{name}: a span from frame {spans[:, 0].max()} in {frames:,} frames; expected spans"
            " inside the video: do the scores stand for snippets? Give --unit=16 then"
        )
    return ground_truth.cut(spans, frames)
