"""Videos as sets of clips with features of one's own: folders of `gfvad extract`, as what the
novelty model learns from and scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import lies_at, read_json, read_table
from gfvad.base.names import canonical, some
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.feature_files import EXTRACTED
from gfvad.data.objects.tracks import Tracks
from gfvad.data.unit_videos import UnitVideo, UnitVideos
from gfvad.encoders.units import FRAMES

SETS = ("motion", "appearance", "audio", "text", "objects")  # modalities of features
LABELS, SPANS, MANIFEST = "labels.csv", "spans.csv", "manifest.json"
AGAIN = "extract the videos again"


class ClipVideo(NamedTuple):
    """A video as its manifest has it."""

    files: Mapping[str, Path]  # modality -> its features
    frames: int
    fps: float
    units: int
    path: str  # of the video


class ClipVideos(UnitVideos):
    """The videos of a split, by name. A clip of FRAMES frames is a unit; there is one at a time."""

    what = "clips of features"
    located = False

    def __init__(
        self,
        name: str,
        split: str,
        videos: Mapping[str, ClipVideo],
        data_cfg: Any,
        labels: Mapping[str, np.ndarray] | None = None,
    ):
        """Args: data_cfg: config.data; labels: frames of each video, where they are known."""
        names = sorted(videos)
        self.videos = [videos[n] for n in names]
        super().__init__(name, split, [clip_tracks(v.units) for v in self.videos], names, data_cfg)
        self.lengths = [v.frames for v in self.videos]
        if labels is not None:
            self.labels = [labels[n] for n in names]

    def sources(self) -> dict[str, Sequence[np.ndarray]]:
        """The features."""
        return {m: [self.read(i, m) for i in range(len(self))] for m in self.cfg.modalities}

    def read(self, index: int, modality: str) -> np.ndarray:
        """[N, D] of one file. Raises DataError where it is not as the manifest says."""
        video = self.videos[index]
        path = video.files[modality]
        header = arrays.read_header(path)
        arrays.check_header(path, header, (2,))
        found = arrays.read_array(path, header)
        if len(found) != video.units or not np.isfinite(found).all():
            raise DataError(
                f"{path}: {len(found)} units, or numbers that are not finite; expected"
                f" {video.units} units of finite numbers: {AGAIN}"
            )
        return found

    def features(self, index: int) -> dict[str, np.ndarray]:
        """Feature set -> float32 [N, D]: signed roots, brought to length 1, so that no few large
        numbers decide a distance (Perronnin et al., 2010)."""
        return {m: unit_length(self.read(index, m)) for m in self.cfg.modalities}

    def units(self, index: int) -> UnitVideo:
        """One clip after the other."""
        tracks = self.tracks[index]
        group = np.zeros(len(tracks.frame), np.int64)
        return UnitVideo(tracks, self.lengths[index], group, FRAMES)

    def fps(self, index: int) -> float:
        """As the video's file says, else config.data.fps."""
        return self.videos[index].fps or float(self.cfg.fps)

    def path(self, index: int) -> str:
        """The video that the features are of."""
        return self.videos[index].path


def clip_tracks(units: int) -> Tracks:
    """Clips as one track; where they are in the picture says nothing."""
    frame = np.arange(units, dtype=np.int64) * FRAMES
    return Tracks(frame, np.zeros(units, np.int64), np.tile([0.0, 0.0, 1.0, 1.0], (units, 1)))


def unit_length(x: np.ndarray) -> np.ndarray:
    """Signed square roots of [N, D], each row brought to length 1; rows of zeros stay."""
    x = x.astype(np.float32)
    roots = np.sign(x) * np.sqrt(np.abs(x))
    return roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-6)


class ClipSet:
    """A folder of `gfvad extract`, found but not read. Without labels.csv all of it is normal;
    with it the normal videos that are not for testing are learnt from, and the test part is
    evaluated on, its abnormal frames by spans.csv."""

    def __init__(self, dataset: str, root: Path, data_cfg: Any):
        """Raises DataError where it is no such folder, lacks a modality, or has no normal video."""
        self.dataset, self.cfg, self.root = dataset, data_cfg, root
        videos = videos_of(root, data_cfg.modalities)
        labels = labels_of(root)
        known = {canonical(name): row for name, row in labels.items()}
        if unknown := sorted(n for n in videos if canonical(n) not in known) if labels else ():
            raise DataError(
                f"{root / LABELS}: no line of {some(unknown)}; expected a label of every video, or"
                " no such file where all of them are normal"
            )
        of = {n: known.get(canonical(n), (0, "")) for n in videos}
        asked = bool(data_cfg.test)
        self.train = {n: v for n, v in videos.items() if of[n] in ((0, ""), (0, "train"))}
        self.test = {n: v for n, v in videos.items() if asked and of[n][1] == "test"}
        if not self.train:
            raise DataError(f"{root}: no normal video to learn from; expected some")
        left = len(videos) - len(self.train) - len(self.test)
        self.rule = (
            f"{len(self.train)} normal videos to learn from, {len(self.test)} labelled ones to"
            f" evaluate on, {left} left out"
        )

    def open_train(self) -> ClipVideos:
        """The normal videos."""
        return ClipVideos(self.dataset, "train", self.train, self.cfg)

    def open_test(self) -> ClipVideos:
        """The test part, with its labels."""
        path, labels = self.root / SPANS, {}
        spans = annotations.parse_spans_csv(path) if lies_at(path) else {}
        for name, video in self.test.items():
            labels[name] = np.zeros(video.frames, np.uint8)
            for start, end, _ in spans.get(name, ()):
                labels[name][start:end] = 1
        return ClipVideos(self.dataset, "test", self.test, self.cfg, labels)


def open_clips(
    dataset: str, path: Path, data_cfg: Any, names: Collection[str] | None = None
) -> ClipVideos:
    """The videos of a folder of features, to be scored; names: those alone."""
    found = videos_of(path, data_cfg.modalities)
    chosen = {n: v for n, v in found.items() if names is None or n in names}
    return ClipVideos(dataset, "test", chosen, data_cfg)


def videos_of(root: Path, modalities: Sequence[str]) -> dict[str, ClipVideo]:
    """Videos of a folder of `gfvad extract`. Raises DataError where it is none, or a modality is
    not in it."""
    path = root / MANIFEST
    tree = read_json(path, "the manifest of gfvad extract") if lies_at(path) else {}
    if tree.get("kind") != EXTRACTED:
        raise DataError(
            f"{root}: no {MANIFEST} of gfvad extract; expected a folder that it wrote:"
            " gfvad extract VIDEOS --out=FOLDER"
        )
    found: dict[str, ClipVideo] = {}
    try:
        for name, record in tree["videos"].items():
            files = {m: root / str(file) for m, file in record["files"].items()}
            if lacking := [m for m in modalities if m not in files]:
                raise DataError(
                    f"{path}: {name!r} has no {', '.join(lacking)}; it has {', '.join(files)}:"
                    " change config.data.modalities, or extract them"
                )
            counts = int(record["frames"]), float(record["fps"]), int(record["units"])
            found[name] = ClipVideo(files, *counts, str(record.get("path", "")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged ({type(error).__name__}: {error}); expected the manifest of gfvad"
            f" extract: {AGAIN}"
        ) from None
    if not found:
        raise DataError(f"{path}: no video in it; expected some: {AGAIN}")
    return found


def labels_of(root: Path) -> dict[str, tuple[int, str]]:
    """Name -> (label, part) of labels.csv; {} where there is none. Raises DataError."""
    path, found = root / LABELS, {}
    for where, row in read_table(path, ("name", "label"), ("split",)) if lies_at(path) else ():
        if row["label"] not in ("0", "1") or row["split"] not in ("", "train", "test"):
            raise DataError(
                f"{where}: label {row['label']!r}, split {row['split']!r}; expected 0 or 1, train"
                " or test"
            )
        found[row["name"]] = (int(row["label"]), row["split"])
    return found
