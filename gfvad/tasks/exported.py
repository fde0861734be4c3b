"""An artefact's folder as its reader sees it: the manifest and the program. The standard library
and jax alone: `gfvad export` puts these lines into the artefact's score.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MODEL, MANIFEST = "model.jaxexport", "manifest.json"
FORMAT = 1
SEAL = "manifest_sha256"  # key of the manifest's own checksum


class Refused(ValueError):
    """Input or an artefact that cannot be used; the message says what was found, what was
    expected and what to do."""


def is_artefact(folder: str | Path) -> bool:
    """Whether a folder is an export, whole or not, rather than a run."""
    # a pipe or a link to nothing is there too
    has = lambda name: os.path.lexists(Path(folder) / name)
    return has(MODEL) or (has(MANIFEST) and not has("config.json"))


def read_regular(path: Path, expected: str) -> bytes:
    """A whole regular file. Raises Refused for what is none: reading a pipe would never end."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    raise Refused(
        f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; expected {expected}"
    )


def seal(manifest: Mapping[str, Any]) -> str:
    """The checksum of a manifest, which stands in it under SEAL."""
    stated = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def manifest_of(
    folder: str | Path, kind: str, wrong_keys: Callable[[Mapping[str, Any]], list[str]]
) -> dict[str, Any]:
    """The manifest of an artefact of a kind; one of an earlier version has no checksum.
    wrong_keys: those that do not hold what the kind needs. Raises Refused."""
    path = Path(folder) / MANIFEST
    content = read_regular(path, "the folder that `gfvad export` wrote: copy the whole folder")
    again = (
        "expected the manifest of an artefact: copy the whole folder again, or export the run again"
    )
    try:
        manifest = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except RecursionError:
        raise Refused(f"{path}: JSON nested too deep; {again}") from None
    except ValueError as error:
        raise Refused(f"{path}: not usable JSON ({error}); {again}") from None
    if not isinstance(manifest, dict):
        raise Refused(f"{path}: a JSON {type(manifest).__name__}; {again}")
    if manifest.get("format") != FORMAT or manifest.get("kind") != kind:
        raise Refused(
            f"{path}: format {manifest.get('format')!r}, kind {manifest.get('kind')!r}; expected"
            f" format {FORMAT} of kind {kind!r}: export the run again with this version"
        )
    if SEAL in manifest and manifest[SEAL] != seal(manifest):
        raise Refused(
            f"{path}: its checksum ({SEAL}) is not that of its content: it was changed or is"
            f" damaged; {again}"
        )
    if wrong := wrong_facts(manifest) + wrong_keys(manifest):
        raise Refused(
            f"{path}: {', '.join(wrong)} missing, or not what an export writes there; {again}"
        )
    return manifest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise ValueError(f"key {twice[0]!r} stands twice")
    return dict(pairs)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def is_text(value: Any) -> bool:
    """Whether a value is text that can be written."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def wrong_facts(manifest: Mapping[str, Any]) -> list[str]:
    """Keys that every artefact has and that do not hold what `gfvad export` writes."""
    threshold = manifest.get("threshold")
    sound = {key: is_text(manifest.get(key)) for key in ("name", "threshold_rule", "sha256")}
    sound["threshold"] = (
        isinstance(threshold, (int, float))
        and not isinstance(threshold, bool)
        and abs(threshold) < float("inf")
    )
    return [key for key, right in sound.items() if not right]


def open_program(folder: str | Path, manifest: Mapping[str, Any]) -> Callable[..., Any]:
    """The program of an artefact's folder, compiled when it is called. Raises Refused where its
    file is missing, damaged, or made for other devices than this machine's."""
    import jax
    from jax import export

    path = Path(folder) / MODEL
    content = read_regular(path, "the model beside its manifest: copy the whole folder")
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise Refused(
            f"{path}: its hash is not the manifest's; expected the file that was exported with it:"
            " copy the whole folder again"
        )
    try:
        exported = export.deserialize(bytearray(content))
    except (ValueError, TypeError, AssertionError, RuntimeError) as error:
        # of another version of jax
        raise Refused(
            f"{path}: this jax ({jax.__version__}) cannot read it ({error}); expected the versions"
            " of requirements.txt beside it: install those, or export again"
        ) from None
    platform = jax.default_backend()
    names = {"gpu": "cuda"}
    if names.get(platform, platform) not in exported.platforms:
        raise Refused(
            f"{path}: exported for {', '.join(exported.platforms)}, and this machine runs"
            f" {platform}: set JAX_PLATFORMS=cpu, or export for it (--platforms)"
        )
    return jax.jit(exported.call)
