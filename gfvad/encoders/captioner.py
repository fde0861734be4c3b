"""A frame in words, by a vision-language model of `transformers` in a local folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.types import DataError

PROMPT = (
    "Describe in two sentences who and what moves in this surveillance frame, how fast and in which"
    " direction."
)
MAX_NEW_TOKENS = 96
REQUIREMENTS = "launch/requirements-encoders.txt"
Captioner = Callable[[np.ndarray, str], str]  # (uint8 [h, w, 3], prompt) -> a description


def load_captioner(model_path: str | os.PathLike) -> Captioner:
    """A local transformers image-text-to-text model as a function. Greedy decoding, so a frame
    always gets the same text.

    Raises DataError where the folder or the packages are missing, or the folder holds no such
    model.
    """
    folder = Path(model_path).expanduser()
    if not (folder / "config.json").is_file():
        raise DataError(
            f"{folder / 'config.json'}: not found; expected the folder of an image-text-to-text"
            " model (config.json, *.safetensors, the tokenizer's and processor's files): fetch"
            f" one, e.g. by `huggingface-cli download OWNER/NAME --local-dir {folder}`"
        )
    try:
        import torch
        from PIL import Image
        from transformers import AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise DataError(
            f"describe: {error}; expected torch, transformers and pillow: run `pip install pillow"
            f" -r {REQUIREMENTS}`"
        ) from None
    try:
        local: dict[str, Any] = {"local_files_only": True}
        processor = AutoProcessor.from_pretrained(folder, **local)
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto", **local)
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().split("\n")[0]
        raise DataError(
            f"{folder}: not usable as an image-text-to-text model ({first}); expected all files of"
            " one: fetch it again"
        ) from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()

    def caption(frame: np.ndarray, prompt: str) -> str:
        picture = {"type": "image", "image": Image.fromarray(frame)}
        content = [picture, {"type": "text", "text": prompt}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(device, dtype=model.dtype)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        said = tokens[:, inputs["input_ids"].shape[1] :]
        return processor.batch_decode(said, skip_special_tokens=True)[0]

    return caption
