"""A small model of any configuration with random statistics and parameters, ready to score."""

import importlib

import jax
import numpy as np

from gfvad import tasks
from gfvad.data import streams
from gfvad.data.features import layouts, records
from gfvad.settings import config as config_lib
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.evaluate import Evaluator, scored_videos
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.optim import make_optimiser
from gfvad.train.state import TrainState, init_state

UNITS, DIMS = 6, {"rgb": 6, "flow": 5, "audio": 4, "i3d": 8, "i3d_logits": 7}
TEXT = 384  # of the weightless encoder
NAMES = ("Abuse001_x264", "Normal_Videos003_x264")
SMALL = {
    "model.embed_dim": 4,
    "model.head.hidden": 4,
    "model.head.topk": 3,
    "model.foil.hidden": 4,
    "model.foil.rank": 3,
    "model.foil.heads": 2,
    "model.filter.experts": 3,
    "model.filter.topk": 2,
    "model.filter.bottleneck": 2,
    "data.text_encoder": "hash",
    "data.train_units": UNITS,
    "data.eval_lengths": (8,),
    "data.eval_batch_size": 2,
    "parallel.devices": 1,
    "train.members": 1,
}


class Run:
    """A small model of a variant with random statistics and parameters, ready to score; one
    compilation serves all inputs of a shape."""

    def __init__(self, name, variant, folder, **changed):
        self.config, self.folder, self.inputs = (
            importlib.import_module(f"configs.{name}").get_config(variant),
            folder,
            0,
        )
        self.config.update_from_flattened_dict(
            SMALL
            | {"data.cache_dir": str(folder / "cache")}
            | {key.replace("__", "."): value for key, value in changed.items()}
        )
        tasks.check(self.config)
        rng = np.random.default_rng(0)
        self.widths = {m: DIMS.get(m, TEXT) for m in self.config.data.modalities}
        self.model = model = registry.build_model(self.config, self.widths)
        example = streams.example_features(self.widths, self.config.data)
        variables = jax.eval_shape(
            lambda: model.init(jax.random.key(0), example, np.ones(UNITS, bool), train=False)
        )
        # layers of comparators are as wide as published: larger weights would saturate scores
        scale = lambda a: 0.3 if a.ndim < 2 or a.shape[-2] < 100 else 0.02
        params = jax.tree.map(
            lambda a: (rng.normal(size=a.shape) * scale(a)).astype(np.float32),
            variables["params"],
        )
        constants = jax.tree.map(
            lambda a: rng.uniform(0.1, 1.0, size=a.shape).astype(np.float32), variables["constants"]
        )
        members = self.config.train.members  # of the ensembles of a configuration; SMALL leaves one
        if members > 1:
            params = jax.tree.map(
                lambda a: np.stack([a * (1 + 0.1 * k) for k in range(members)]), params
            )
        key = np.zeros((members, 2) if members > 1 else 2, np.uint32)
        self.state = TrainState(np.zeros((), np.int32), params, {"constants": constants}, (), key)
        self.evaluator = Evaluator(parallel.make_mapper("pmap", 1), model, self.config)

    def open(self, source, captions=None):
        return layouts.open_input(
            source, self.config.data.modalities, self.config.data, captions, self.widths
        )

    def __call__(self, source, captions=None):
        """(scores {video: [T]}, missing, gaps, warnings)."""
        layout, self.inputs = self.open(source, captions), self.inputs + 1
        videos = records.open_records(
            records.prepare(layout, self.folder / f"input{self.inputs}", None),
            "test",
            self.config.data.modalities,
        )
        scored = scored_videos(
            self.evaluator.unit_scores(self.state, videos, range(len(videos))),
            videos,
            range(len(videos)),
        )
        return (
            {v.name: v.scores for v in scored},
            set(layout.missing),
            layout.gaps,
            layout.warnings(),
        )

    def save(self, workdir):
        """The run's folder: config.json and a checkpoint."""
        config_lib.save(self.config, workdir)
        with Checkpoints(workdir / loop.CHECKPOINTS, self.config, write=True) as kept:
            transform = make_optimiser(self.config.optim, self.config.train.steps).transform
            state = init_state(
                self.model,
                transform,
                streams.example_features(self.widths, self.config.data),
                0,
                self.config.train.members,
            )
            state = state._replace(params=self.state.params, constants=self.state.constants)
            kept.save(7, state, b"", {}, {"validation": 0.5})
        return workdir
