"""Arrays with one entry a frame of a set, read through one memory map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import read_json
from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError
from gfvad.data.prepared_folder import seal_of

DATA, MANIFEST, PARTS = "data.bin", "manifest.json", "parts"
DIGEST, SEAL = "sha256", "seal"  # keys of a manifest: of a video's entries, of the manifest itself


class Spec(NamedTuple):
    """What a cache holds; all of it goes into the name of its folder."""

    kind: str  # 'frames' | 'flow'
    item: tuple[int, ...]  # shape of a frame's entry
    dtype: str
    size: tuple[int, int]  # (height, width) in pixels that frames were brought to
    settings: Mapping[str, Any] = {}  # what else the numbers depend on (JSON)

    @property
    def item_bytes(self) -> int:
        return int(np.prod(self.item)) * np.dtype(self.dtype).itemsize


class FrameArrays:
    """An array [T_i, *item] of each of V videos, with one entry a frame.

    names [V]; lengths, offsets int64 [V] (frame t of video i is frame offsets[i] + t of all); fps
    float64 [V], 0 where unknown.
    """

    def __init__(self, names: Sequence[str], lengths: Sequence[int], fps: Sequence[float] = ()):
        self.names, self.lengths = tuple(names), np.array(lengths, np.int64)
        self.offsets = np.cumsum(self.lengths) - self.lengths
        self.fps = np.array(fps or [0] * len(names), np.float64)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def total(self) -> int:
        """Frames of all videos, T_total."""
        return int(self.lengths.sum())

    def video(self, i: int) -> np.ndarray:
        """Entries of video i, [T_i, *item]."""
        raise NotImplementedError

    def clip(self, video: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Entries of some frames (0-based) of a video in any order, repeats allowed: a copy [n,
        *item]. IndexError outside the video."""
        return self.video(video)[checked(indices, int(self.lengths[video]))]


class GivenArrays(FrameArrays):
    """Arrays of V videos that are there already, in memory or as maps of files."""

    def __init__(
        self, names: Sequence[str], videos: Sequence[np.ndarray], fps: Sequence[float] = ()
    ):
        super().__init__(names, [len(video) for video in videos], fps)
        # plain views: indexing np.memmap itself costs a Python call more for every result
        self._videos = [np.asarray(video) for video in videos]

    def video(self, i: int) -> np.ndarray:
        return self._videos[i]


class Store(FrameArrays):
    """The entries of every frame of a split's videos, at random access and safe to read from
    threads.

    source_sizes int64 [V, 2] (height, width) in pixels; size (height, width) that frames were
    brought to; data [T_total, *item].
    """

    def __init__(self, path: Path, spec: Spec, videos: Sequence[Mapping[str, Any]]):
        super().__init__(*([video[key] for video in videos] for key in ("name", "frames", "fps")))
        self.path, self.spec, self.size = path, spec, spec.size
        self.source_sizes = np.array([video["size"] for video in videos], np.int64).reshape(-1, 2)
        self.digests = [video.get(DIGEST) for video in videos]  # None: of an earlier version
        self._checked = np.array([digest is None for digest in self.digests])
        # a plain view: indexing np.memmap itself costs a Python call more for every result
        self.data = np.asarray(
            np.memmap(path / DATA, spec.dtype, "r", shape=(self.total, *spec.item))
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def fingerprint(self) -> str:
        """What the entries are: another one where the source files or the settings changed."""
        manifest = read_manifest(self.path) or {}
        return f"{self.path.name}:{manifest.get('fingerprint', '')}"

    @property
    def content(self) -> dict[str, str]:
        """{kind: digest of all entries, with the videos' names}; {} for a store of an earlier
        version."""
        if None in self.digests:
            return {}
        lines = [f"{name} {digest}" for name, digest in zip(self.names, self.digests)]
        return {self.spec.kind: lines_hash(lines)[:16]}

    def check(self, i: int) -> bool:
        """Whether the entries of video i are what was prepared; they are read the first time."""
        if not self._checked[i]:
            digest = hashlib.sha256(self._entries(i).data).hexdigest()
            self._checked[i] = digest == self.digests[i]
        return bool(self._checked[i])

    @property
    def source_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the first video's frames on disk."""
        height, width = self.source_sizes[0]
        return int(height), int(width)

    def video(self, i: int) -> np.ndarray:
        """Entries of video i, a read-only view [T_i, *item]. Raises DataError where they are
        damaged."""
        if not self.check(i):
            raise DataError(
                f"{self.path}: the {self.spec.kind} of {self.names[i]!r} is damaged (its checksum"
                " differs); remove this folder, the same command makes it anew"
            )
        return self._entries(i)

    def _entries(self, i: int) -> np.ndarray:
        return self.data[self.offsets[i] : self.offsets[i] + self.lengths[i]]


def checked(indices: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    """Frame indices as int64 [n]; IndexError where one lies outside [0, length): the next video
    would be read silently."""
    indices = np.asarray(indices, np.int64)
    if indices.size and not (indices.min() >= 0 and indices.max() < length):
        raise IndexError(f"frames {indices.min()} to {indices.max()} of a video of {length} frames")
    return indices


def read_manifest(path: Path) -> dict | None:
    """The manifest, or None where it is not there or damaged."""
    try:
        manifest = read_json(path / MANIFEST, "the manifest of stored frames")
        if SEAL in manifest and manifest.pop(SEAL) != seal_of(manifest):
            return None
        whole = {"fingerprint", "complete", "videos"} <= set(manifest)
        return manifest if whole and (path / DATA).is_file() else None
    except (OSError, ValueError, TypeError):
        return None
