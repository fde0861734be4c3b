"""Where the videos of a set lie on disk: frames in a folder a video, or video files, in the shapes
such sets are published in.

    frames   training/frames/01/000.jpg, testing/frames/01/000.jpg   (the predictive papers' Ped2,
             Avenue, ShanghaiTech)
    ucsd     Train/Train001/001.tif, Test/Test001/001.tif            (UCSD's own; Test001_gt holds
             masks)
    videos   training/videos/01.avi, testing/videos/01.avi           (also Avenue's own
             training_videos, testing_videos)
    any      one video file, one folder of frames, or a folder of either: to be scored, all of it is
             the part 'test'
    normal   the same, to learn from: all of it is the part 'train'

A part may hold both kinds (ShanghaiTech comes with training videos and testing frames). `train` and
`test` do for `training` and `testing`, and the folders `frames` and `videos` may be left out:
train/NAME/001.jpg, test/NAME.mp4.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gfvad.base.files import require_regular
from gfvad.base.names import VIDEO_SUFFIXES, canonical, natural, nearest, some
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames.finding import is_video, suffix_of

IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
VIDEOS = VIDEO_SUFFIXES  # in folders; what has another suffix is probed (`finding.is_video`)
SPLITS = ("train", "test")
_NAMES = {"train": ("training", "train"), "test": ("testing", "test")}
# layout -> split -> folders tried in this order, of which the first that exists counts
FOLDERS: dict[str, dict[str, tuple[str, ...]]] = {
    "frames": {
        split: (f"{a}/frames", f"{b}/frames", f"{a}/videos", f"{b}/videos", a, b)
        for split, (a, b) in _NAMES.items()
    },
    "ucsd": {"train": ("Train",), "test": ("Test",)},
    "videos": {
        split: (f"{a}/videos", f"{a}_videos", f"{b}/videos", f"{a}/frames", f"{b}/frames", a, b)
        for split, (a, b) in _NAMES.items()
    },
    "any": {"train": (), "test": (".",)},
    "normal": {"train": (".",), "test": ()},
}
LAYOUTS = ("auto", *FOLDERS)
TEST_NAME = re.compile(r"test(?:ing)?[ _.-]*\d+", re.IGNORECASE)  # UCSD's clips: Test001


class VideoFile(NamedTuple):
    """One video on disk."""

    name: str
    split: str  # 'train' | 'test'
    path: Path  # the folder of its frames, or the video file
    frames: tuple[Path, ...]  # images in the order of their numbers; () for a video file

    def sources(self) -> tuple[Path, ...]:
        """The files its frames come from."""
        return self.frames or (self.path,)


class VideoFolder:
    """The videos of one set. `videos(split)` reads the folder when it is first asked for, and
    remembers."""

    def __init__(self, layout: str, root: Path):
        self.layout, self.root = layout, root
        self.passed: list[Path] = []  # files in the folders read so far that hold no video
        self._videos: dict[str, tuple[VideoFile, ...]] = {}

    def __repr__(self) -> str:
        return f"VideoFolder({self.layout!r}, {str(self.root)!r})"

    def folder(self, split: str) -> Path:
        """The folder (or the single file) that holds a split's videos. Raises DataError where
        there is none."""
        if split not in SPLITS:
            raise ConfigError(f"split {split!r}; valid: {', '.join(SPLITS)}")
        tried = FOLDERS[self.layout][split]
        if not tried:
            raise DataError(
                f"{self.root}: no {split} videos in layout {self.layout!r}, of which all is"
                f" {SPLITS[split == 'train']!r}; expected training/ and testing/ for both"
            )
        found = next(
            (self.root / name for name in tried if name == "." or _exists(self.root, name)), None
        )
        if found is None:
            raise DataError(
                f"{self.root}: no folder of {split} videos of layout {self.layout!r}; expected"
                f" {' or '.join(tried)}. Found: {_listing(self.root)}. Give the folder above it, or"
                f" another layout ({', '.join(LAYOUTS)})"
            )
        return found

    def has(self, split: str) -> bool:
        """Whether there is a folder for a split, whatever is in it."""
        try:
            self.folder(split)
        except DataError:
            return False
        return True

    def videos(self, split: str) -> tuple[VideoFile, ...]:
        """The videos of a split, ordered by the numbers in their names.

        Raises DataError for an empty folder, missing frames, and training videos that are called
        like test ones or lie in the test part.
        """
        if split not in self._videos:
            found = gather(self.folder(split), split, self.passed)
            if split == "train":
                self._require_training(found)
            self._videos[split] = found
        return self._videos[split]

    @property
    def split_rule(self) -> str:
        """What decided the parts, in words."""
        names = {}
        for split in SPLITS:
            try:
                names[split] = os.path.relpath(self.folder(split), self.root)
            except DataError:
                names[split] = "none"
        return f"folders {names['train']} (training) and {names['test']} (test)"

    def _require_training(self, videos: Sequence[VideoFile]) -> None:
        """Raises DataError for videos of which their name, or a link into the test part, says
        that they are for testing."""
        folder = self.folder("train")
        named = [video.name for video in videos if TEST_NAME.fullmatch(video.name)]
        tests = [
            self.root / name
            for name in FOLDERS[self.layout]["test"]
            if name != "." and _exists(self.root, name)
        ]
        inside = [
            v.name
            for v in videos
            if any(v.path.resolve().is_relative_to(test.resolve()) for test in tests)
        ]
        if named or inside:
            why = "called like test videos" if named else f"links into {tests[0]}"
            raise DataError(
                f"{folder}: {len(named or inside)} training videos are {why}:"
                f" {some(named or inside)}; expected none: move them to the test part"
            )


def open_layout(layout: str, root: str | os.PathLike) -> VideoFolder:
    """The set in `root`, of a layout of LAYOUTS ('auto': see `detect`). Raises ConfigError for
    another layout, DataError where root is missing."""
    if layout not in LAYOUTS:
        raise ConfigError(
            f"video layout {layout!r}{nearest(layout, LAYOUTS)}; valid: {', '.join(LAYOUTS)}"
        )
    root = Path(root).expanduser()
    if not root.exists():
        raise DataError(
            f"{root}: not found; expected a folder of frames or videos: check data.root"
        )
    return VideoFolder(detect(root) if layout == "auto" else layout, root)


def detect(root: str | os.PathLike) -> str:
    """Which layout lies in `root`, by the folder of its training part, else of its test part;
    'any' where there is neither."""
    root = Path(root).expanduser()
    if root.is_file():
        return "any"
    marks = {"frames": 2, "ucsd": 1, "videos": 3}  # how many of a layout's folders are its own
    for split in SPLITS:
        for layout, own in marks.items():
            if any(_exists(root, name) for name in FOLDERS[layout][split][:own]):
                return layout
    bare = any(_exists(root, name) for split in SPLITS for name in FOLDERS["frames"][split])
    return "frames" if bare else "any"


def gather(folder: Path, split: str, passed: list[Path] | None = None) -> tuple[VideoFile, ...]:
    """The videos in `folder` (or of one file): each video file, each subfolder of images, or, where
    images lie in it directly, itself.

    Hidden files and UCSD's folders of masks (`*_gt`) are passed over, and files that are no video,
    which `passed` gets. Raises DataError where nothing is found, a subfolder is empty, frames are
    missing, or two videos have the same name.
    """
    if not folder.is_dir():
        require_regular(folder, "a video file, or a folder of videos or frames")
        return (_of_file(folder, split),)
    passed = [] if passed is None else passed
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.suffix.lower() in IMAGES for path in inside):
        passed += sorted(path for path in inside if path.suffix.lower() not in IMAGES)
        return (VideoFile(canonical(folder.resolve().name), split, folder, frames_of(folder)),)
    files = {path: is_video(path) for path in sorted(inside) if not path.is_dir()}
    passed += [path for path, known in files.items() if not known]
    videos = [_of_file(path, split) for path, known in files.items() if known]
    videos += [
        VideoFile(canonical(p.name), split, p, frames_of(p))
        for p in inside
        if p.is_dir() and not p.name.endswith("_gt")
    ]
    if not videos:
        raise DataError(
            f"{folder}: no videos; expected a folder of frames ({' '.join(IMAGES)}) or a video file"
            f" a video. Found: {_listing(folder)}"
        )
    videos.sort(key=lambda video: natural(video.name))
    for one, other in zip(videos, videos[1:]):
        if one.name == other.name:
            raise DataError(
                f"{folder}: two videos named {one.name!r}: {one.path.name} and {other.path.name};"
                " expected one: rename or remove the other"
            )
    return tuple(videos)


def frames_of(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in the order of the last number in their names, which must count up by
    one from any start.

    Raises DataError naming the first missing frame, two of one number, a name without a number, or
    an empty folder.
    """
    images = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    ]
    if not images:
        raise DataError(
            f"{folder}: no frames; expected images ({' '.join(IMAGES)}). Found: {_listing(folder)}."
            " Remove the folder or fill it"
        )
    numbered = sorted((_number(path), path.name, path) for path in images)
    for (a, _, one), (b, _, other) in zip(numbered, numbered[1:]):
        if a == b:
            raise DataError(
                f"{folder}: {one.name} and {other.name} are both frame {a}; expected one image a"
                " frame: remove the other"
            )
        if b != a + 1:
            digits = re.findall(r"\d+", one.stem)[-1]
            missing = (
                f"{one.stem[: one.stem.rfind(digits)]}{str(a + 1).zfill(len(digits))}{one.suffix}"
            )
            more = f" ({b - a - 1} frames up to {other.name})" if b > a + 2 else ""
            raise DataError(
                f"{folder}: frame {missing} is missing{more}, found {one.name} and {other.name};"
                " expected every number: extract this video again"
            )
    return tuple(path for *_, path in numbered)


def fingerprint(videos: Sequence[VideoFile]) -> str:
    """SHA-256 of the name, size and time of change of every source file: another one says that
    files were replaced."""
    digest = hashlib.sha256()
    for video in videos:
        for path in video.sources():
            stat = path.stat()
            digest.update(
                f"{video.name}\0{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode()
            )
    return digest.hexdigest()


def _of_file(path: Path, split: str) -> VideoFile:
    return VideoFile(canonical(path.name.removesuffix(suffix_of(path.name))), split, path, ())


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    if not digits:
        raise DataError(
            f"{path}: no number in the name; expected frames numbered in order, e.g."
            f" 000{path.suffix}: rename it"
        )
    return int(digits[-1])


def _exists(root: Path, name: str) -> bool:
    """Whether the folder is there, with exactly this spelling (some file systems take 'Train'
    and 'train' for one)."""
    for part in name.split("/"):
        if not root.is_dir() or part not in os.listdir(root):
            return False
        root = root / part
    return root.is_dir()


def _listing(folder: Path) -> str:
    names = sorted(os.listdir(folder)) if folder.is_dir() else [folder.name]
    more = f", ... ({len(names)} in all)" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more if names else "nothing"
