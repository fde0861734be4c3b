"""Encoders with weights from local files: ONNX by onnxruntime, vision transformers and detectors
by transformers. The only importer of onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gfvad.base.files import require_regular
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.registry import Plain
from gfvad.encoders.units import Unit

INSTALL = "`pip install -r launch/requirements-encoders.txt`"
# mean and deviation that most published image networks expect
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SURE = 0.5  # least confidence of a detected object


def file_hash(path: str, what: str) -> str:
    """SHA-256 of a file. Raises DataError that says what to get where it is not there."""
    require_regular(path, what)
    try:
        with open(path, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None


def middle(unit: Unit) -> np.ndarray:
    """The middle frame of a unit, uint8 [h, w, 3]."""
    return unit.frames[len(unit.frames) // 2]


# ---- ONNX


def open_onnx(path: str) -> Any:
    """A network of one input, on the CPU, one thread (files run side by side). Raises DataError."""
    try:
        import onnxruntime
    except ImportError:
        raise DataError(
            f"{path}: package onnxruntime not found; expected it for ONNX files: run {INSTALL}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's own classes: Fail, InvalidProtobuf, NoSuchFile, NotImplemented, ...
        raise DataError(
            f"{path}: not a usable ONNX file ({str(error).splitlines()[0]}); expected a network as"
            " an ONNX file: export it again"
        ) from None
    if len(session.get_inputs()) != 1:
        raise DataError(
            f"{path}: a network of {len(session.get_inputs())} inputs"
            f" ({', '.join(i.name for i in session.get_inputs())}); expected one of one input"
        )
    return session


def run_onnx(session: Any, path: str, x: np.ndarray, width: int = 0) -> np.ndarray:
    """First output of a network for one example, flattened to float32 [D]; maps and tokens
    become their means. Raises DataError where D is not `width` (0: any)."""
    try:
        y = np.asarray(
            session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})[0], np.float32
        )[0]
    except Exception as error:
        expected = session.get_inputs()[0].shape
        raise DataError(
            f"{path}: the network fails on an input of shape {list(x.shape)}"
            f" ({str(error).splitlines()[0]}); it states {expected}"
        ) from None
    # [D], [D, h, w] or [L, D]
    y = y.mean((1, 2)) if y.ndim == 3 else y.mean(0) if y.ndim == 2 else y
    if width and y.shape != (width,):
        raise DataError(
            f"{path}: gives {y.size} numbers, expected {width}: export the layer of that width"
        )
    return y.ravel()


class OnnxImage(Plain):
    """An image network on the middle frame: [1, 3, rows, columns], RGB in [0, 1] less `mean`,
    over `std`."""

    name = "onnx"

    def __init__(
        self,
        path: str,
        modality: str = "appearance",
        mean: str | None = None,
        std: str | None = None,
        size: int | str = 224,
    ) -> None:
        super().__init__()
        self.path, self.modality = path, modality
        self.mean, self.std = (
            triple(given, default) for given, default in zip((mean, std), IMAGENET)
        )
        self.settings = {
            "path": path,
            "sha256": file_hash(path, "an image network as an ONNX file"),
            "mean": self.mean,
            "std": self.std,
            "size": int(size),
        }
        fixed = [n for n in self.session.get_inputs()[0].shape[2:] if isinstance(n, int) and n > 0]
        self.size = tuple(fixed) if len(fixed) == 2 else (int(size), int(size))

    @cached_property
    def session(self) -> Any:
        """The network."""
        return open_onnx(self.path)

    @cached_property
    def width(self) -> int:
        """D, by running it once."""
        return len(run_onnx(self.session, self.path, np.zeros((1, 3, *self.size), np.float32)))

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [D]."""
        frame = (
            cv2.resize(middle(unit), self.size[::-1], interpolation=cv2.INTER_AREA).astype(
                np.float32
            )
            / 255
        )
        x = (frame - np.float32(self.mean)) / np.float32(self.std)
        return run_onnx(self.session, self.path, x.transpose(2, 0, 1)[None], self.width)


def triple(
    given: str | float | Sequence[float] | None, default: tuple[float, ...]
) -> tuple[float, ...]:
    """'0.5/0.5/0.5', 0.5 or three numbers -> three numbers. Raises ConfigError."""
    if given is None:
        return default
    parts = given if isinstance(given, (list, tuple)) else str(given).split("/")
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if len(found) not in (1, 3):
        raise ConfigError(
            f"encoder onnx: {given!r}; expected one number or three, one a colour, as 0.5/0.5/0.5"
        )
    return found * (3 // len(found))


# ---- transformers


class TransformersImage(Plain):
    """Mean of the patch tokens of a frozen vision transformer on the middle frame
    (gfvad/encoders/vision.py)."""

    name = "transformers"

    def __init__(self, path: str, modality: str = "appearance") -> None:
        super().__init__()
        from gfvad.encoders.vision import open_encoder

        self.modality = modality
        self._tokens = open_encoder(f"transformers:{path}", batch=1)
        self.width = self._tokens.width
        self.settings = {"path": path, "fingerprint": self._tokens.fingerprint}

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [D]."""
        return self._tokens(middle(unit)[None])[0].mean(0).astype(np.float32)


class Objects(Plain):
    """A local detector on the middle frame: of each of its classes, the number of objects, their
    share of the picture, and the surest one's confidence [3 K]."""

    name = modality = "objects"

    def __init__(self, path: str) -> None:
        super().__init__()
        from gfvad.encoders.model_folder import read_json

        folder = Path(path)
        names = read_json(
            folder / "config.json",
            "fetch a detector, e.g. by `huggingface-cli download OWNER/NAME --local-dir FOLDER`",
        ).get("id2label")
        if not isinstance(names, dict) or not names:
            raise DataError(
                f"{folder / 'config.json'}: no id2label; expected the folder of an object detector"
                " (YOLOS, DETR, RT-DETR, ...)"
            )
        weights = sorted(folder.glob("*.safetensors"))
        self.path, self.classes = folder, len(names)
        self.width = 3 * self.classes
        hashes = [file_hash(str(file), "weights") for file in weights]
        self.settings = {"path": path, "sha256": hashes, "sure": SURE}

    @cached_property
    def _detector(self) -> tuple[Any, Any, Any]:
        """(torch, processor, model)."""
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModelForObjectDetection
        except ImportError as error:
            raise DataError(
                f"detector {self.path}: package {error.name} not found: run {INSTALL}"
            ) from None
        try:
            options = {"local_files_only": True}
            return (
                torch,
                AutoImageProcessor.from_pretrained(self.path, **options),
                AutoModelForObjectDetection.from_pretrained(self.path, **options).eval(),
            )
        except (OSError, ValueError, ImportError) as error:
            raise DataError(
                f"{self.path}: not usable as an object detector ({str(error).splitlines()[0]});"
                " expected all files of one: fetch it again"
            ) from None

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [3 K]."""
        torch, processor, model = self._detector
        frame = middle(unit)
        with torch.inference_mode():
            found = model(**processor(images=frame, return_tensors="pt"))
        seen = processor.post_process_object_detection(
            found, threshold=SURE, target_sizes=[frame.shape[:2]]
        )[0]
        return object_statistics(
            seen["labels"].numpy(),
            seen["scores"].numpy(),
            seen["boxes"].numpy(),
            self.classes,
            frame.shape[:2],
        )


def object_statistics(
    labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray, classes: int, size: tuple[int, int]
) -> np.ndarray:
    """Objects [n] of classes `labels`, confidences and boxes [n, 4] (x0, y0, x1, y1) in a
    picture of `size` -> log(1 + count), shares, best confidences [3 K] float32."""
    out = np.zeros((3, classes), np.float32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (size[0] * size[1])
    np.add.at(out[0], labels, 1)
    np.add.at(out[1], labels, areas)
    np.maximum.at(out[2], labels, scores)
    out[0] = np.log1p(out[0])
    return out.ravel()
