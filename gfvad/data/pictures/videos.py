"""Videos as sets of patches of their pictures: what the novelty model learns from and scores where
there is no tracker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from gfvad.base.progress import Progress
from gfvad.base.types import ConfigError, DataError
from gfvad.data import company
from gfvad.data.frames.decode import GREY, frame_rate, read_frames, stated_frames
from gfvad.data.frames.finding import passed_over
from gfvad.data.frames.flow import PRESET, one_thread_each
from gfvad.data.frames.store import fit
from gfvad.data.frames.truth import check_before_decoding, find_truth
from gfvad.data.frames.video_folders import VideoFile, open_layout
from gfvad.data.objects.tracks import Tracks
from gfvad.data.pictures.features import MOVING, SETS, SIDE, Grid, cell_means, cells_of_grid
from gfvad.data.unit_videos import UnitVideo, UnitVideos

TOGETHER = 64  # pictures that are described at once
THREADS = 4


class Described(NamedTuple):
    """The S pictures of a video that were kept, P patches each."""

    features: Mapping[str, np.ndarray]  # set -> float16 [S, P, D]
    frames: int  # of the video
    size: tuple[int, int]  # its pictures' height and width in pixels
    fps: float
    every: int  # frames from one kept picture to the next
    path: str = ""  # of the video


class PictureVideos(UnitVideos):
    """The videos of a split, by name. A patch is a unit: its place is the same in every picture,
    and is compared with pictures of that place alone."""

    what = "patches of pictures"
    patches = True

    def __init__(
        self,
        name: str,
        split: str,
        videos: Mapping[str, Described],
        data_cfg: Any,
        labels: Mapping[str, np.ndarray] | None = None,
    ):
        """Args: data_cfg: config.data; labels: frames of each video, where they are known."""
        names = list(videos)
        self.described = [videos[n] for n in names]
        self.grids = grids_of(data_cfg)
        super().__init__(
            name, split, [patch_tracks(d, self.grids) for d in self.described], names, data_cfg
        )
        self.places = sum(grid.patches for grid in self.grids)
        self.groups = len(self.grids)
        self.lengths = [d.frames for d in self.described]
        if labels is not None:
            self.labels = [labels[n] for n in names]

    def sources(self) -> dict[str, Sequence[np.ndarray]]:
        """The features of the pictures."""
        names = [n for n in self.cfg.modalities if n not in company.SETS]
        return {n: [d.features[n] for d in self.described] for n in names}

    def features(self, index: int) -> dict[str, np.ndarray]:
        """Feature set -> float32 [P * S, D] of a video, place by place."""
        found = {
            name: x.transpose(1, 0, 2).reshape(-1, x.shape[-1]).astype(np.float32)
            for name, x in self.described[index].features.items()
        }
        return company.added(found, company.places_of(self.units(index)), self.cfg)

    def units(self, index: int) -> UnitVideo:
        """Where the patches of a video are; a group is a grid."""
        tracks, described = self.tracks[index], self.described[index]
        group = np.repeat(np.arange(len(self.grids)), [grid.patches for grid in self.grids])
        return UnitVideo(tracks, described.frames, group[tracks.person], described.every)

    def size(self, index: int) -> tuple[int, int]:
        """As the video's first picture."""
        height, width = self.described[index].size
        return width, height

    def path(self, index: int) -> str:
        """The video file, or its folder of frames."""
        return self.described[index].path

    def fps(self, index: int) -> float:
        """Frames a second of a video: as its file says, else config.data.fps."""
        return self.described[index].fps


def patch_tracks(described: Described, grids: Sequence[Grid]) -> Tracks:
    """The patches of a video as tracks that stay where they are."""
    count = len(next(iter(described.features.values())))
    boxes = np.concatenate([cells_of_grid(grid, *described.size) for grid in grids])
    frame = np.tile(np.arange(count, dtype=np.int64) * described.every, len(boxes))
    person = np.repeat(np.arange(len(boxes), dtype=np.int64), count)
    return Tracks(frame, person, np.repeat(boxes, count, 0))


def grids_of(data_cfg: Any) -> list[Grid]:
    """Grids of config.data.grids, '4x8'. Raises ConfigError for one that the pictures cannot be cut
    by."""
    found = []
    for text in data_cfg.grids:
        sides = text.split("x")
        if len(sides) != 2 or not all(s.isdecimal() and int(s) for s in sides):
            raise ConfigError(f"config.data.grids: {text!r}; expected ROWSxCOLUMNS, such as '4x8'")
        grid = Grid(int(sides[0]), int(sides[1]))
        for count, key in ((grid.rows, "height"), (grid.columns, "width")):
            if data_cfg[key] % (count * SIDE):
                raise ConfigError(
                    f"config.data.{key} = {data_cfg[key]}: no multiple of {count * SIDE}; grid"
                    f" {text!r} cuts it into {count} patches of {SIDE} cells"
                )
        found.append(grid)
    return found


def describe(video: VideoFile, data_cfg: Any, advance: Callable[[int], object]) -> Described:
    """Reads a video once and describes config.data.pictures_a_second of its pictures. advance: is
    told of frames that were read. Raises DataError as `read_frames`, and for a video without a
    frame."""
    grids, size = grids_of(data_cfg), (int(data_cfg.height), int(data_cfg.width))
    fps = frame_rate(video) or float(data_cfg.fps)
    every = every_of(fps, data_cfg)
    frames, shape = 0, (0, 0)
    found: dict[str, list[np.ndarray]] = {name: [] for name in data_cfg.modalities if name in SETS}
    moving = [name for name in data_cfg.modalities if name in MOVING]
    flow = Flow(grids, fps) if moving else None

    def kept() -> Iterator[np.ndarray]:
        nonlocal frames, shape
        for frame in read_frames(video, GREY):
            picture = fit(frame, size) if flow or not frames % every else frame
            if flow:
                flow.add(picture)
            if not frames % every:
                shape = (int(frame.shape[0]), int(frame.shape[1]))
                yield picture
            frames += 1
            advance(1)

    pictures = kept()
    while batch := list(islice(pictures, TOGETHER)):
        for name, x in patch_features(batch, data_cfg, grids).items():
            found[name].append(x)
    if not frames:
        raise DataError(f"{video.path}: no frame; expected a video")
    features = {name: np.concatenate(parts) for name, parts in found.items()}
    for name in moving:
        assert flow is not None
        features[name] = MOVING[name](flow.shares(), fps)[::every].astype(np.float16)
    return Described(features, frames, shape, fps, every, str(Path(video.path).resolve()))


def every_of(fps: float, data_cfg: Any) -> int:
    """Frames from one picture that is looked at to the next."""
    return max(1, round(fps / float(data_cfg.pictures_a_second)))


def patch_features(
    pictures: Sequence[np.ndarray], data_cfg: Any, grids: Sequence[Grid]
) -> dict[str, np.ndarray]:
    """Feature set (of those that one picture shows) -> float16 [n, P, D] of n grey pictures, uint8
    [H, W] each, of any size."""
    size = int(data_cfg.height), int(data_cfg.width)
    grey = np.stack([fit(picture, size) for picture in pictures]).astype(np.float32) / 255
    return {
        name: np.concatenate([SETS[name](grey, grid) for grid in grids], 1).astype(np.float16)
        for name in data_cfg.modalities
        if name in SETS
    }


class Flow:
    """Mean optical flow of the patches of each frame of a video (DIS, Kroeger et al. 2016)."""

    def __init__(self, grids: Sequence[Grid], fps: float):
        # one a video, for it is not safe to share between threads; OpenCV's stubs lack it
        self.dis = cv2.DISOpticalFlow_create(PRESET)  # type: ignore[attr-defined]
        self.grids, self.fps = grids, fps
        self.last: np.ndarray | None = None
        self.rows: list[np.ndarray] = []

    def add(self, picture: np.ndarray) -> None:
        """The next frame, uint8 [H, W]."""
        if self.last is not None:
            flow = self.dis.calc(self.last, picture, None)
            share = np.hypot(*flow.transpose(2, 0, 1)) * (100 * self.fps / picture.shape[1])
            cells = [cell_means(share[None], grid, 1).ravel() for grid in self.grids]
            self.rows.append(np.concatenate(cells))
        self.last = picture

    def shares(self) -> np.ndarray:
        """float32 [T, patches] in % of the width a second; the first frame has that of the
        second, the only one of a video none."""
        count = sum(grid.patches for grid in self.grids)
        rows = self.rows or [np.zeros(count)]
        return np.stack([rows[0], *self.rows]).astype(np.float32)


def describe_all(videos: Sequence[VideoFile], data_cfg: Any, label: str) -> dict[str, Described]:
    """The same of several videos, side by side, by name."""
    stated = [stated_frames(video) for video in videos]
    total = sum(stated) if all(stated) else 0
    workers = min(THREADS, os.cpu_count() or 1)
    bar, pool = Progress(total, label, "frames"), ThreadPoolExecutor(workers)
    with bar as progress, pool, one_thread_each():
        one = partial(describe, data_cfg=data_cfg, advance=progress.advance)
        found = list(pool.map(one, videos))
    return {video.name: one for video, one in zip(videos, found, strict=True)}


class PictureSet:
    """The videos of a set on disk, found but not read: a folder with training/ and perhaps
    testing/, or a folder of normal videos alone."""

    def __init__(self, dataset: str, root: Path, data_cfg: Any):
        """Raises DataError where there is no video, or a labelled part is asked for and is not
        there."""
        self.dataset, self.cfg, self.root = dataset, data_cfg, root
        grids_of(data_cfg)
        folder = open_layout("auto", root)
        alone = folder.layout == "any"
        folder = open_layout("normal", root) if alone else folder
        self.given = {"spans": data_cfg.spans, "masks": data_cfg.masks}
        self.train, self.test = folder.videos("train"), self._test_part(folder)
        self.rule = "all of it is normal video to learn from" if alone else folder.split_rule
        if note := passed_over(folder.passed):
            self.rule += f"; {note}"
        self.labelled = bool(self.test) and check_before_decoding(
            root, self.test, self.train, **self.given
        )

    def _test_part(self, folder: Any) -> tuple[VideoFile, ...]:
        if not self.cfg.test or (self.cfg.test == "auto" and not folder.has("test")):
            return ()
        return folder.videos("test")

    def open_train(self) -> PictureVideos:
        """Reads and describes the normal videos."""
        found = describe_all(self.train, self.cfg, "reading normal video")
        return PictureVideos(self.dataset, "train", found, self.cfg)

    def open_test(self) -> PictureVideos:
        """Reads and describes the test part with its labels, where the set is `labelled`. Raises
        DataError where they do not fit it."""
        found = describe_all(self.test, self.cfg, "reading the test part")
        lengths = [found[video.name].frames for video in self.test]
        truth = find_truth(self.root, self.test, lengths, **self.given)
        assert truth is not None
        labels = dict(zip(found, truth.labels, strict=True))
        return PictureVideos(self.dataset, "test", found, self.cfg, labels)


def open_pictures(dataset: str, path: Path, data_cfg: Any) -> PictureVideos:
    """Videos to score: one video file, one folder of frames, or a folder of either."""
    videos = open_layout("any", path).videos("test")
    return PictureVideos(dataset, "test", describe_all(videos, data_cfg, "reading"), data_cfg)


def open_film(dataset: str, film: VideoFile, data_cfg: Any, progress: bool) -> PictureVideos:
    """One video to score. Raises DataError as `describe`."""
    if progress:
        found = describe_all([film], data_cfg, "reading")
    else:
        found = {film.name: describe(film, data_cfg, lambda frames: None)}
    return PictureVideos(dataset, "test", found, data_cfg)
