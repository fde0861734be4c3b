"""What the names and annotation files of a dataset say, apart from where its features lie: label,
split, frame ground truth.

Features of one dataset come in several layouts (TEVAD and VadCLIP publish XD-Violence and UCF-Crime
again), so a layout asks the rules of the dataset its names belong to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gfvad.base.files import present
from gfvad.base.names import Names, canonical, some
from gfvad.base.types import DataError
from gfvad.data import annotations, ground_truth
from gfvad.data.features.layouts.entries import Label, Rules
from gfvad.data.features.layouts.mixed_rules import Ped2Rules, ShanghaiRules
from gfvad.data.features.layouts.parts import without_npy
from gfvad.data.features.layouts.splits import list_claims, listed
from gfvad.data.ground_truth import SNIPPET, Truth
from gfvad.data.truth_audit import MAX_GAP, Stated

UCF_TEST, UCF_TRAIN = 290, 1610  # videos of UCF-Crime's parts
UCF_TEST_NAME, UCF_TRAIN_NAME = (re.compile(rf"Normal_Videos{mark}\d+_x264") for mark in ("_", ""))
NO_CLASS = "starts with no class of the set; expected e.g. Abuse001_x264"
UCF_FILES = (
    "temporal_annotations.txt",
    "Temporal_Anomaly_Annotation.txt",
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
)


class XdRules(Rules):
    """XD-Violence. lengths 'counts': ((n - 1) // 16) * 16 frames from frame_counts.txt, where it
    lies beside; else 16 a row."""

    dataset, pattern = "xd_violence", re.compile(r".+_label_(A|[BG0-9-]+)(\.mp4)?")
    fps = 24.0  # at which the published features were taken

    def __init__(self, root: Path, lengths: str = "counts"):
        self.path, self.counts_path = root / "annotations.txt", root / "frame_counts.txt"
        self.spans, self.counts = annotations.parse_xd(self.path), None
        if lengths == "counts" and present(self.counts_path, "lengths in frames"):
            self.counts = annotations.Videos(self.counts_path.name)
            for name, frames in annotations.parse_frame_counts(self.counts_path).items():
                self.counts.add(str(self.counts_path), name, frames)
        self._lists = listed(root, self._listed_name, (self.path, self.counts_path))
        self.files = [self.path, *([self.counts_path] if self.counts else [])]
        rule = "((n - 1) // 16) * 16 frames" if self.counts else "16 frames a feature row"
        self.ground_truth = f"annotations.txt, {rule}"

    @staticmethod
    def _listed_name(file: str) -> str | None:
        name = canonical(re.sub(r"(_i3d|_emb|__\d+|__vggish)$", "", without_npy(file)))
        return name if annotations.xd_classes(name) else None

    def claims(self, name: str) -> dict[str, str]:
        """What the files say of a video's part."""
        tables = ((self.path, self.spans), (self.counts_path, self.counts or {}))
        own = {f"its line in {path.name}": "test" for path, table in tables if name in table}
        return own | list_claims(self._lists, name)

    def label(self, name: str) -> Label | None:
        return annotations.xd_classes(name)

    def test_names(self) -> set[str]:
        """Test videos that must exist; with the counts all 800, else the 500 annotated ones."""
        return set(self.counts or self.spans)

    def covers(self, name: str) -> str:
        label, _ = self.label(name) or (0, ())
        if (name not in self.spans) == bool(label):
            return (
                f"label {label} by its name, but {'no' if label else 'a'} line in {self.path.name}"
            )
        if self.counts is not None and name not in self.counts:
            return f"no line in {self.counts_path.name}"
        return ""

    def stated(self, name: str) -> Stated:
        spans = self.spans.get(name, ground_truth.EMPTY)
        return Stated(spans=spans, spans_source=str(self.path))

    def truth(self, name: str, units: int) -> Truth:
        frames = units * SNIPPET
        if self.counts is not None:
            frames = ground_truth.xd_frames(self.counts[name])
            check_length(name, units, frames, self.counts_path)
        return ground_truth.xd_truth(name, frames, self.spans)


def ucf_lists(root: Path) -> dict[str, tuple[str, set[str]]]:
    """What other lists of UCF-Crime in a folder say (Anomaly_Test.txt, ucf-i3d-test.list), as
    `splits.listed`."""

    def name_of(file: str) -> str | None:
        stem = re.sub(r"(_i3d|_emb|__\d+)$", "", without_npy(file))
        name = annotations.ucf_name(stem) if stem else ""
        return name if UcfRules.pattern.fullmatch(name) and annotations.ucf_class(name) else None

    return listed(root, name_of, [root / f for f in (*UCF_FILES, "frame_counts.txt")])


class UcfRules(Rules):
    """UCF-Crime. family 2048: lengths counted up and end frames in; 1024 (and CLIP): 16 frames a
    feature row, end frames out."""

    dataset, pattern, fps = "ucf_crime", re.compile(r"[A-Za-z_]+\d+_x264(\.mp4)?"), 30.0

    def __init__(self, root: Path, family: int = 1024):
        paths = [root / f for f in UCF_FILES]
        self.path = next((path for path in paths if present(path, "annotations")), paths[0])
        self.counts_path, self.up = root / "frame_counts.txt", family == 2048
        self.events, self.counts = annotations.parse_ucf(self.path, inclusive=self.up), Names()
        if present(self.counts_path, "lengths in frames"):
            self.counts = ground_truth.ucf_counts(self.counts_path)
        others = [path for path in paths if path.is_file() and path != self.path]
        self._lists = {p.name: ("test", annotations.parse_ucf(p)) for p in others} | ucf_lists(root)
        self._counts_of_test = not any(UCF_TRAIN_NAME.fullmatch(name) for name in self.counts)
        self.files = [self.path, *([self.counts_path] if self.counts else [])]
        rules = (
            "16 frames a feature row, end frames out",
            "16 * ceil(n / 16) frames, end frames in",
        )
        self.ground_truth = f"{self.path.name}, {rules[self.up]}"
        self.split_rule = (
            f"{self.path.name} ({len(self.events)} test videos; the whole set has {UCF_TEST}), all"
            " others are for training"
        )

    def decided(self, name: str) -> str:
        return f"{'its' if name in self.events else 'no'} line in {self.path.name}"

    def claims(self, name: str) -> dict[str, str]:
        """What the files and the name say of a video's part."""
        claims = {f"its line in {self.path.name}": "test"} if name in self.events else {}
        claims |= list_claims(self._lists, name)
        if self._counts_of_test and name in self.counts:
            claims[f"its line in {self.counts_path.name}"] = "test"
        if UCF_TEST_NAME.fullmatch(name):
            claims[
                "its name (normal test videos are called Normal_Videos_001, training ones"
                " Normal_Videos001)"
            ] = "test"
        return claims

    def tables(self) -> Mapping[Path, tuple[Mapping, str]]:
        return {self.counts_path: (self.counts, "frame counts")} if self.counts else {}

    def lacks(self, train: int) -> str:
        if train <= UCF_TRAIN or len(self.events) >= UCF_TEST:
            return ""
        return (
            f"{len(self.events)} lines, and {train:,} videos without one; the set has {UCF_TEST}"
            f" test and {UCF_TRAIN:,} training videos, so that test videos would be trained on;"
            " expected the whole annotation file: copy it again"
        )

    def label(self, name: str) -> Label | None:
        return annotations.ucf_class(name)

    def split(self, name: str) -> str:
        return "test" if name in self.events else "train"

    def test_names(self) -> set[str]:
        return set(self.events)

    def covers(self, name: str) -> str:
        return "" if name in self.events else f"no line in {self.path.name}"

    def stated(self, name: str) -> Stated:
        return Stated(spans=self.events[name].spans, spans_source=str(self.path))

    def truth(self, name: str, units: int) -> Truth:
        frames = units * SNIPPET
        if name in self.counts:
            counting = ground_truth.snippets_up if self.up else ground_truth.snippets_down
            counted = counting(self.counts[name])
            check_length(name, units, counted, self.counts_path)
            frames = counted if self.up else frames
        return ground_truth.cut(self.events[name].spans, frames, self.events[name].classes)


Kind = type[XdRules | UcfRules | ShanghaiRules | Ped2Rules]
ALL: tuple[Kind, ...] = (XdRules, UcfRules, ShanghaiRules, Ped2Rules)


def check_length(name: str, units: int, frames: int, source: Path) -> None:
    """Raises DataError where N units and the ground-truth length are out of step by more than a
    snippet."""
    if abs(units - frames // SNIPPET) > MAX_GAP:
        raise DataError(
            f"{name}: {units} feature rows but {frames // SNIPPET} snippets by {source}; expected a"
            f" difference of at most {MAX_GAP}, extract the video again (or remove {source.name},"
            " then 16 frames a row count)"
        )


def rules_of(name: str) -> Kind | None:
    """The rules of the set that a video's name is of; None where it is of none."""
    return next((rules for rules in ALL if rules.pattern.fullmatch(name)), None)


def detect(names: Iterable[str]) -> Kind | None:
    """The rules whose names these are; None where they are of no published set. Raises DataError
    where names of several sets are mixed."""
    found: dict[Kind | None, list[str]] = {}
    for name in names:
        found.setdefault(rules_of(name), []).append(name)
    if len(found) > 1:
        parts = "; ".join(
            f"{kind.dataset if kind else 'unknown'}: {some(names)}" for kind, names in found.items()
        )
        raise DataError(
            f"names of several datasets in one folder ({parts}); expected one, give each its own"
            " folder"
        )
    return next(iter(found), None)
