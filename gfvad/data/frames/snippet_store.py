"""Snippet features of one part of a set, from its frames: flow and picture statistics in their
caches, descriptions embedded, each opened when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from gfvad.base.types import DataError
from gfvad.data.frames import decode, snippets
from gfvad.data.frames.cache import Cache, open_store
from gfvad.data.frames.descriptions import embed_descriptions, read_descriptions
from gfvad.data.frames.flow import FlowStore, one_thread_each, open_flow
from gfvad.data.frames.frame_arrays import Spec, Store
from gfvad.data.frames.store import fit
from gfvad.data.frames.video_folders import VideoFile, VideoFolder
from gfvad.encoders.registry import open_sentences

CELL = 8  # pixels; the predictive model's cells, whose flow cache is shared
PICTURES = 1  # version of `snippets.picture_statistics`: raise it when their meaning changes


class SnippetFeatures:
    """Features [N, D] float32 of every video of a part, by index.

    folder, part: as `VideoFolder.videos`; descriptions: JSON lines of
    the part's frames, None without text.
    Raises DataError for frames that are missing or damaged, a video without descriptions, and what
    else the stores refuse.
    """

    def __init__(
        self,
        folder: VideoFolder,
        part: str,
        cache: Cache,
        descriptions: Path | None = None,
        encoder: str = "minilm",
    ):
        self.folder, self.part, self.cache = folder, part, cache
        self.descriptions, self.encoder = descriptions, encoder

    @cached_property
    def flow(self) -> FlowStore:
        """Cell means of DIS flow."""
        return open_flow(self.folder, self.part, self.cache, CELL)

    @cached_property
    def pictures(self) -> Store:
        """`snippets.picture_statistics` of every frame."""
        size = self.flow.size
        spec = Spec(
            "pictures", (snippets.PICTURE,), "float32", size, {"cell": CELL, "version": PICTURES}
        )

        def convert(video: VideoFile) -> Iterator[np.ndarray]:
            # [T, h, w]: the background needs all of them
            frames = np.stack(
                [fit(frame, size) for frame in decode.read_frames(video, decode.GREY)]
            )
            return snippets.picture_statistics(frames, CELL)

        with one_thread_each():
            return open_store(self.folder, self.part, spec, convert, self.cache)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """Embedding [T_total, D] of every frame's description."""
        if self.descriptions is None:
            raise DataError(
                f"{self.folder.root}: no descriptions of its {self.part} part; expected JSON lines,"
                " see docs/data.md (section ped2_weak)"
            )
        names = [video.name for video in self.folder.videos(self.part)]
        lengths = [frame_count(video) for video in self.folder.videos(self.part)]
        found = read_descriptions(self.descriptions, names, lengths)
        if report := found.report(names):
            self.cache.say(f"{self.descriptions.name}: {report}")
        return embed_descriptions(found, self.encoder, self.cache.folder, self.cache.say)

    def read(self, i: int, modality: str) -> np.ndarray:
        """Features [N, D] of video i: 'motion', 'appearance' or 'text'."""
        if modality == "motion":
            return snippets.motion_features(self.flow.video(i))
        if modality == "appearance":
            return snippets.appearance_features(self.pictures.video(i))
        ends = np.cumsum([0] + [frame_count(video) for video in self.folder.videos(self.part)])
        return snippets.mean(self.embeddings[ends[i] : ends[i + 1]])

    def floor(self, i: int, frames: int, side: int) -> np.ndarray:
        """`snippets.floor_scores` [N] of video i."""
        return snippets.floor_scores(
            np.asarray(self.flow.video(i)[..., 2], np.float32), frames, side
        )


def width(modality: str, encoder: str) -> int:
    """D of a modality."""
    if modality == "text":
        return open_sentences(encoder).width
    return {"motion": snippets.MOTION, "appearance": snippets.APPEARANCE}[modality]


def frame_count(video: VideoFile) -> int:
    """Frames T of a video: of a video file without a stated number by decoding it."""
    return decode.stated_frames(video) or sum(1 for _ in decode.read_frames(video, decode.GREY))
