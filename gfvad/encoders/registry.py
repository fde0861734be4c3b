"""Encoders by name: what turns the frames and the sound of a unit into one vector.
`open_encoder("motion")`, `open_encoder("onnx", path=..., modality="appearance")`.

    motion       how fast and how abruptly things move: optical flow and frame differences
                 (motion.py). Needs no weights
    appearance   outlines and colours of the picture (appearance.py). Needs no weights
    efficientnet what is in the picture and how it changes: EfficientNet-Lite0, trained on ImageNet,
    on three frames. Its weights are a package of 17 MB (efficientnet.py) [path=FILE.pth,
    modality=appearance, part=picture|change]
    audio        the sound's spectrum and how it changes: statistics of VGGish's log-mel patch
                 (sound.py). Needs no weights
    vggish       VGGish's network on that patch, 128 numbers: path=FILE.onnx
    onnx         any image network as an ONNX file, on the middle frame: path=FILE.onnx
                 [modality=appearance] [mean=..., std=...]
    transformers a vision transformer in a local folder (ViT, CLIP, DINOv2, ...), the mean of its
    patch tokens on the middle frame: path=FOLDER [modality=appearance]
    text         sentence embedding of a unit's description: path=FILE.jsonl of
                 gfvad/data/frames/descriptions.py (also from gfvad/extraction/describe.py)
    objects      how many objects of each class a local detector sees, how large and how sure:
                 path=FOLDER of a transformers detector

An encoder is a function of one `Unit`, so a file and a camera give the same features. Nothing is
ever downloaded: an encoder that lacks its file says what to get.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError
from gfvad.encoders.units import Unit

SIDE = 320  # pixels of the long side of frames that encoders see at most
DEFAULT = ("motion", "appearance", "audio")


class Encoder(Protocol):
    """What an encoder is to the rest."""

    name: str
    modality: str
    width: int  # D
    version: int  # raised when equal input gives other numbers
    settings: dict[str, Any]  # for the manifest: what makes its numbers besides the version

    def encode(self, unit: Unit) -> np.ndarray | None:
        """float32 [width] of a unit; None where it has nothing of the modality (no sound, no
        description), which is stored as zeros."""

    def of(self, video: str) -> Encoder:
        """The encoder for one video by its name: itself, but where there is something to look
        up."""

    def about(self, videos: Sequence[str]) -> str:
        """A note on what was to be looked up and is of none of these videos; '' for nothing.
        Raises DataError where none of it is."""

    def require_frames(self, frames: int) -> None:
        """Raises DataError where what was looked up (`of`) does not fit a video of so many
        frames."""


# name -> (module, class); imported when it is opened, since each needs libraries of its own
ENCODERS = {
    "motion": ("motion", "Motion"),
    "appearance": ("appearance", "Appearance"),
    "efficientnet": ("efficientnet", "EfficientNet"),
    "audio": ("sound", "LogMel"),
    "vggish": ("sound", "Vggish"),
    "onnx": ("networks", "OnnxImage"),
    "transformers": ("networks", "TransformersImage"),
    "text": ("described", "Described"),
    "objects": ("networks", "Objects"),
}
OF_ANY_MODALITY = ("onnx", "transformers", "efficientnet")  # are told their modality
NEED_PATH = ("vggish", "onnx", "transformers", "text", "objects")


def open_encoder(name: str, **settings: Any) -> Encoder:
    """The encoder of a name with its settings (strings as a command line gives them do). Raises
    ConfigError for a name, a setting or a path that cannot work."""
    if name not in ENCODERS:
        raise ConfigError(
            f"encoder {name!r}{nearest(name, ENCODERS)}; valid: {', '.join(ENCODERS)}"
        )
    if name in NEED_PATH and not settings.get("path"):
        raise ConfigError(
            f"encoder {name!r} needs a local file or folder: give path=..., see"
            " gfvad/encoders/registry.py for what it is"
        )
    if "path" in settings:
        settings["path"] = os.path.expanduser(str(settings["path"]))
    module, kind = ENCODERS[name]
    try:
        return getattr(import_module(f"gfvad.encoders.{module}"), kind)(**settings)
    except TypeError as error:
        raise ConfigError(
            f"encoder {name!r}: settings {', '.join(settings) or 'none'} do not fit ({error})"
        ) from None


# what the constructor of an encoder takes of the settings that a manifest states; the rest follows
# from it
GIVEN = {
    "efficientnet": ("path", "part"),
    "vggish": ("path",),
    "onnx": ("path", "mean", "std", "size"),
    "transformers": ("path",),
    "text": ("path", "encoder", "prompt"),
    "objects": ("path",),
}


def settings_of(modality: str, stated: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    """Settings to open an encoder by, from what a manifest states of it {"name", "settings",
    ...}; changed: other ones, as another path of the same file."""
    name, known = stated["name"], stated["settings"]
    found = {
        key: tuple(known[key]) if isinstance(known[key], list) else known[key]
        for key in GIVEN.get(name, ())
        if key in known
    }
    return found | ({"modality": modality} if name in OF_ANY_MODALITY else {}) | changed


class Plain:
    """Base of the encoders that look nothing up."""

    name = modality = ""
    width, version = 0, 1

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def of(self, video: str) -> Encoder:
        return self

    def about(self, videos: Sequence[str]) -> str:
        return ""

    def require_frames(self, frames: int) -> None:
        pass
