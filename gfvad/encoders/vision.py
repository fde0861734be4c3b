"""Frozen vision transformers: patch tokens of single frames, or their mean on a unit's middle
frame.

A model is in the Hugging Face format in a local folder (ViT, CLIP, SigLIP, DINOv2, InternViT, ...)
and run by torch; nothing is ever downloaded. A folder is judged by its JSON files and the headers
of its weights before torch is imported, which happens at the first frame: a finished cache of
tokens (`gfvad/data/frames/tokens.py`) is opened without torch and transformers. `pretrained` opens
other models of that library.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.seals import file_hash, lines_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders import model_folder
from gfvad.encoders.registry import FrameEncoder, UnitEncoder, packages
from gfvad.encoders.units import Unit

# version of preprocessing and token choice; raise it when the same weights would give other tokens
RULES = 1
TOWERS = ("vision_model", "vision_tower")  # where models of images and text keep the part that sees
# weights behind or beside the tokens: a checkpoint may lack them
UNUSED = ("pooler", "mask_token", "head.")


class TransformersEncoder(FrameEncoder):
    """A vision transformer of the `transformers` library from a local folder. The model is loaded
    at the first frames.

    Tokens are the last hidden state; patch tokens are its last rows * columns entries (class,
    distillation and register tokens stand before). `size` is what frames are resized to, pixels or
    (rows, columns) of them (None: what the model's processor says); `batch` frames go through at a
    time on `device` (None: a GPU where torch sees one); `trust` runs model code that lies in the
    folder. Raises ConfigError for a setting that cannot work, DataError for a folder that lacks
    something, saying what to fetch.
    """

    asked: Mapping[str, Any] = {}  # arguments of the model besides its input

    def __init__(
        self,
        folder: Path,
        size: int | tuple[int, int] | None = None,
        batch: int = 16,
        device: str | None = None,
        trust: bool = False,
    ):
        model_folder.require_folder(folder, "transformers", model_folder.FETCH)
        if batch < 1:
            raise ConfigError(
                f"vision encoder 'transformers:{folder}': batch is {batch}, expected at least 1"
            )
        self.folder, self.batch, self.device = folder, batch, device
        self.name = folder.resolve().name
        self.config = model_folder.read_json(folder / model_folder.CONFIG, model_folder.FETCH)
        self.remote = model_folder.remote_code(folder, self.config, trust)
        vision, self.width, patch, self.image = model_folder.geometry(folder, self.config)
        self.preprocessing = model_folder.preprocessing(folder, size, self.image)
        rows, columns = self.preprocessing.size
        if rows % patch[0] or columns % patch[1] or not rows or not columns:
            raise ConfigError(
                f"{folder}: frames of {rows} x {columns} pixels do not divide into patches of"
                f" {patch[0]} x {patch[1]}: set another size"
            )
        self.grid = (rows // patch[0], columns // patch[1])
        # tokens before the patches that a vision transformer may have: class, distillation,
        # registers
        self.extra = {0, 1, 2, 1 + int(vision.get("num_register_tokens") or 0)}
        self.weights = model_folder.weight_files(folder)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the configuration, the weights, the model's code where it is in the folder,
        and the preprocessing."""
        code = sorted(self.folder.glob("*.py")) if self.remote else []
        lines = [f"{RULES} {self.preprocessing}"]
        for file in (self.folder / model_folder.CONFIG, *self.weights, *code):
            lines.append(f"{file.name} {file_hash(file)}")
        return lines_hash(lines)

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        """(torch, the part of the model that sees), on the device, in evaluation mode."""
        return load_model(self.folder, self.weights, self.remote, self.device)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Tokens [n, L, D] float32 of frames [n, h, w, 3] uint8. DataError where the model gives
        no patch tokens."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise DataError(
                f"vision encoder {self.name}: frames {frames.dtype} {list(frames.shape)}, expected"
                " uint8 [n, h, w, 3]"
            )
        torch, model = self._model
        out = np.empty((len(frames), math.prod(self.grid), self.width), np.float32)
        device = next(model.parameters()).device
        options = dict(self.asked)
        known = inspect.signature(model.forward).parameters
        if self.preprocessing.size != self.image and "interpolate_pos_encoding" in known:
            options["interpolate_pos_encoding"] = True
        for start in range(0, len(frames), self.batch):
            with torch.inference_mode():
                batch = torch.from_numpy(np.array(frames[start : start + self.batch])).to(device)
                pixels = self._pixels(torch, batch)
                try:
                    found = model(pixel_values=pixels, **options)
                    tokens = self.tokens_of(model, found)
                except (RuntimeError, ValueError, TypeError) as error:
                    shape = " x ".join(map(str, self.preprocessing.size))
                    raise DataError(
                        f"{self.folder}: {type(model).__name__} fails on {len(pixels)} frames of"
                        f" {shape} pixels ({error}): set another size or batch"
                    ) from error
                out[start : start + self.batch] = tokens.float().cpu().numpy()
        return out

    def tokens_of(self, model: Any, found: Any) -> Any:
        """The tokens [n, L, D] of what the model gave."""
        return self._patches(model, getattr(found, "last_hidden_state", None))

    def _pixels(self, torch: Any, frames: Any) -> Any:
        """Model input [n, 3, rows, columns] float32 from frames [n, h, w, 3] uint8 on the same
        device."""
        rule = self.preprocessing
        x = frames.permute(0, 3, 1, 2).float()
        if tuple(x.shape[-2:]) != rule.size:
            x = torch.nn.functional.interpolate(
                x, rule.size, mode=rule.resample, antialias=True, align_corners=False
            ).clamp(0, 255)
        mean, deviation = (
            torch.tensor(part, device=x.device).view(1, 3, 1, 1)
            for part in (rule.mean, rule.deviation)
        )
        return (x * rule.scale - mean) / deviation

    def _patches(self, model: Any, states: Any) -> Any:
        """The patch tokens [n, L, D] of a last hidden state [n, extra + L, D]."""
        length, shape = math.prod(self.grid), list(getattr(states, "shape", ()))
        if len(shape) != 3 or shape[2] != self.width or shape[1] - length not in self.extra:
            raise DataError(
                f"{self.folder}: {type(model).__name__} gives {shape or 'no last hidden state'},"
                f" expected [n, {length} patch tokens of a {self.grid[0]} x {self.grid[1]} grid and"
                f" a class token at most, {self.width}]: choose a plain vision transformer"
                " (ViT, CLIP, DINOv2, InternViT)"
            )
        return states[:, shape[1] - length :]


class TransformersStates(TransformersEncoder):
    """Of each frame the last hidden states and, behind them, what the embedding layer gave: [n, 2
    (1 + L), D], each with the class token before the patches. What the authors' predictive model
    reads (gfvad/models/sib_vad.py). grid: (2, 1 + L)."""

    asked = {"output_hidden_states": True}

    def __init__(self, folder: Path, **settings: Any):
        super().__init__(folder, **settings)
        self.grid = (2, 1 + math.prod(self.grid))

    @cached_property
    def fingerprint(self) -> str:
        """That of the encoder of patches, marked."""
        return lines_hash(["states", super().fingerprint])

    def tokens_of(self, model: Any, found: Any) -> Any:
        """DataError where the model has no class token before its patches."""
        torch, _ = self._model
        states = [found.last_hidden_state, (found.hidden_states or [None])[0]]
        shapes = [list(getattr(x, "shape", ())) for x in states]
        expected = [self.grid[1], self.width]
        if any(shape[1:] != expected for shape in shapes):
            raise DataError(
                f"{self.folder}: {type(model).__name__} gives states {shapes}, expected [n,"
                f" {expected[0]}, {expected[1]}], a class token and the patches, of its last layer"
                " and of its embedding layer: choose InternViT, or a ViT without registers"
            )
        return torch.cat(states, 1)


class TransformersImage(UnitEncoder):
    """Mean of the patch tokens on the middle frame."""

    name = "transformers"

    def __init__(self, path: str, modality: str = "appearance") -> None:
        super().__init__()
        self.modality, self._tokens = modality, TransformersEncoder(Path(path), batch=1)
        self.width = self._tokens.width
        self.settings = {"path": path, "fingerprint": self._tokens.fingerprint}

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [D]."""
        return self._tokens.encode(unit.middle[None])[0].mean(0).astype(np.float32)


def build_remote(folder: Path, weights: list[Path]) -> tuple[Any, set[str]]:
    """(model, names of the tensors its weights lack) by the Python files of the folder.

    Not by `from_pretrained`: that builds models without numbers, at which code published for
    transformers 4 (InternViT's among it) fails.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
    model = AutoModel.from_config(config, trust_remote_code=True, dtype=torch.float32).float()
    missing = set(model.state_dict())
    for file in weights:  # a shard lacks what the others hold
        missing &= set(model.load_state_dict(load_file(file), strict=False).missing_keys)
    return model, missing


def build_known(folder: Path) -> tuple[Any, set[str]]:
    """(model, names of the tensors its weights lack) by the library's own code."""
    import torch
    from transformers import AutoModel

    options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    options |= {"dtype": torch.float32}
    model, report = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    return model, set(report["missing_keys"])


def load_model(
    folder: Path, weights: list[Path], remote: bool, device: str | None
) -> tuple[Any, Any]:
    """(torch, vision model) from a folder, float32, never from the network. Raises DataError
    that says what to install or fetch."""
    # read when huggingface_hub is first imported; local_files_only covers the case that it was
    # before
    os.environ["HF_HUB_OFFLINE"] = "1"
    with packages(f"vision encoder {folder}"):
        import torch
        import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model, lacking = build_remote(folder, weights) if remote else build_known(folder)
    except Exception as error:
        # whatever the library or a model's own code raises: ImportError, OSError, ValueError,
        # SafetensorError, ...
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise DataError(
            f"{folder}: transformers {transformers.__version__} cannot load it"
            f" ({type(error).__name__}: {first}); expected a vision transformer:"
            f" {model_folder.FETCH}"
        ) from error
    towers = [n for n in TOWERS if isinstance(getattr(model, n, None), torch.nn.Module)]
    part = towers[0] if towers else ""
    own = [key for key in lacking if key.startswith(f"{part}." if part else "")]
    missing = sorted(k for k in own if not any(f".{unused}" in f".{k}" for unused in UNUSED))
    if missing:  # the library would go on with random numbers
        raise DataError(
            f"{folder}: its weights lack {len(missing)} tensors of {type(model).__name__}, e.g."
            f" {missing[0]}: {model_folder.FETCH}"
        )
    tower = getattr(model, part) if part else model
    try:
        return torch, tower.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"vision encoder {folder}: device {device!r} cannot be used ({first}); expected 'cpu',"
            " 'cuda' or None"
        ) from None


def pretrained(folder: Path, what: str, processor: str, model: str, **options: Any) -> tuple:
    """(torch, processor, model in evaluation mode) of a folder, by the names of their classes in
    transformers. Raises DataError that says what to install or fetch."""
    with packages(f"{what} in {folder}"):
        import torch
        import transformers
    try:
        options["local_files_only"] = True
        made = getattr(transformers, model).from_pretrained(folder, **options)
        read = getattr(transformers, processor).from_pretrained(folder, local_files_only=True)
        return torch, read, made.eval()
    except (OSError, ValueError, ImportError) as error:
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise DataError(
            f"{folder}: not usable as {what} ({first}); expected all files of one: fetch it again"
        ) from None
