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
from gfvad.encoders.registry import open_encoder, settings_of
from gfvad.encoders.units import FRAMES, SIDE
from gfvad.extraction import provenance
from gfvad.measure.alarms import GAP
from gfvad.measure.calibration import read_calibration
from gfvad.settings import config as config_lib
from gfvad.tasks import check, exported
from gfvad.tasks.fusion import registry, score_videos, standalone
from gfvad.tasks.fusion.live import UnitStreamer
from gfvad.tasks.fusion.run import template
from gfvad.tasks.fusion.standalone import CLOCK, UnitScorer
from gfvad.tasks.fusion.step import crop_scores
from gfvad.tasks.scoring import Request, StreamModel, VideosToScore
from gfvad.train import loop
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.state import TrainState


class TrainedModel(NamedTuple):
    """A checkpoint read back, with what it takes to use it."""

    config: ConfigDict
    model: Any
    state: TrainState
    dims: dict[str, int]
    step: int

    @property
    def name(self) -> str:
        """'xd_violence, rgb + audio, seed 0, step 600'."""
        data, variant = self.config.data, self.config.variant
        read = f"{data.dataset}, {' + '.join(data.modalities)}{f' ({variant})' if variant else ''}"
        return f"{read}, seed {self.config.seed}, step {self.step}"


class WeakScorer(NamedTuple):
    """A run or an artefact opened for scoring: `gfvad/tasks/scoring.py: Scorer`."""

    units: UnitScorer
    name: str
    path: str
    threshold: float
    threshold_rule: str
    # modality -> that of its features, as `gfvad/extraction` states it; None where they were made
    # elsewhere
    encoders: dict[str, dict[str, Any]] | None
    config: ConfigDict  # of the run
    kind: str = "weak"
    bounded: bool = True  # scores lie in [0, 1]
    alarm_gap: float = GAP

    @property
    def contributors(self) -> tuple[str, ...]:
        return tuple(self.units.modalities)

    def score(self, name: str, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Scores, parts and graph of one video as `UnitScorer.score`. Raises DataError."""
        try:
            return self.units.score(name, features, graph=True, parts=True)
        except exported.Refused as error:
            raise DataError(str(error)) from None

    def find(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        return score_videos.find(self, request, claim)

    def stream(self, request: Request) -> StreamModel:
        """Units of the encoders of training, but for text, as nobody describes a stream."""
        encoders = []
        for m, stated in score_videos.required_encoders(self).items():
            if m in self.contributors and stated["name"] != "text":
                path = {"path": request.paths[m]} if m in request.paths else {}
                encoders.append(open_encoder(stated["name"], **settings_of(m, stated, **path)))
        start = lambda info: UnitStreamer(self.units, encoders, info.sound, info.fps)
        return StreamModel(SIDE, self.threshold, FRAMES, start)


def open_scorer(model: Path, checkpoint: str = "last") -> WeakScorer:
    """The scorer of a run's folder or of an artefact's. Raises DataError and ConfigError for
    what is neither, or cannot be used."""
    path = Path(model).expanduser()
    if exported.is_artefact(path):
        try:
            units, stated = standalone.open_artefact(path), standalone.read_manifest(path)
        except exported.Refused as error:
            raise DataError(str(error)) from None
        about = stated["name"], str(path), stated["threshold"], stated["threshold_rule"]
        config = ConfigDict(config_lib.with_tuples(stated.get("config") or {}))
        return WeakScorer(units, *about, stated["encoders"], config)
    run = open_trained(path, checkpoint)
    call = jax.jit(program(run))
    units = UnitScorer(lambda features, mask: call(dict(features), mask), rules(run))
    about = run.name, str(path), *read_calibration(path, run.step)
    return WeakScorer(units, *about, provenance.kept(path), run.config)


def open_trained(workdir: Path, checkpoint: str = "last") -> TrainedModel:
    """A checkpoint of a run. Raises ConfigError without a config, DataError without checkpoints."""
    config = config_lib.load(str(workdir))
    with config_lib.stored(workdir):
        check(config)
    with Checkpoints(workdir / loop.CHECKPOINTS, config) as kept:
        dims = kept.feature_widths(checkpoint, config.data.modalities)
        # the statistics themselves are among the checkpoint's constants
        model = registry.build_model(config, dims, registry.unknown_stats(dims))
        restored = kept.restore(checkpoint, template(config, model, dims))
    return TrainedModel(config, model, restored.state, dims, restored.step)


def program(run: TrainedModel) -> Callable[..., dict[str, jax.Array]]:
    """The pure function {m: float32 [B, N, D_m]}, mask bool [B, N] -> {"scores": [B, N],
    "graph": [B, N, N] (mean over channels)}, all weights inside."""
    state = jax.tree.map(jnp.asarray, run.state._replace(opt_state=()))

    def scores(features: Mapping[str, jax.Array], mask: jax.Array) -> dict[str, jax.Array]:
        batch = Batch({m: x[:, None] for m, x in features.items()}, mask, *[None] * 5)
        graphs, found = crop_scores(run.model, state, batch, 0)  # [B, G, N, N], [B, N]
        if graphs.shape[1]:
            return {"scores": found, "graph": graphs.mean(1)}
        return {"scores": found, "graph": jnp.zeros((*mask.shape, mask.shape[1]), jnp.float32)}

    return scores


def rules(run: TrainedModel) -> dict[str, Any]:
    """How videos are brought to the model, as `UnitScorer` takes it."""
    data = run.config.data
    segments = int(data.train_units) if data.eval_mode == "segments" else 0
    lengths = [segments] if segments else ladder(data.eval_lengths)
    clock = {CLOCK: bool(data.clock)}
    return {"modalities": run.dims, "lengths": lengths, "segments": segments, **clock}


def ladder(lengths: tuple[int, ...]) -> list[int]:
    """Static lengths for one video at a time: those of evaluation, and halves of the first down
    to 8, so that a short video costs little."""
    found = sorted(int(n) for n in lengths)
    while found[0] >= 16:
        found.insert(0, found[0] // 2)
    return found
