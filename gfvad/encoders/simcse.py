"""Sentences by SimCSE's BERT (Gao et al. 2021) from a local folder, as the authors' predictive
model reads them: the pooled output, 768 numbers, as it comes (not of unit norm)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.seals import file_hash
from gfvad.base.types import DataError
from gfvad.encoders.model_folder import read_json, weight_files
from gfvad.encoders.registry import SentenceEncoder
from gfvad.encoders.vision import pretrained

VARIABLE = "GFVAD_SIMCSE"
WHO = "text encoder 'simcse'"
FETCH = (
    "fetch config.json, tokenizer files and model.safetensors of princeton-nlp's"
    f" sup-simcse-bert-base-uncased into a folder and set {VARIABLE}=FOLDER, or take another"
    " data.text_encoder"
)
BATCH = 64  # sentences
LONGEST = 128  # tokens of a sentence that are read


class SimCSE(SentenceEncoder):
    """The model is loaded at the first sentences. Raises DataError that says what to fetch where
    there is no folder."""

    name, longest = "simcse", LONGEST

    def __init__(self) -> None:
        self.folder = Path(os.environ.get(VARIABLE, "")).expanduser()
        if not os.environ.get(VARIABLE) or not self.folder.is_dir():
            found = os.environ.get(VARIABLE) or "not set"
            raise DataError(f"{WHO}: {VARIABLE} is {found}, expected a folder: {FETCH}")
        self.width = int(read_json(self.folder / "config.json", FETCH).get("hidden_size", 768))
        digest = file_hash(weight_files(self.folder)[0])
        self.id = f"simcse-{digest[:16]}-{self.width}"

    @cached_property
    def _model(self) -> tuple[Any, Any, Any]:
        return pretrained(self.folder, WHO, "AutoTokenizer", "AutoModel")

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width] of n sentences."""
        torch, words, model = self._model
        found = np.zeros((len(texts), self.width), np.float32)
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            options = {"padding": True, "truncation": True, "max_length": LONGEST}
            with torch.inference_mode():
                pooled = model(**words(part, return_tensors="pt", **options)).pooler_output
            found[start : start + len(part)] = pooled.float().numpy()
        return found
