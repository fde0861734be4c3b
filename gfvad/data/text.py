"""Timed sentences of a video -> one embedding a unit, with a cache of embeddings on disk.

Captions are a JSON object {video: {"duration": s, "timestamps": [[start, end], ...], "sentences":
["...", ...]}}, times in seconds (the format of the UCA annotation of UCF-Crime). Sentences may
overlap, leave gaps and come in any order. Without a duration a video ends with its last sentence.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import atomically, read_json
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.registry import SentenceEncoder

ASSIGNMENTS = ("nearest", "decay", "overlap")
GAP_SECONDS = 1.0  # of 'decay', chosen on held-out training videos of UCF-Crime (docs/evidence.md)
LEAST_FADE = 1e-6  # a faded description never is an absent one (all zero)
RULES = 2  # version of `text_features`: features made by another one are made anew
MAGIC = b"gfvad text embeddings 1\n"
# sentences embedded between two saves (and calls of progress): an interrupted run loses little
FLUSH = 512
LOG = logging.getLogger(__name__)


class Captions(NamedTuple):
    """The timed sentences of one video."""

    duration: float  # seconds, > 0
    spans: np.ndarray  # float64 [S, 2] start and end in seconds, 0 <= start <= end <= duration
    sentences: tuple[str, ...]  # S of them; none blank


class TextCache(NamedTuple):
    """Embeddings of one encoder: in memory, and in `path` when there is one."""

    path: Path | None
    vectors: dict[bytes, np.ndarray]  # key of the sentence -> float32 [dim]


# ---- captions


def load_captions(path: str | os.PathLike) -> dict[str, Captions]:
    """Captions by video name.

    Two repairs, both silent because they lose nothing: an end beyond the duration is cut to it, and
    blank sentences are dropped.
    Everything else that is wrong raises DataError naming the file, the video and the sentence:
    unreadable file or JSON, a repeated video, missing keys, lengths that differ, a time that is
    negative, not finite or reversed, a start beyond the duration, text that is no string.
    """
    path = Path(path)
    hint = "" if path.exists() else ": check data.captions and data.root"
    what = f"timed sentences {{video: {{duration, timestamps, sentences}}}}{hint}"
    content = read_json(path, what, finite=False)
    return {n: _parse_captions(f"{path}: video {n!r}", entry) for n, entry in content.items()}


def _parse_captions(where: str, entry: object) -> Captions:
    """One validated entry; `where` starts every message."""
    if not isinstance(entry, dict) or not {"timestamps", "sentences"} <= set(entry):
        found = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise DataError(
            f"{where}: found {found}, expected an object with duration, timestamps and sentences"
        )
    times, sentences = entry["timestamps"], entry["sentences"]
    duration: Any = entry["duration"] if "duration" in entry else _last_end(times)
    if not _is_time(duration) or duration <= 0:
        raise DataError(f"{where}: duration {duration!r}, expected seconds > 0")
    lists = isinstance(times, list) and isinstance(sentences, list)
    if not lists or len(times) != len(sentences):
        told = lambda part: str(len(part)) if isinstance(part, list) else type(part).__name__
        raise DataError(
            f"{where}: timestamps and sentences are {told(times)} and {told(sentences)}, expected"
            " two lists of one length"
        )
    for place, (span, text) in enumerate(zip(times, sentences)):
        wrong = ""
        if not isinstance(text, str):
            wrong = f"{text!r}, expected a string"
        elif not isinstance(span, list) or len(span) != 2 or not all(map(_is_time, span)):
            wrong = f"timestamp {span!r}, expected [start, end] in seconds"
        elif not 0 <= span[0] <= span[1] or span[0] > duration:
            expected = f"expected 0 <= start <= end and start <= duration {duration}: correct it"
            wrong = f"timestamp {span}, {expected}"
        if wrong:
            raise DataError(f"{where}, sentence {place}: {wrong}")
    kept = [(span, text.strip()) for span, text in zip(times, sentences) if text.strip()]
    spans = np.array([span for span, _ in kept], np.float64).reshape(-1, 2)
    texts = tuple(text for _, text in kept)
    return Captions(float(duration), np.minimum(spans, duration), texts)


def _last_end(times: object) -> float | None:
    """The end of the last sentence, in seconds; None where nothing says it."""
    spans = times if isinstance(times, list) else []
    ends = [s[1] for s in spans if isinstance(s, list) and len(s) == 2 and _is_time(s[1])]
    return max(ends, default=None)


def _is_time(value: object) -> bool:
    """A finite number; bool is an int in Python and JSON's NaN is a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# ---- units


def assignment_weights(unit_spans: np.ndarray, spans: np.ndarray, assign: str) -> np.ndarray:
    """[N, S] float64 weights of sentences in units: rows sum to 1, to less where 'decay' fades
    them, or to 0 where a unit takes none.

    A unit takes the plain mean of the sentences that overlap its span (annotators time sentences
    loosely, so the length of the overlap says little); a sentence of no duration overlaps the unit
    that contains it. Without one, 'nearest' takes the sentence with the smallest gap in time (the
    mean of several at the same gap), 'decay' the same times exp(-gap / GAP_SECONDS), so that a
    description fades where nobody found anything to describe, 'overlap' none. Unit spans and
    sentence spans are [., 2] in seconds. Ours.
    """
    if assign not in ASSIGNMENTS:
        raise ConfigError(
            f"data.text_assign is {assign!r}, expected one of {', '.join(ASSIGNMENTS)}"
        )
    start, end = unit_spans[:, :1], unit_spans[:, 1:]  # [N, 1]
    first, last = spans[:, 0], spans[:, 1]  # [S]
    # [N, S]: a gap is 0 where the spans touch or overlap
    taken = (np.minimum(end, last) > np.maximum(start, first)) | (
        (first == last) & (start <= first) & (first < end)
    )
    own, fade = taken.any(1, keepdims=True), 1.0
    if assign in ("nearest", "decay") and spans.size:
        gap = np.maximum(np.maximum(first - end, start - last), 0.0)
        smallest = gap.min(1, keepdims=True)
        taken |= ~own & (gap <= smallest + 1e-9)
        if assign == "decay":
            fade = np.where(own, 1.0, np.maximum(np.exp(-smallest / GAP_SECONDS), LEAST_FADE))
    weight = taken.astype(np.float64)
    return fade * weight / np.maximum(weight.sum(1, keepdims=True), 1.0)


def text_features(
    captions: Captions | None,
    unit_spans: np.ndarray,
    encoder: SentenceEncoder,
    assign: str = "nearest",
    cache: TextCache | None = None,
) -> np.ndarray:
    """Text features [N, D] float32 of units with spans [N, 2] in seconds; zeros without captions.
    See `assignment_weights`.

    A mean of unit vectors is shorter than 1 where sentences disagree; it is left so, except with
    'decay': there the length of a feature is the weight exp(-gap / GAP_SECONDS) alone, in (0, 1],
    which `model.confidence` reads as how much the description counts. For many videos call `embed`
    once with all sentences before (full batches), then this for each video with the same cache.
    """
    unit_spans = np.asarray(unit_spans, np.float64).reshape(-1, 2)
    spans, sentences = (captions.spans, captions.sentences) if captions else (np.zeros((0, 2)), ())
    weights = assignment_weights(unit_spans, spans, assign)
    if not sentences:
        return np.zeros((len(unit_spans), encoder.width), np.float32)
    # [N, S] [S, D] -> [N, D]
    features = weights @ embed(sentences, encoder, cache)
    if assign == "decay":
        length = np.linalg.norm(features, axis=1, keepdims=True)
        features *= weights.sum(1, keepdims=True) / np.maximum(length, LEAST_FADE**2)
    return features.astype(np.float32)


# ---- cache


def text_key(encoder_id: str, text: str) -> bytes:
    """Key of a sentence in the cache: sha256 of the encoder's id and the text, 32 bytes."""
    return hashlib.sha256(f"{encoder_id}\0{text}".encode()).digest()


def open_cache(cache_dir: str | os.PathLike | None, encoder: SentenceEncoder) -> TextCache:
    """The cache of `encoder` in `cache_dir` (None: in memory only), one file an encoder. A
    damaged file is named in a warning and rebuilt."""
    if cache_dir is None:
        return TextCache(None, {})
    path = Path(cache_dir) / f"text-{encoder.id}.bin"
    return TextCache(path, _read(path, encoder.width))


def embed(
    texts: Sequence[str],
    encoder: SentenceEncoder,
    cache: TextCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Embeddings [n, dim] float32 of `texts` in their order; each distinct text not in the cache is
    embedded once and saved.

    `progress(done, total)` counts the texts embedded here; it is not called when all are cached.
    """
    cache = TextCache(None, {}) if cache is None else cache
    keys = [text_key(encoder.id, text) for text in texts]
    # by length, so that each chunk fills batches of few static lengths
    unknown = {key: text for key, text in zip(keys, texts) if key not in cache.vectors}
    missing = sorted(unknown, key=lambda key: len(unknown[key]))
    for start in range(0, len(missing), FLUSH):
        chunk = missing[start : start + FLUSH]
        cache.vectors.update(zip(chunk, encoder.encode([unknown[key] for key in chunk])))
        if cache.path:
            _merge(cache.path, cache.vectors, encoder.width)
        if progress:
            progress(start + len(chunk), len(missing))
    if not keys:
        return np.zeros((0, encoder.width), np.float32)
    return np.stack([cache.vectors[key] for key in keys])


def _row(dim: int) -> np.dtype:
    """One row of a cache file. The key is V, not S: S would strip zero bytes off its end."""
    return np.dtype([("key", "V32"), ("vector", "<f4", (dim,))])


def _read(path: Path, dim: int) -> dict[bytes, np.ndarray]:
    """Vectors of a cache file: magic, sha256 of the rest, then n rows of key (32 bytes) and
    vector (dim float32, little-endian)."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    digest, body = content[len(MAGIC) : len(MAGIC) + 32], content[len(MAGIC) + 32 :]
    whole = content.startswith(MAGIC) and hashlib.sha256(body).digest() == digest
    if not whole or len(body) % _row(dim).itemsize:
        what = "damaged or of another version (%d bytes), its sentences are embedded again"
        LOG.warning(f"%s: {what}", path, len(content))
        return {}
    rows = np.frombuffer(body, _row(dim))
    return {key.tobytes(): vector for key, vector in zip(rows["key"], rows["vector"])}


def _merge(path: Path, vectors: dict[bytes, np.ndarray], dim: int) -> None:
    """Save `vectors` with what other processes saved meanwhile, and take that in. A lock keeps
    writers apart, a rename keeps readers safe."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system drops it when the process ends
            vectors |= _read(path, dim)
            rows = np.zeros(len(vectors), _row(dim))
            rows["key"] = np.frombuffer(b"".join(vectors), "V32")
            rows["vector"] = np.stack(list(vectors.values()))
            content = MAGIC + hashlib.sha256(rows.tobytes()).digest() + rows.tobytes()
            atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}): set data.cache_dir to a folder with"
            " write access and space"
        ) from None
