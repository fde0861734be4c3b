"""What a command wrote, as digests: equal for equal results, whatever the clock says."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

# what changes from call to call; manifest_sha256 is over the others
VOLATILE = "wall_seconds created code_version device config_hash group versions difference"
VOLATILE += " manifest_sha256"
# in the code, of an operation of StableHLO
PLACES = re.compile(r"^#loc.*\n| loc\((?:[^()]|\([^()]*\))*\)", re.M)
EXTRACTED = ("units.csv", "frame_counts.txt", "labels.csv", "spans.csv")
TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")


def of(parts: Iterable[bytes | str]) -> str:
    """Sixteen hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def array(x: np.ndarray) -> list[bytes | str]:
    """Precision, shape and content."""
    return [str(x.dtype), str(x.shape), np.ascontiguousarray(x).tobytes()]


def _steady(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _steady(v) for k, v in node.items() if k not in VOLATILE.split()}
    return [_steady(v) for v in node] if isinstance(node, list) else node


def records(at: Path) -> dict[str, str]:
    """Every video of every split of prepared records."""
    from gfvad.data.features import records as records_lib

    found = {}
    for split in ("train", "test"):
        for video in records_lib.open_records(at / "out", split):
            parts: list[bytes | str] = [str(video.label), repr(video.classes)]
            parts += [str(video.num_frames), repr(np.asarray(video.spans).tolist())]
            parts += [repr(video.span_classes), str(video.fps)]
            for m in sorted(video.features):
                parts += [m, *array(video.features[m])]
            found[f"{split}\t{video.name}"] = of(parts)
    return found


def features(at: Path) -> dict[str, str]:
    """Arrays of an extraction, and its tables by video."""
    out, found = at / "out", {}
    videos = json.loads((out / "manifest.json").read_text())["videos"]
    places = {file.split("/")[0] for video in videos.values() for file in video["files"].values()}
    for path in sorted(path for place in places for path in (out / place).rglob("*.npy")):
        found[str(path.relative_to(at))] = of(array(np.load(path)))
    for path in (out / name for name in EXTRACTED):  # what else lies there is the user's
        if path.is_file():
            found |= {f"{path.name}\t{key}": value for key, value in rows(path).items()}
    return found


def rows(path: Path) -> dict[str, str]:
    """Rows of a table by their first field."""
    import csv

    found: dict[str, list[str]] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="@" if path.suffix == ".txt" else ","):
            if row and row[0] not in ("name", "video"):  # but for headers
                found.setdefault(row[0], []).append(repr(row))
    return {key: of(value) for key, value in found.items()}


def scores_and_alarms(at: Path) -> dict[str, str]:
    """scores.csv and alarms.csv, by video."""
    return {
        f"{name}\t{key}": value
        for name in ("scores.csv", "alarms.csv")
        for key, value in rows(at / "out" / name).items()
    }


def run_folder(at: Path, folder: str = "out") -> dict[str, str]:
    """scores.npz by video, and the records of results.json where there is one."""
    with np.load(at / folder / "scores.npz") as arrays:
        found = {name: of(array(arrays[name])) for name in arrays.files}
    results = at / folder / "results.json"
    if results.is_file():
        stated = json.loads(results.read_text())["records"]
        found["results.json"] = of([json.dumps(stated, sort_keys=True)])
    return found


def artefact(at: Path) -> dict[str, str]:
    """The manifest, and the model's program with its weights.

    Its bytes also hold the calls that led to each operation, which differ from fork to fork.
    """
    from jax import export

    from gfvad.tasks.exported import MODEL

    stated = _steady(json.loads((at / "out" / "manifest.json").read_text()))
    stated.pop("sha256")
    exported = export.deserialize(bytearray((at / "out" / MODEL).read_bytes()))
    program = [PLACES.sub("", exported.mlir_module())]
    program += [str(exported.in_avals), str(exported.platforms)]
    return {"manifest.json": of([json.dumps(stated, sort_keys=True)]), MODEL: of(program)}


def page(at: Path, folder: str = "out") -> dict[str, str]:
    """A report without its times."""
    pages = sorted((at / folder).glob("*.html"))
    return {path.name: of([TIMES.sub("", path.read_text())]) for path in pages}


def said(at: Path) -> dict[str, str]:
    """What a command printed."""
    return {"stdout": of([(at / ".fuzz" / "stdout").read_bytes()])}
