"""The vocabulary every part of the project shares: what a video is on the host, what a batch is on
the device.

Axis letters used in shape comments everywhere:
B videos in a batch, M modalities, N units (snippets or segments) of a video, C crops, T frames, D
features, E experts, K kept, S spans, P/Q expansion orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.errors import ConfigError as ConfigError
from gfvad.base.errors import DataError as DataError


class Video(NamedTuple):
    """One video as a layout reader gives it (host side, numpy)."""

    name: str
    split: str  # 'train' | 'test'
    # modality -> [C, N, D_m]; C = 1 where there are no crops; all share N
    features: Mapping[str, np.ndarray]
    label: int  # 1 abnormal, 0 normal, -1 unknown
    classes: tuple[str, ...]  # () where normal or unknown
    num_frames: int  # T, frames of the ground truth (or of the scores asked for); never 0
    spans: np.ndarray  # int64 [S, 2] abnormal frames, half-open; [0, 2] where normal or unknown
    span_classes: tuple[str, ...]  # S entries
    # frames a unit stands for (16); 0: the N units cut the T frames into N equal spans
    unit_frames: int
    fps: float  # frames a second; 0.0 where unknown


class Batch(NamedTuple):
    """One padded batch. Padded units have mask False; padded examples have valid False and mask
    all False."""

    # modality -> float32 [B, N, D_m] (train) or [B, C_m, N, D_m] (evaluation)
    features: Mapping[str, Any]
    mask: Any  # bool [B, N]
    label: Any  # float32 [B]; -1 where unknown
    valid: Any  # bool [B]
    video: Any  # int32 [B] index of the video in its split's records
    start: Any  # int32 [B] index of the first unit in the video (evaluation windows); 0 in training
    # int32 [B] place in the global example stream: per-example random keys are folded from it
    position: Any


class ClipBatch(NamedTuple):
    """One batch of clips of the predictive model: F frames and the one that follows them."""

    # 'frames' uint8 [B, F + 1, h, w, C]; where used 'fast' (the same, played faster), 'fast_flow'
    # (its last), 'flow' float32
    features: Mapping[str, Any]
    # [B, F + 1, g, g', 3], 'text' and 'text_next' float32 [B, V], 'tokens' float16 [B, F, L, D_v]
    valid: Any  # bool [B]
    video: Any  # int32 [B] index of the video in its split
    frame: Any  # int32 [B] the frame that is predicted
    position: Any  # int32 [B] place in the global example stream


class Output(NamedTuple):
    """What a detector returns for ONE video; train and evaluation steps vmap it over B."""

    logits: Any  # float32 [N] unit anomaly logits; sigmoid gives the score
    # float32 [G, N, N] fused graphs (G channels, 1 in the paper); [0, N, N] for models without one
    graph: Any
    # e.g. 'balance' [] loss, 'usage/<modality>' [E], 'router_entropy/<modality>' []
    aux: Mapping[str, Any]


class ScoredVideo(NamedTuple):
    """Frame scores of one video, ready for every protocol (host side, numpy)."""

    name: str
    scores: np.ndarray  # float64 [T]
    labels: np.ndarray  # uint8 [T]; length 0 where unknown
    label: int  # video label, as in Video
    classes: tuple[str, ...]
    spans: np.ndarray  # int64 [S, 2]
    span_classes: tuple[str, ...]
    unit_frames: int  # as in Video
    fps: float
