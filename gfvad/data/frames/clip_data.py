"""One split of a set as the predictive model sees it: frames, flow, descriptions and tokens of
any clip, at random access."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.fetched import local_folder
from gfvad.base.types import ClipBatch, ConfigError, DataError
from gfvad.data.captions import cache_folder
from gfvad.data.frames.cache import Cache, Say
from gfvad.data.frames.clips import eval_clips, train_clips
from gfvad.data.frames.descriptions import embed_descriptions, read_descriptions
from gfvad.data.frames.flow import FlowStore, open_flow
from gfvad.data.frames.frame_arrays import FrameArrays, GivenArrays
from gfvad.data.frames.store import open_frames
from gfvad.data.frames.tokens import TokenStore, open_tokens
from gfvad.data.frames.video_folders import VideoFolder, open_layout
from gfvad.encoders.description_lines import read_lines
from gfvad.encoders.registry import open_vision
from gfvad.encoders.token_folder import GRID

MODES = {"memmap": "store", "direct": "direct"}
LABELLED, AUTO, NONE = TESTS = ("labelled", "auto", "none")  # whether there is a test part


@dataclass(eq=False, repr=False)
class ClipData:
    """The clips of one split. All that a clip needs of the split is opened once; `features` is a
    function of its arguments alone.

    Besides the fields: names [V], lengths, offsets [V], fps [V], as of `frames`.
    """

    config: ConfigDict
    split: str
    frames: FrameArrays
    flow: FlowStore | GivenArrays | None
    text: np.ndarray | None  # float32 [T_total, D] embeddings of the descriptions
    tokens: TokenStore | GivenArrays | None
    texts: Sequence[Sequence[str]] | None = None  # the descriptions themselves

    def __post_init__(self):
        self.names, self.lengths = self.frames.names, self.frames.lengths
        self.offsets, self.fps = self.frames.offsets, self.frames.fps
        self._clip, self._stride = self.config.data.clip_frames, self.config.data.stride
        data, cell = self.config.data, self.config.model.cell
        self.grid = (data.height // cell, data.width // cell)  # cells (rows, columns) of a frame

    def __repr__(self) -> str:
        return (
            f"{self.config.data.dataset}/{self.split}({len(self.names)} videos,"
            f" {int(self.lengths.sum())} frames)"
        )

    def __len__(self) -> int:
        return len(self.names)

    def seen_by(self, config: ConfigDict) -> ClipData:
        """The same split with another configuration of equal config.data."""
        return replace(self, config=config)

    @property
    def content(self) -> dict[str, str]:
        """Part -> digest of what the clips consist of, as far as it is known."""
        found = {**getattr(self.frames, "content", {}), **getattr(self.flow, "content", {})}
        if self.text is not None:
            found["descriptions"] = hashlib.sha256(
                np.ascontiguousarray(self.text).data
            ).hexdigest()[:16]
        return found

    @property
    def text_width(self) -> int:
        """Width of the embeddings; 0 without text."""
        return 0 if self.text is None else self.text.shape[1]

    def window(self, t: int) -> np.ndarray:
        """Frames [F + 1] of the clip whose next frame is t: the first frame repeats where there
        is no past."""
        return np.maximum(t + self._stride * np.arange(-self._clip, 1), 0)

    def features(self, video: int, t: int) -> dict[str, np.ndarray]:
        """What the model reads of the clip that predicts frame t of a video; see
        `ClipBatch.features`."""
        index = self.window(t)
        found: dict[str, np.ndarray] = {"frames": self.frames.clip(video, index)}
        if self.flow is not None:
            found["flow"] = fit_cells(
                np.asarray(self.flow.clip(video, index), np.float32), self.grid
            )
        if self.text is not None:
            rows = self.text[self.offsets[video] + index]
            found |= clip_text(rows, self.config.data.clip_text)
        if self.tokens is not None:
            found["tokens"] = np.asarray(self.tokens.video(video)[index[:-1]])
        return found

    def fast(self, video: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A clip of the video played faster: 'fast' uint8 [F + 1, h, w, C], with random gaps
        between its frames, on average above 1, and where there is flow 'fast_flow' [g, g', 3], that
        of its last frame times the last gap.

        Gaps shrink where the video is too short for them.
        """
        gaps = rng.integers(1, self.config.loss.pace_fastest + 1, self._clip)
        if gaps.sum() < self._clip + 2:
            gaps = gaps + 1
        while gaps.sum() > self.lengths[video] - 1 and gaps.max() > 1:
            gaps = np.maximum(gaps - 1, 1)
        steps = self._stride * np.r_[0, np.cumsum(gaps)]
        start = rng.integers(0, max(int(self.lengths[video]) - int(steps[-1]), 1))
        index = np.minimum(start + steps, self.lengths[video] - 1)
        found = {"fast": self.frames.clip(video, index)}
        if self.flow is not None:
            found["fast_flow"] = (index[-1] - index[-2]) * fit_cells(
                np.asarray(self.flow.clip(video, index[-1:]), np.float32), self.grid
            )[0]
        return found


class TrainingClips:
    """Training examples: every clip of the given videos that has all its frames, with a faster
    clip of the same video beside it."""

    def __init__(self, data: ClipData, videos: Sequence[int], seed: int):
        cfg = data.config.data
        self.data, self._seed = data, seed
        self._clips = train_clips(data.lengths, cfg.clip_frames, cfg.stride, videos)
        self.identity = {
            "clips": len(self._clips),
            "videos": [data.names[v] for v in videos],
            "stride": int(cfg.stride),
        }

    def __len__(self) -> int:
        return len(self._clips)

    def example(self, i: int, place: int) -> ClipBatch:
        """Clip i as one example; place: of the example in the global stream, which its random
        numbers come from."""
        video, t = int(self._clips.video[i]), int(self._clips.target[i])
        found = self.data.features(video, t)
        if self.data.config.model.pace:
            found |= self.data.fast(video, np.random.default_rng([self._seed, place]))
        return ClipBatch(found, np.bool_(True), np.int32(video), np.int32(t), np.int32(place))


def eval_batches(data: ClipData, videos: Sequence[int], batch_size: int) -> Iterator[ClipBatch]:
    """Every frame of the given videos once, as the frame that is predicted, in order; the last
    batch is padded with invalid clips."""
    cfg = data.config.data
    index = eval_clips(data.lengths, cfg.clip_frames, cfg.stride, videos)
    for start in range(0, len(index), batch_size):
        place = np.arange(start, start + batch_size, dtype=np.int32)
        chosen = np.minimum(place, len(index) - 1)
        clips = [data.features(int(index.video[i]), int(index.target[i])) for i in chosen]
        features = {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}
        yield ClipBatch(
            features, place < len(index), index.video[chosen], index.target[chosen], place
        )


def clip_text(rows: np.ndarray, which: str) -> dict[str, np.ndarray]:
    """What a clip reads and predicts of the embeddings of its frames and the next one [F + 1, V],
    by data.clip_text."""
    if which == "last":
        return {"text": rows[-2], "text_next": rows[-2]}
    return {"text": rows[:-1].mean(0), "text_next": rows[-1]}


def fit_cells(cells: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Flow cells [F, a, b, 3] brought to another grid [F, g, g', 3] by area averages."""
    if cells.shape[1:3] == grid:
        return cells
    return np.stack(
        [cv2.resize(frame, grid[::-1], interpolation=cv2.INTER_AREA) for frame in cells]
    )


def open_split(
    config: ConfigDict, split: str, say: Say, flow_size: tuple[int, int] = (0, 0)
) -> ClipData:
    """Opens (and prepares, where it is the first time) all that a config needs of a split: 'train'
    or 'test'.

    flow_size: (height, width) in pixels that flow is taken at, for speeds are in pixels a frame; 0:
    the size of the split's first video.
    Raises DataError where the set, its descriptions or tokens are missing, damaged or do not fit
    each other.
    """
    data = config.data
    root, folder = set_root(data), set_folder(data)
    if split == "train":
        say(f"data: {root}; split by {folder.split_rule}")
    cache = Cache(cache_folder(data), data.workers, say)
    size = (data.height, data.width, data.channels)
    described = data.train_descriptions if split == "train" else data.test_descriptions
    # what is missing or unreadable shows before anything is decoded
    lines = list(read_lines(root / described)) if described else None
    encoder = open_vision(tokens_of_part(data.vision, split))
    frames = open_frames(folder, split, size, cache, MODES[data.store], data.resize)
    found = None
    if lines is not None:  # wrong ones show before the flow is taken
        found = read_descriptions(root / described, frames.names, frames.lengths, lines)
    flow = open_flow(folder, split, cache, data.flow_cell, flow_size) if data.flow else None
    text = texts = None
    if found is not None:
        if report := found.report(frames.names):
            say(f"descriptions: {described}, {report}")
        text, texts = embed_descriptions(found, data.text_encoder, cache.folder, say), found.texts
    tokens = None
    if encoder is not None:
        tokens = open_tokens(encoder, frames, frames.names, frames.lengths, cache.folder, say)
    return ClipData(config, split, frames, flow, text, tokens, texts)


def tokens_of_part(vision: str, split: str) -> str:
    """data.vision for a split: of tokens made elsewhere the folder below it that is the split's,
    where there is one, for videos of both parts may have the same names."""
    name, _, folder = vision.partition(":")
    part = Path(folder).expanduser() / split
    return f"{name}:{part}" if name == "tokens" and (part / GRID).is_file() else vision


def set_folder(data: ConfigDict) -> VideoFolder:
    """The videos of a set. Where it need have no test part (data.test), a folder of videos without
    parts is all normal video. Raises as `set_root`."""
    folder = open_layout(data.layout, set_root(data))
    alone = data.layout == "auto" and data.test != LABELLED and folder.layout == "any"
    return open_layout("normal", folder.root) if alone else folder


def set_root(data: ConfigDict) -> Path:
    """The folder of the set. Raises DataError where none is named or it is not there."""
    if not data.root:
        raise DataError(
            f"config.data.root is empty: {data.dataset} needs its frames on disk. Get them as"
            " docs/data.md says, and give --config.data.root=FOLDER"
        )
    root = local_folder(data.root)
    if not (root.exists() if data.layout == "any" else root.is_dir()):
        raise DataError(
            f"{root}: not found; expected the folder of {data.dataset}: check config.data.root"
        )
    open_layout(data.layout, root)  # its own errors come before any work
    if bool(data.train_descriptions) != bool(data.test_descriptions):
        raise ConfigError(
            "config.data.train_descriptions and test_descriptions: expected both or neither"
        )
    return root
