"""Writes a run as a self-contained artefact: the model by jax.export with all its weights, a
manifest, and a program that scores with numpy and jax alone.

    DIR/model.jaxexport   StableHLO of the scoring function for the platforms asked for; batch and
                          number of units are symbols, so any will do
    DIR/manifest.json     modalities and widths, static lengths, threshold and its rule, encoders of
                          the features, versions, SHA-256 of the model
    DIR/score.py          a copy of gfvad/tasks/fusion/standalone.py; DIR/requirements.txt what it
                          needs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from gfvad.base.files import atomically, read_json, write_json, write_text
from gfvad.base.locks import LOCK
from gfvad.base.names import some
from gfvad.base.owned import Owned
from gfvad.base.types import ConfigError, DataError
from gfvad.extraction import provenance
from gfvad.measure.calibration import read_calibration
from gfvad.tasks.fusion import standalone
from gfvad.tasks.fusion.scorer import WeakRun, name_of, open_run, program, rules
from gfvad.tasks.fusion.standalone import CLOCK, UnitScorer

SCORE, REQUIRED = "score.py", "requirements.txt"
FILES = (standalone.MODEL, SCORE, REQUIRED, standalone.MANIFEST)
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-5  # of scores, between the live model and the artefact
REQUIREMENTS = ("jax", "jaxlib", "numpy", "flatbuffers")
CHECKED = ((1, 1), (1, 5), (2, 13))  # batch, units that the artefact is tried with


def write(
    workdir: Path, out: Path, checkpoint: str = "last", platforms: Sequence[str] = PLATFORMS
) -> dict[str, Any]:
    """Exports a checkpoint of a run and checks the artefact against the live model; returns the
    manifest, with the largest difference found.

    Raises ConfigError for platforms that are not known, DataError where `out` holds something else,
    or the scores differ by more than TOLERANCE.
    """
    unknown = [p for p in platforms if p not in PLATFORMS]
    if unknown or not platforms:
        raise ConfigError(
            f"platforms {', '.join(platforms) or '(none)'}; expected some of {', '.join(PLATFORMS)}"
        )
    own = owned_by_export(out)
    run = open_run(workdir, checkpoint)
    with own.locked("artefact", FILES):
        return _write(own, run, workdir, platforms)


def owned_by_export(out: Path) -> Owned:
    """The artefact's files in a folder. Raises DataError for a folder of other things, or with
    somebody else's file in the place of one of them."""
    own = Owned(out, "export", "python -m gfvad.export", is_ours)
    own.claim(FILES)
    others = (
        sorted(path.name for path in out.iterdir() if path.name != LOCK) if out.is_dir() else []
    )
    if others and not own.record.is_file() and not (out / standalone.MANIFEST).is_file():
        raise DataError(
            f"{out}: holds something else than an artefact ({some(others)}); expected a new folder"
            " or an earlier artefact: give another --out"
        )
    return own


def is_ours(path: Path) -> bool:
    """Whether a file is of an artefact, by its content and the manifest beside it; of versions
    that kept no record."""
    manifest = read_json(path.with_name(standalone.MANIFEST), "the manifest of an artefact")
    if (
        manifest["kind"] != "weak"
        or "sha256" not in manifest
        or not isinstance(manifest["rules"], dict)
    ):
        return False
    if path.name == standalone.MODEL:
        return hashlib.sha256(path.read_bytes()).hexdigest() == manifest["sha256"]
    if path.name == REQUIRED:
        return path.read_text(encoding="utf-8") == required(manifest["versions"])
    return path.name == standalone.MANIFEST or path.read_text(encoding="utf-8").startswith(
        '"""Scores units of videos by an exported model'
    )


def required(versions: Mapping[str, str]) -> str:
    """The content of requirements.txt."""
    return "".join(f"{name}=={number}\n" for name, number in versions.items())


def _write(own: Owned, run: WeakRun, workdir: Path, platforms: Sequence[str]) -> dict[str, Any]:
    content = export.export(jax.jit(program(run)), platforms=list(platforms))(
        *arguments(run)
    ).serialize()
    threshold, rule = read_calibration(workdir, run.step)
    manifest = {
        "format": standalone.FORMAT,
        "kind": "weak",
        "name": name_of(run),
        "step": run.step,
        "rules": rules(run),
        "threshold": threshold,
        "threshold_rule": rule,
        "encoders": provenance.kept(workdir),
        "platforms": list(platforms),
        "sha256": hashlib.sha256(content).hexdigest(),
        "versions": {name: version(name) for name in REQUIREMENTS},
        "config": run.config.to_dict(),
    }
    with own.staged(last=standalone.MANIFEST) as made:
        atomically(made / standalone.MODEL, lambda file: file.write(content))
        write_text(
            made / SCORE,
            resources.files(standalone.__package__)
            .joinpath("standalone.py")
            .read_text(encoding="utf-8"),
        )
        write_text(made / REQUIRED, required(manifest["versions"]))
        write_manifest(made, manifest)
        manifest["difference"] = compare(run, made, own.folder)
        write_manifest(made, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes manifest.json with its own checksum."""
    tree = json.loads(json.dumps(manifest, default=list))  # as it will be read
    write_json(folder / standalone.MANIFEST, {**tree, standalone.SEAL: standalone.seal(tree)})


def arguments(run: WeakRun) -> tuple[dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Shapes of the program's arguments: symbols b (batch) and n (units), the latter fixed where
    the model is bound to a number of units."""
    segments = run.config.data.train_units if run.config.data.eval_mode == "segments" else 0
    b, n = export.symbolic_shape(f"b, {segments or 'n'}")
    widths = run.dims | ({CLOCK: 1} if run.config.data.clock else {})
    return {
        m: jax.ShapeDtypeStruct((b, n, d), jnp.float32) for m, d in widths.items()
    }, jax.ShapeDtypeStruct((b, n), jnp.bool_)


def compare(run: WeakRun, folder: Path, out: Path) -> float:
    """Largest difference between scores of the live model and of an artefact, on random features
    and on a missing modality. Raises DataError above TOLERANCE.

    out: where the artefact will be, for messages.
    """
    exported = standalone.open_artefact(folder)
    live = jax.jit(program(run))
    here = UnitScorer(lambda features, mask: live(dict(features), mask), rules(run))
    rng = np.random.default_rng(0)
    stats = run.state.constants["constants"]
    worst = 0.0
    for case, (_, units) in enumerate(CHECKED):
        features = {
            m: np.asarray(
                stats[f"mean_{m}"] + stats[f"std_{m}"] * rng.normal(size=(units, d)), np.float32
            )
            for m, d in run.dims.items()
        }
        if case == 1 and len(features) > 1:
            features.pop(next(iter(features)))
        features[CLOCK] = np.arange(units) * 0.6 + 0.3
        try:
            one, other = (s.score("check", features, graph=True) for s in (here, exported))
        except standalone.Refused as error:
            raise DataError(
                f"{out}: the artefact gives no usable scores ({error}); nothing was written: score"
                " by the run itself (--model=RUN)"
            ) from None
        # NaN stays NaN, unlike by max()
        worst = float(np.maximum(worst, np.abs(one["scores"] - other["scores"]).max()))
    if not worst <= TOLERANCE:
        raise DataError(
            f"{out}: scores of the artefact differ by {worst:.2g} from the live model's, expected"
            f" at most {TOLERANCE:g}; nothing was written: export for one platform only"
            " (--platforms), or score by the run itself (--model=RUN)"
        )
    return worst
