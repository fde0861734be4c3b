"""A run of the predictive model as an artefact (`gfvad/tasks/artefact.py`) that `gfvad score` takes
in the place of the run: the model on a batch of clips, and what turns its errors into scores.

    DIR/scorer.npz    calibration, weights of the terms, scores of held-out normal frames
    DIR/config.json   the run's

Decoding and optical flow are no part of a compiled program, so gfvad itself, with its video extras,
is among what scoring needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape

import gfvad
from gfvad.base.types import ClipBatch, DataError
from gfvad.settings import config as config_lib
from gfvad.tasks import artefact, exported
from gfvad.tasks.prediction import score_rule
from gfvad.tasks.prediction.frame_errors import Reader
from gfvad.tasks.prediction.step import eval_step
from gfvad.tasks.prediction.trained import TrainedModel, open_trained
from gfvad.train.state import TrainState

SCORER = "scorer.npz"
FILES = (SCORER, config_lib.CONFIG)
CHECKED = (1, 3)  # clips that the artefact is tried with

Found = dict[str, np.ndarray]  # what a model says of a batch of clips


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Writes a run as an artefact. Raises ConfigError for a model on frozen tokens, whose network
    is no part of it, else as `artefact.write_artefact`."""

    def made() -> artefact.Export:
        run = open_trained(workdir, checkpoint)
        facts = {
            "name": run.name,
            "step": run.step,
            "threshold": run.scorer.threshold(),
            "threshold_rule": run.scorer.threshold_rule(),
        }
        b = symbolic_shape("b")[0]
        example = run.scorer.example()
        shapes = {n: jax.ShapeDtypeStruct((b, *x.shape), x.dtype) for n, x in example.items()}
        kept, compared = partial(add, run), partial(difference, run)
        versions = {"gfvad": gfvad.__version__}
        return artefact.Export(
            "predictive", facts, program(run), (shapes,), kept, compared, versions
        )

    return artefact.write_artefact(out, platforms, FILES, made)


def program(run: TrainedModel) -> Callable[[dict[str, jax.Array]], dict[str, jax.Array]]:
    """The pure function {name: features of clips [B, ...]} -> `eval_step`, all weights inside."""
    state, cell = jax.tree.map(jnp.asarray, run.state), run.config.model.cell
    return lambda features: eval_step(
        state, ClipBatch(features, *[None] * 4), model=run.reader.model, cell=cell
    )


def add(run: TrainedModel, folder: Path) -> dict[str, str]:
    """Writes the scorer and the config; returns their checksums."""
    score_rule.write_rule(folder / SCORER, run.scorer)
    config_lib.save(run.config, folder)
    return {name: artefact.sha256(folder / name) for name in FILES}


def difference(run: TrainedModel, folder: Path) -> float:
    """Largest difference between what the run and an artefact say of random clips, relative to the
    largest value of its kind where that is above 1."""
    live, written = jax.jit(program(run)), exported.open_program(folder, manifest(folder))
    rng, worst = np.random.default_rng(0), 0.0
    for count in CHECKED:
        features = {
            name: (255 * rng.random((count, *x.shape))).astype(x.dtype)
            if x.dtype == np.uint8
            else rng.normal(size=(count, *x.shape)).astype(x.dtype)
            for name, x in run.scorer.example().items()
        }
        before, after = live(features), written(features)
        for name, x in before.items():
            apart = np.abs(np.asarray(x) - np.asarray(after[name])).max(initial=0.0)
            # NaN stays NaN, unlike by max()
            worst = float(np.maximum(worst, apart / np.maximum(1.0, np.abs(x).max(initial=0.0))))
    return worst


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artefact's folder. Raises Refused."""
    needed = lambda tree: [] if isinstance(tree.get("step"), int) else ["step"]
    stated = exported.manifest_of(folder, "predictive", needed)
    artefact.require_files(folder, stated, FILES)
    return stated


class Program:
    """An artefact's program in the place of `frame_errors.Reader`; its weights are inside, so that
    no state is looked at."""

    def __init__(self, call: Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]):
        self._call = call

    def bind(self, state: None) -> Callable[[ClipBatch], Found]:
        """As `Reader.bind`."""
        call = self._call
        return lambda batch: {n: np.asarray(x) for n, x in call(dict(batch.features)).items()}

    def stream(
        self, state: None, batches: Iterable[ClipBatch]
    ) -> Iterator[tuple[ClipBatch, Found]]:
        """As `Reader.stream`."""
        model = self.bind(state)
        return ((batch, model(batch)) for batch in batches)


def open_artefact(folder: Path) -> TrainedModel:
    """An artefact in the place of the run it was made of. Raises DataError and ConfigError."""
    try:
        stated = manifest(folder)
        call = exported.open_program(folder, stated)
    except exported.Refused as error:
        raise DataError(str(error)) from None
    scorer, config = score_rule.read_rule(folder / SCORER), config_lib.load(str(folder))
    assert scorer is not None  # its checksum was compared
    # scoring asks a reader to bind and to stream, and hands the state on unseen
    reader, state = cast(Reader, Program(call)), cast(TrainState, None)
    return TrainedModel(config, folder, stated["step"], reader, state, scorer)
