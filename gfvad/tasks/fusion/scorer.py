"""A trained graph fusion model as a scorer of single videos: the run's checkpoint, or an
artefact of `gfvad export`, behind one class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import Batch, DataError
from gfvad.data.streams import example_features
from gfvad.encoders.registry import open_encoder, settings_of
from gfvad.encoders.units import FRAMES, SIDE
from gfvad.extraction import provenance
from gfvad.measure.calibration import read_calibration
from gfvad.settings import config as config_lib
from gfvad.tasks import check, exported
from gfvad.tasks.fusion import registry, score_videos, standalone
from gfvad.tasks.fusion.live import UnitStreamer
from gfvad.tasks.fusion.standalone import CLOCK, UnitScorer
from gfvad.tasks.fusion.step import crop_scores
from gfvad.tasks.scoring import Request, StreamModel, VideosToScore
from gfvad.train import loop
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.optim import make_optimiser
from gfvad.train.state import TrainState, init_state


class WeakRun(NamedTuple):
    """A checkpoint read back, with what it takes to use it."""

    config: ConfigDict
    model: Any
    state: TrainState
    dims: dict[str, int]
    step: int


class WeakScorer(NamedTuple):
    """A run or an artefact opened for scoring: `gfvad/tasks/task.py: Scorer`."""

    units: UnitScorer
    name: str
    path: str
    threshold: float  # a score from which on it is an alarm
    threshold_rule: str
    # modality -> that of its features, as `gfvad/extraction` states it; None where they were made
    # elsewhere
    encoders: dict[str, dict[str, Any]] | None
    config: ConfigDict  # of the run
    kind: str = "weak"
    bounded: bool = True  # scores lie in [0, 1]

    @property
    def contributors(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.units.modalities)

    def score(self, name: str, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Scores, parts and graph of one video as `UnitScorer.score`. Raises DataError."""
        try:
            return self.units.score(name, features, graph=True, parts=True)
        except exported.Refused as error:
            raise DataError(str(error)) from None

    def find(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        """As `Scorer.find`."""
        return score_videos.find(self, request, claim)

    def stream(self, request: Request) -> StreamModel:
        """As `Scorer.stream`: units of the encoders of training, but for text, as nobody
        describes a stream."""
        encoders = []
        for m, stated in score_videos.required_encoders(self).items():
            if m in self.contributors and stated["name"] != "text":
                path = {"path": request.paths[m]} if m in request.paths else {}
                encoders.append(open_encoder(stated["name"], **settings_of(m, stated, **path)))
        return StreamModel(
            SIDE,
            self.threshold,
            FRAMES,
            lambda info: UnitStreamer(self.units, encoders, info.sound, info.fps),
        )


def open_weak(path: Path, checkpoint: str = "last") -> WeakScorer:
    """The scorer of a run's folder or of an artefact's. Raises DataError and ConfigError for
    what is neither, or cannot be used."""
    path = Path(path).expanduser()
    if exported.is_artefact(path):
        try:
            units, manifest = standalone.open_artefact(path), standalone.read_manifest(path)
        except exported.Refused as error:
            raise DataError(str(error)) from None
        threshold, rule = manifest["threshold"], manifest["threshold_rule"]
        config = ConfigDict(config_lib.with_tuples(manifest.get("config") or {}))
        return WeakScorer(
            units, manifest["name"], str(path), threshold, rule, manifest["encoders"], config
        )
    run = open_run(path, checkpoint)
    call = jax.jit(program(run))
    threshold, rule = read_calibration(path, run.step)
    units = UnitScorer(lambda features, mask: call(dict(features), mask), rules(run))
    encoders = provenance.kept(path)
    return WeakScorer(units, name_of(run), str(path), threshold, rule, encoders, run.config)


def open_run(workdir: Path, checkpoint: str = "last") -> WeakRun:
    """A checkpoint of a run. Raises ConfigError without a config, DataError without checkpoints."""
    config = config_lib.load(str(workdir))
    with config_lib.stored(workdir):
        check(config)
    folder = workdir / loop.CHECKPOINTS
    if not folder.is_dir():
        raise DataError(
            f"{folder}: not found; expected the folder of a trained run, or of an export"
        )
    with Checkpoints(folder, config) as kept:
        dims = kept.feature_widths(checkpoint, config.data.modalities)
        if not dims:
            raise DataError(
                f"{folder}: no checkpoint {checkpoint!r} (steps:"
                f" {', '.join(map(str, kept.steps())) or 'none'}); give last, best or one of them"
            )
        # the statistics themselves are among the checkpoint's constants
        model = registry.build_model(config, dims, registry.unknown_stats(dims))
        transform = make_optimiser(config.optim, config.train.steps).transform
        restored = kept.restore(
            checkpoint,
            init_state(
                model,
                transform,
                example_features(dims, config.data),
                config.seed,
                config.train.members,
            ),
        )
    return WeakRun(config, model, restored.state, dims, restored.step)


def program(run: WeakRun):
    """The pure function {m: float32 [B, N, D_m]}, mask bool [B, N] -> {"scores": [B, N],
    "graph": [B, N, N] (mean over channels)}, all weights inside."""
    state = jax.tree.map(jnp.asarray, run.state._replace(opt_state=()))

    def scores(features: Mapping[str, jax.Array], mask: jax.Array) -> dict[str, jax.Array]:
        batch = Batch(
            {m: x[:, None] for m, x in features.items()}, mask, None, None, None, None, None
        )
        graphs, found = crop_scores(run.model, state, batch, 0)  # [B, G, N, N], [B, N]
        graph = (
            graphs.mean(1)
            if graphs.shape[1]
            else jnp.zeros((*mask.shape, mask.shape[1]), jnp.float32)
        )
        return {"scores": found, "graph": graph}

    return scores


def rules(run: WeakRun) -> dict[str, Any]:
    """How videos are brought to the model, as `UnitScorer` takes it."""
    data = run.config.data
    segments = int(data.train_units) if data.eval_mode == "segments" else 0
    lengths = [segments] if segments else ladder(data.eval_lengths)
    return {
        "modalities": run.dims,
        "lengths": lengths,
        "segments": segments,
        CLOCK: bool(data.clock),
    }


def ladder(lengths: tuple[int, ...]) -> list[int]:
    """Static lengths for one video at a time: those of evaluation, and halves of the first down
    to 8, so that a short video costs little."""
    found = sorted(int(n) for n in lengths)
    while found[0] >= 16:
        found.insert(0, found[0] // 2)
    return found


def name_of(run: WeakRun) -> str:
    """'xd_violence, rgb + audio, seed 0'."""
    variant = f" ({run.config.variant})" if run.config.variant else ""
    return (
        f"{run.config.data.dataset}, {' + '.join(run.config.data.modalities)}{variant}, seed"
        f" {run.config.seed}, step {run.step}"
    )
