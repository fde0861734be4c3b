"""One file of extracted features: its name, its place, how it is written, and what the manifest
says of its video."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.errors import FULL, cannot_write
from gfvad.base.files import table_text
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.registry import UnitEncoder
from gfvad.extraction.videos import VERSION, Extracted

PARTIAL = ".partial"  # suffix of files that are being written
LAYOUTS = ("generic", "xd")
XD_FOLDERS = {
    "appearance": ("i3d-features/RGB", "i3d-features/RGBTest", "{}__0.npy"),
    "motion": ("i3d-features/Flow", "i3d-features/FlowTest", "{}__0.npy"),
    "audio": ("vggish-features/train", "vggish-features/test", "{}__vggish.npy"),
}


class NoRoom(Exception):
    """The disk is full. Fields: path, needed (bytes of the file that did not fit)."""

    def __init__(self, path: str, needed: int):
        super().__init__(path, needed)
        self.path, self.needed = path, needed


def cannot_save(path: Path, error: OSError, needed: int) -> NoRoom | DataError:
    """An OSError of writing a file of `needed` bytes."""
    return NoRoom(str(path), needed) if error.errno in FULL else cannot_write(path, error)


class Stamp(NamedTuple):
    """What a file is known by."""

    size: int
    mtime_ns: int


def stamp(path: Path) -> Stamp:
    """Of a file as it is now. Raises OSError."""
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns)


def encoder_id(encoder: UnitEncoder) -> str:
    """16 hexadecimal digits that change with everything that makes an encoder's numbers; not
    with where weights lie whose hash is known."""
    settings = {
        key: value
        for key, value in encoder.settings.items()
        if key != "path" or "sha256" not in encoder.settings
    }
    facts = [VERSION, encoder.name, encoder.version, encoder.width, settings]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def feature_file(layout: str, modality: str, name: str, split: str) -> str:
    """Where a video's features lie below the folder. Raises ConfigError for a modality that
    XD-Violence has no folder for."""
    if layout == "generic":
        return f"{modality}/{name}.npy"
    if modality not in XD_FOLDERS:
        raise ConfigError(
            f"--layout=xd has no folder for {modality!r}; expected {', '.join(XD_FOLDERS)}: use"
            " --layout=generic"
        )
    train, test, pattern = XD_FOLDERS[modality]
    return f"{test if split == 'test' else train}/{pattern.format(name)}"


def save_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a file whole or not at all. Raises NoRoom where the disk is full."""
    partial = path.with_name(
        f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}-{os.getpid()}{PARTIAL}"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        to_disk(partial, content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise cannot_save(path, error, len(content)) from None


def to_disk(path: Path, content: bytes | memoryview) -> None:
    """The one place where content goes to disk."""
    with open(path, "wb") as file:
        file.write(content)


def save_features(path: Path, features: np.ndarray) -> str:
    """A .npy of float32 [N, D]; returns its SHA-256. Raises NoRoom."""
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(features, np.float32), version=(1, 0), allow_pickle=False
    )
    save_bytes(path, buffer.getbuffer())
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def record_of(
    found: Extracted, path: Path, known: Stamp, digest: str, seconds: float
) -> dict[str, Any]:
    """What the manifest says of a video, but for its features."""
    facts = found.info
    return {
        "path": os.path.abspath(path),
        **known._asdict(),
        "sha256": digest,
        "duration": round(facts.duration, 6),
        "fps": round(facts.fps, 6),
        "frames": found.frames,
        "units": len(found.start),
        "width": facts.width,
        "height": facts.height,
        "rotation": facts.rotation,
        "sound": facts.sound,
        "missing": list(found.missing),
        "seconds": round(seconds, 3),
        "start": [round(float(t), 6) for t in found.start],
        "end": [round(float(t), 6) for t in found.end],
    }


def describe_encoder(encoder: UnitEncoder) -> dict[str, Any]:
    """An encoder in the manifest."""
    return {
        "name": encoder.name,
        "version": encoder.version,
        "width": encoder.width,
        "settings": encoder.settings,
        "id": encoder_id(encoder),
    }


def save_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A CSV with a header. Raises NoRoom."""
    save_bytes(path, table_text(columns, rows).encode())
