"""Writes a run of any task as an artefact: its program by jax.export with all its weights, and a
manifest.

    DIR/model.jaxexport   StableHLO of the scoring function for the platforms asked for; its batch
                          is a symbol, so any will do
    DIR/manifest.json     name, threshold and its rule, versions, SHA-256 of the model, what the
                          task's scorer needs; sealed by its own checksum
    DIR/requirements.txt  what scoring needs
    and what a task adds
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import export

from gfvad.base.files import atomically, read_json, write_json, write_text
from gfvad.base.names import some
from gfvad.base.owned import Owned
from gfvad.base.types import ConfigError, DataError
from gfvad.tasks import exported

REQUIRED = "requirements.txt"
FILES = (exported.MODEL, REQUIRED, exported.MANIFEST)
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-5  # between the live model and the artefact
REQUIREMENTS = ("jax", "jaxlib", "numpy", "flatbuffers")


class Export(NamedTuple):
    """What a task puts into an artefact."""

    kind: str
    facts: Mapping[str, Any]  # of the manifest: name, step, threshold, threshold_rule, and its own
    program: Callable[..., Any]  # a pure function with all weights inside
    arguments: tuple  # shapes of its arguments
    add: Callable[[Path], Mapping[str, str]]  # writes further files: {name: SHA-256, where kept}
    difference: Callable[[Path], float]  # of an artefact's folder from the live model, largest
    versions: Mapping[str, str] = {}  # of what scoring needs besides


def write_artefact(
    out: Path, platforms: Sequence[str], more: Sequence[str], make: Callable[[], Export]
) -> dict[str, Any]:
    """Exports what `make` gives and checks the artefact against the live model; returns the
    manifest, with the largest difference found. more: names of the task's further files.

    Raises ConfigError for platforms that are not known, DataError where `out` holds something else,
    or the results differ by more than TOLERANCE.
    """
    unknown = [p for p in platforms if p not in PLATFORMS]
    if unknown or not platforms:
        raise ConfigError(
            f"platforms {', '.join(platforms) or '(none)'}; expected some of {', '.join(PLATFORMS)}"
        )
    names = (*FILES, *more)
    own = owned_by_export(out, names)
    made = make()
    with own.locked("artefact", names):
        return _write(own, made, platforms)


def owned_by_export(out: Path, names: Sequence[str]) -> Owned:
    """The artefact's files in a folder. Raises DataError for a folder of other things, or with
    somebody else's file in the place of one of them."""
    own = Owned(out, "export", "gfvad export", is_ours)
    own.claim(names)
    # locks, records, and what a killed call had begun, are nobody's
    found = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    others = [name for name in found if not name.startswith(".gfvad")]
    if others and not own.record.is_file() and not (out / exported.MANIFEST).is_file():
        raise DataError(
            f"{out}: holds something else than an artefact ({some(others)}); expected a new folder"
            " or an earlier artefact: give another --out"
        )
    return own


def is_ours(path: Path) -> bool:
    """Whether a file is of an artefact, by its content and the manifest beside it; of versions
    that kept no record, which were all of features."""
    manifest = read_json(path.with_name(exported.MANIFEST), "the manifest of an artefact")
    if manifest["format"] != exported.FORMAT or not {"kind", "threshold", "sha256"} <= {*manifest}:
        return False
    if path.name == exported.MODEL:
        return sha256(path) == manifest["sha256"]
    if path.name == REQUIRED:
        return path.read_text(encoding="utf-8") == required(manifest["versions"])
    if path.name in manifest.get("files", ()):
        return sha256(path) == manifest["files"][path.name]
    return path.name == exported.MANIFEST or path.read_text(encoding="utf-8").startswith(
        '"""Scores units of videos by an exported model'
    )


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_files(folder: Path, manifest: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises Refused where a file beside a manifest is not there, or not the one that was exported
    with it."""
    for name in names:
        wanted = (manifest.get("files") or {}).get(name)
        exported.read_regular(folder / name, "the file beside its manifest: copy the whole folder")
        if sha256(folder / name) != wanted:
            raise exported.Refused(
                f"{folder / name}: its hash is not the manifest's; expected the file that was"
                " exported with it: copy the whole folder again"
            )


def required(versions: Mapping[str, str]) -> str:
    """The content of requirements.txt."""
    return "".join(f"{name}=={number}\n" for name, number in versions.items())


def _write(own: Owned, made: Export, platforms: Sequence[str]) -> dict[str, Any]:
    content = export.export(jax.jit(made.program), platforms=list(platforms))(
        *made.arguments
    ).serialize()
    manifest = {
        "format": exported.FORMAT,
        "kind": made.kind,
        **made.facts,
        "platforms": list(platforms),
        "sha256": hashlib.sha256(content).hexdigest(),
        "versions": {name: version(name) for name in REQUIREMENTS} | dict(made.versions),
    }
    with own.staged(last=exported.MANIFEST) as folder:
        atomically(folder / exported.MODEL, lambda file: file.write(content))
        write_text(folder / REQUIRED, required(manifest["versions"]))
        if files := made.add(folder):
            manifest["files"] = dict(files)
        write_manifest(folder, manifest)
        manifest["difference"] = made.difference(folder)
        if not manifest["difference"] <= TOLERANCE:
            raise DataError(
                f"{own.folder}: scores of the artefact differ by {manifest['difference']:.2g} from"
                f" the live model's, expected at most {TOLERANCE:g}; nothing was written: export"
                " for one platform only (--platforms), or score by the run itself (--model=RUN)"
            )
        write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes manifest.json with its own checksum."""
    tree = json.loads(json.dumps(manifest, default=list))  # as it will be read
    write_json(folder / exported.MANIFEST, {**tree, exported.SEAL: exported.seal(tree)})
