"""A checkpoint of the authors' predictive model as a run of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.torch_zip import read_weights
from gfvad.models import sib_vad
from gfvad.models.sib_vad_weights import FROZEN, POSITIONS, WRAPPERS, plain_arrays, sizes_of
from gfvad.settings import config as config_lib
from gfvad.tasks import check
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.loop import CHECKPOINTS
from gfvad.train.optim import make_optimiser
from gfvad.train.state import TrainState

PASSED_OVER = (FROZEN, *(f"{wrapper}{FROZEN}" for wrapper in WRAPPERS))


def read_authors(path: Path) -> tuple[sib_vad.Sizes, dict[str, Any]]:
    """(sizes, parameters) of an authors' checkpoint. Raises DataError, naming the file."""
    try:
        weights = plain_arrays(read_weights(path, PASSED_OVER))
        return sizes_of(weights), sib_vad.from_state_dict(weights)
    except DataError as error:
        said = str(error)
        raise DataError(said if said.startswith(str(path)) else f"{path}: {said}") from None


def write_run(path: Path, config: ConfigDict, out: Path) -> int:
    """Writes a run of `config` with an authors' weights; returns their number. What of the config
    follows from the weights is set. Raises DataError for a file that is none, ConfigError for a
    config of another model or a folder that is not new."""
    if config.model.name != "sib_vad":
        raise ConfigError(
            f"config.model.name = {config.model.name!r}: expected 'sib_vad', whose weights these"
            " are: give --config=NAME:paper"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out={out}: not empty; expected a new folder")
    sizes, parameters = read_authors(path)
    if POSITIONS in parameters:
        raise DataError(
            f"{path}: its fixed positions are not those of the description; expected them, or a"
            " checkpoint without"
        )
    model = config.model
    model.filter.bottleneck, model.filter.experts = sizes.bottleneck, sizes.experts
    model.width, model.patch, config.data.clip_frames = sizes.width, sizes.patch, sizes.frames
    model.motion_layers, model.joint_layers = sizes.motion_layers, sizes.joint_layers
    model.decoder_layers = sizes.decoder_layers
    if 2 * sizes.motion_width != sizes.width:
        raise DataError(
            f"{path}: motion of width {sizes.motion_width}, expected half of {sizes.width}"
        )
    check(config)
    params = {"weights": jax.tree.map(lambda x: np.asarray(x, np.float32), parameters)}
    transform = make_optimiser(config.optim, config.train.steps).transform
    opt_state = jax.tree.map(np.asarray, transform.init(params))
    key = np.asarray(jax.random.key_data(jax.random.key(config.seed)))
    steps = config.train.steps
    state = TrainState(np.asarray(steps, np.int32), params, {}, opt_state, key)
    config_lib.save(config, out)
    with Checkpoints(out / CHECKPOINTS, config, write=True) as kept:
        kept.save(steps, state, None, {}, {})
    return sib_vad.parameter_count(parameters)
