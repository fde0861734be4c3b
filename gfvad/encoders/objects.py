"""Objects of a unit, by a detector of `transformers` in a local folder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.seals import file_hash
from gfvad.base.types import DataError
from gfvad.encoders.model_folder import read_json
from gfvad.encoders.registry import INSTALL, UnitEncoder
from gfvad.encoders.units import Unit

SURE = 0.5  # least confidence of a detected object


class Objects(UnitEncoder):
    """A local detector on the middle frame: of each of its classes, the number of objects, their
    share of the picture, and the surest one's confidence [3 K]."""

    name = modality = "objects"

    def __init__(self, path: str) -> None:
        super().__init__()
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
        hashes = [file_hash(file, "weights") for file in weights]
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
            processor = AutoImageProcessor.from_pretrained(self.path, **options)
            model = AutoModelForObjectDetection.from_pretrained(self.path, **options)
            return torch, processor, model.eval()
        except (OSError, ValueError, ImportError) as error:
            raise DataError(
                f"{self.path}: not usable as an object detector ({str(error).splitlines()[0]});"
                " expected all files of one: fetch it again"
            ) from None

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [3 K]."""
        torch, processor, model = self._detector
        frame = unit.middle
        with torch.inference_mode():
            found = model(**processor(images=frame, return_tensors="pt"))
        seen = processor.post_process_object_detection(
            found, threshold=SURE, target_sizes=[frame.shape[:2]]
        )[0]
        labels, scores, boxes = (seen[key].numpy() for key in ("labels", "scores", "boxes"))
        return object_statistics(labels, scores, boxes, self.classes, frame.shape[:2])


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
