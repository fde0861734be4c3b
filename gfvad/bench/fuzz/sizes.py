"""Configurations of both kinds of model, small enough to train in seconds."""

from __future__ import annotations

import importlib
from pathlib import Path

CONFIGS = Path(importlib.import_module("configs").__file__ or "").parent
OWN = f"--config={CONFIGS / 'own.py'}"
PREDICTIVE = f"--config={CONFIGS / 'predictive.py'}"
SMALL = (
    "--config.data.root=features",
    "--config.data.cache_dir=cache",
    "--config.data.train_units=4",
    "--config.data.eval_lengths=(4,)",
    "--config.data.eval_batch_size=2",
    "--config.model.embed_dim=4",
    "--config.model.head.hidden=4",
    "--config.train.members=1",
    "--config.train.batch_size=4",
    "--config.train.log_every=1",
    "--config.train.eval_every=2",
    "--config.train.checkpoint_every=2",
    "--config.eval.bootstrap=5",
    "--config.eval.figures=False",
    "--config.parallel.devices=1",
    "--config.data.validation_fraction=0.0",
)
CLIPS = (
    "--config.data.root=frames",
    "--config.data.cache_dir=cache",
    "--config.data.height=24",
    "--config.data.width=36",
    "--config.data.channels=1",
    "--config.data.eval_batch_size=4",
    "--config.data.workers=1",
    "--config.data.flow=False",
    "--config.data.validation_fraction=0.4",
    "--config.model.patch=12",
    "--config.model.cell=4",
    "--config.model.width=8",
    "--config.model.heads=2",
    "--config.model.pace=False",
    "--config.model.vision_layers=0",
    "--config.model.motion_layers=0",
    "--config.model.joint_layers=1",
    "--config.model.decoder_layers=1",
    "--config.model.filter.experts=3",
    "--config.model.filter.topk=1",
    "--config.model.filter.bottleneck=2",
    "--config.train.steps=2",
    "--config.train.batch_size=2",
    "--config.train.log_every=1",
    "--config.train.eval_every=2",
    "--config.train.checkpoint_every=1",
    "--config.eval.bootstrap=5",
    "--config.score.perturbations=1",
    "--config.score.clip_seconds=0.0",
    "--config.score.floors=False",
    "--config.parallel.devices=1",
    "--config.eval.figures=False",
    "--config.data.spans=spans.txt",
    "--config.score.terms=('appearance',)",
)
