"""The steps of the fusion task without data: shapes alone, for `gfvad plan`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import Batch, ConfigError
from gfvad.data import streams
from gfvad.tasks.fusion import registry, step
from gfvad.train.run import Outline, array_shapes

# widths of published features, where the command line says nothing
WIDTHS = {"rgb": 1024, "flow": 1024, "audio": 128, "i3d_logits": 400, "text": 384}
CROPS = 5  # of an evaluated video with crops


def outline(config: ConfigDict, widths: Mapping[str, int]) -> Outline:
    """As gfvad/tasks/task.py says; widths: {modality: D}."""
    names = tuple(config.data.modalities)
    dims = {name: widths.get(name) or WIDTHS.get(name, 0) for name in names}
    if unknown := [name for name, width in dims.items() if not width]:
        raise ConfigError(
            f"--widths: nothing of {unknown[0]!r}; expected the width of its features, as in"
            f" --widths={unknown[0]}:1024"
        )
    kept = {
        n: {"mean": np.zeros(d, np.float32), "std": np.ones(d, np.float32)} for n, d in dims.items()
    }
    model = registry.build_model(config, dims, kept)
    units = int(config.data.train_units)
    example = streams.example_features(dims, config.data)
    longest = units if config.data.eval_mode == "segments" else max(config.data.eval_lengths)

    def batch(size: int, units: int = units, crops: tuple[int, ...] = ()) -> Batch:
        return array_shapes(
            Batch(
                {n: (size, *crops, units, d.shape[-1]) for n, d in example.items()},
                mask=((size, units), bool),
                label=(size,),
                valid=((size,), bool),
                video=((size,), np.int32),
                start=((size,), np.int32),
                position=((size,), np.int32),
            )
        )

    told = ", ".join(f"{name} {width}" for name, width in dims.items())
    return Outline(
        model=model,
        inputs=(example, np.ones(units, bool)),
        batch=batch,
        train_step=step.train_step,
        eval_step=partial(step.eval_step, model=model),
        eval_batch=partial(batch, units=longest, crops=(CROPS,)),
        about=f"{units} units of {told}; evaluated at {longest} units of {CROPS} crops",
    )
