"""Every frozen encoder by its name: what turns units of a video, sentences, or frames into vectors.

units      one vector a unit of 16 frames, for `gfvad extract`: `open_encoder("motion")`
    motion        how fast and how abruptly things move: optical flow and frame differences
    appearance    outlines and colours of the picture
    audio         the sound's spectrum and how it changes, not its loudness: statistics of VGGish's
                  log-mel patch
    efficientnet  what is at the places that change, and how it changes: EfficientNet-Lite0, trained
                  on ImageNet (a package of 17 MB) [path=FILE.pth, modality=appearance,
                  part=places|picture|change|both]
    vggish        VGGish's network on the log-mel patch, 128 numbers: path=FILE.onnx
    onnx          any image network on the middle frame: path=FILE.onnx [modality=appearance,
                  mean=..., std=..., size=224]
    transformers  a vision transformer in a local folder (ViT, CLIP, DINOv2, ...), the mean of its
                  patch tokens on the middle frame: path=FOLDER [modality=appearance]
    objects       how many objects of each class a local detector sees, how large and how sure:
                  path=FOLDER of a transformers detector
    text          sentence embedding of a unit's description: path=FILE.jsonl
                  (gfvad/encoders/description_lines.py) or the folder of a vision-language model
                  [encoder=minilm|hash, prompt=...]
sentences  one vector a sentence (config.data.text_encoder): `open_sentences("minilm")`
    minilm        all-MiniLM-L6-v2 in JAX (a package of 88 MB);  hash: signed hashing of words
    simcse        SimCSE's BERT in a local folder, which GFVAD_SIMCSE names
frames     patch tokens of single frames (config.data.vision): `open_vision("tokens:FOLDER")`
    transformers  a vision transformer in a local folder;  tokens: FOLDER/VIDEO.npy made elsewhere
    states        the same with the class token, and what the embedding layer gave

An encoder of units is a function of one `Unit`, so a file and a camera give the same features.
Nothing is ever downloaded: an encoder that lacks its file says what to get. One more encoder is one
class, and one line here or, from outside the package, one call of `register_encoder`, in a config
or in a file that GFVAD_PLUGINS names (gfvad/base/registry.py).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.names import nearest
from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.units import Unit

DEFAULT = ("motion", "appearance", "audio")
INSTALL = "`pip install -r launch/requirements-encoders.txt`"
Make = Callable[..., Any]  # a class, or what else makes an encoder of its settings

# what is read -> name -> the class as module:name, imported when it is opened, for each needs
# libraries of its own; or, registered from outside, the class itself
_BUILT_IN = {
    "units": {
        "motion": "gfvad.encoders.motion:Motion",
        "appearance": "gfvad.encoders.appearance:Appearance",
        "audio": "gfvad.encoders.sound:LogMel",
        "efficientnet": "gfvad.encoders.efficientnet:EfficientNet",
        "vggish": "gfvad.encoders.sound:Vggish",
        "onnx": "gfvad.encoders.onnx_image:OnnxImage",
        "transformers": "gfvad.encoders.vision:TransformersImage",
        "objects": "gfvad.encoders.objects:Objects",
        "text": "gfvad.encoders.described:Described",
    },
    "sentences": {
        "minilm": "gfvad.encoders.minilm:MiniLM",
        "hash": "gfvad.encoders.hashed_words:HashedWords",
        "simcse": "gfvad.encoders.simcse:SimCSE",
    },
    "frames": {
        "transformers": "gfvad.encoders.vision:TransformersEncoder",
        "states": "gfvad.encoders.vision:TransformersStates",
        "tokens": "gfvad.encoders.token_folder:TokenFolder",
    },
}
_KEYS = {"units": "encoder", "sentences": "data.text_encoder", "frames": "data.vision"}
ENCODERS: dict[str, Registry[str | Make]] = {
    reads: Registry(_KEYS[reads], names) for reads, names in _BUILT_IN.items()
}
SENTENCES = ENCODERS["sentences"]


class Encoder:
    """What every encoder is: a frozen function to vectors of `width` numbers."""

    name: str = ""
    width: int = 0  # D


class UnitEncoder(Encoder):
    """Base of the encoders of units. `settings` (JSON) and `version` stand in the manifest of the
    features: what the numbers depend on."""

    modality: str = ""
    version: int = 1  # raised when equal input gives other numbers
    # version -> settings that open the encoder as it was then, for models trained on it
    earlier: Mapping[int, Mapping[str, Any]] = {}

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def encode(self, unit: Unit) -> np.ndarray | None:
        """float32 [width] of a unit; None where it has nothing of the modality (no sound, no
        description), which is stored as zeros."""
        raise NotImplementedError

    def of(self, video: str) -> UnitEncoder:
        """The encoder for one video by its name: itself, but where there is something to look
        up."""
        return self

    def about(self, videos: Sequence[str]) -> str:
        """A note on what was to be looked up and is of none of these videos; '' for nothing.
        Raises DataError where none of it is."""
        return ""

    def require_frames(self, frames: int) -> None:
        """Raises DataError where what was looked up (`of`) does not fit a video of so many
        frames."""


class SentenceEncoder(Encoder):
    """Base of the encoders of sentences. `id` names the numbers (name, version, width): embeddings
    cached under one id are never mixed with another's."""

    id: str
    longest: int = 0  # tokens of a sentence that are read; 0: all

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width] of n sentences, of unit norm."""
        raise NotImplementedError

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than what is read of them."""
        return 0


class FrameEncoder(Encoder):
    """Base of the encoders of frames."""

    grid: tuple[int, int]  # rows, columns
    fingerprint: str  # SHA-256 of weights and settings: equal tokens for equal frames

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 [n, h, w, 3] -> tokens float32 [n, L, width], L = rows * columns, row by
        row, no class token."""
        raise NotImplementedError


@contextlib.contextmanager
def packages(who: str, install: str = INSTALL) -> Iterator[None]:
    """Around imports of packages that one encoder needs. Raises DataError, which begins with `who`,
    that says what to install."""
    try:
        yield
    except ImportError as error:
        found = f"package {error.name or error} not found"
        raise DataError(f"{who}: {found}: run {install}") from None


def package_file(who: str, package: tuple[str, str], file: str, install: str) -> Path:
    """A file of an installed package (name, version). Raises DataError, which begins with `who`,
    that says what to install."""
    name, version = package
    try:
        path = Path(str(importlib.metadata.distribution(name).locate_file(file)))
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"{who}: package {name} not found, expected version {version}: run {install}"
        ) from None
    if not path.is_file():
        raise DataError(
            f"{who}: {path} not found, expected in {name}=={version}: reinstall, {install}"
        )
    return path


def register_encoder(name: str, make: Make, reads: str = "units") -> Make:
    """Makes an encoder known by a name; returns `make`.

    make: a class that stands on UnitEncoder, SentenceEncoder or FrameEncoder by what it `reads`
    ("units", "sentences" or "frames"), or a function that gives one. Its arguments are the
    encoder's settings; `path` is a local file or folder, `modality` is what `gfvad extract` is
    asked for. Raises ConfigError for a name that stands for another one.
    """
    open_sentences.cache_clear()
    return ENCODERS[reads].register(name, make)


def find_encoder(name: str, reads: str = "units") -> Make | None:
    """What makes the encoder of a name, imported; None where nobody registered one."""
    make = ENCODERS[reads].find(name) if name in ENCODERS[reads] else None
    if isinstance(make, str):
        module, _, attribute = make.partition(":")
        return getattr(import_module(module), attribute)
    return make


def settings_known(name: str) -> Mapping[str, inspect.Parameter]:
    """The settings of an encoder of units; {} where there is no such encoder."""
    make = find_encoder(name)
    return inspect.signature(make).parameters if make else {}


def open_encoder(name: str, **settings: Any) -> UnitEncoder:
    """The encoder of units of a name with its settings (strings as a command line gives them do).
    Raises ConfigError for a name, a setting or a path that cannot work."""
    make = find_encoder(name)
    if make is None:
        valid = list(ENCODERS["units"])
        raise ConfigError(f"encoder {name!r}{nearest(name, valid)}; valid: {', '.join(valid)}")
    known = settings_known(name)
    if "path" in known and known["path"].default is inspect.Parameter.empty:
        if not settings.get("path"):
            raise ConfigError(
                f"encoder {name!r} needs a local file or folder: give path=..., see"
                " gfvad/encoders/registry.py for what it is"
            )
    if "path" in settings:
        settings["path"] = os.path.expanduser(str(settings["path"]))
    try:
        inspect.signature(make).bind(**settings)
    except TypeError as error:
        raise ConfigError(
            f"encoder {name!r}: settings {', '.join(settings) or 'none'} do not fit ({error})"
        ) from None
    return make(**settings)


def settings_of(modality: str, stated: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    """Settings to open an encoder of units by, from what a manifest states of it {"name",
    "settings", ...}; changed: other ones, as another path of the same file."""
    known, values = settings_known(stated["name"]), stated["settings"]
    found = {key: values[key] for key in known if key in values}
    found = {key: tuple(x) if isinstance(x, list) else x for key, x in found.items()}
    earlier = getattr(find_encoder(stated["name"]), "earlier", {})
    found |= earlier.get(stated.get("version"), {})
    return found | ({"modality": modality} if "modality" in known else {}) | changed


@functools.lru_cache(maxsize=4)  # weights and compiled programs are read once a process
def open_sentences(name: str) -> SentenceEncoder:
    """The encoder of sentences of a name. Raises ConfigError for another name, DataError where its
    weights are missing."""
    make = find_encoder(name, "sentences")
    if make is None:
        raise ConfigError(
            f"data.text_encoder is {name!r}, not a sentence"
            f" encoder{nearest(name, list(ENCODERS['sentences']))}"
        )
    return make()


def open_vision(spec: str, **settings: Any) -> FrameEncoder | None:
    """The encoder of frames that `spec` = 'NAME:FOLDER' names; None for 'patches', where the model
    trains its own patch embedding and there is nothing to precompute.

    Raises ConfigError for a spec or setting that cannot work, DataError for a folder that lacks
    something, saying what to fetch.
    """
    name, colon, path = str(spec).partition(":")
    if name == "patches" and not colon:
        return None
    make = find_encoder(name, "frames") if path else None
    if make is None:
        valid = ", ".join(f"'{known}:FOLDER'" for known in ENCODERS["frames"])
        raise ConfigError(f"vision encoder {spec!r}: expected {valid} or 'patches'")
    return make(Path(path).expanduser(), **settings)
