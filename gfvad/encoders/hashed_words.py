"""Sentences as hashed bags of words: no weights, no libraries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from gfvad.encoders.registry import SentenceEncoder


class HashedWords(SentenceEncoder):
    """Signed feature hashing of the words (Weinberger et al. 2009). A text without words is one
    empty word."""

    name, id, width = "hash", "hash-1-384", 384

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, 384] of unit norm."""
        out = np.zeros((len(texts), self.width), np.float64)
        for row, text in zip(out, texts):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                digest = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
                row[(digest >> 1) % self.width] += 1.0 if digest & 1 else -1.0
            if not row.any():  # opposite signs cancelled: keep the unit norm
                row[0] = 1.0
        return (out / np.linalg.norm(out, axis=-1, keepdims=True)).astype(np.float32)
