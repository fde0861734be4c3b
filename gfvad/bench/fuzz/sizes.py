"""Configurations of both kinds of model, small enough to train in seconds."""

from __future__ import annotations

import importlib
from pathlib import Path

CONFIGS = Path(importlib.import_module("configs").__file__ or "").parent
OWN = f"--config={CONFIGS / 'own.py'}"
PREDICTIVE = f"--config={CONFIGS / 'predictive.py'}"
OF_TRACKS = f"--config={CONFIGS / 'avenue_tracks.py'}"
OF_PATCHES = f"--config={CONFIGS / 'pictures.py'}"


def overrides(settings: str) -> tuple[str, ...]:
    """`--config.KEY=VALUE` of each KEY=VALUE."""
    return tuple(f"--config.{setting}" for setting in settings.split())


SMALL = overrides("""
    data.root=features data.cache_dir=cache data.train_units=4 data.eval_lengths=(4,)
    data.eval_batch_size=2 model.embed_dim=4 model.head.hidden=4 train.members=1 train.batch_size=4
    train.log_every=1 train.eval_every=2 train.checkpoint_every=2 eval.bootstrap=5
    eval.figures=False parallel.devices=1 data.validation_fraction=0.0
""")
FITTED = """
    train.steps=2 train.batch_size=8 train.log_every=1 train.eval_every=2 train.checkpoint_every=1
    eval.bootstrap=5 eval.figures=False parallel.devices=1 data.eval_batch_size=64 model.bank=16
"""
TRACKS = overrides(f"""{FITTED}
    data.root=tracks data.train=train data.test=test data.labels=labels.npz score.reach=4
""")
PATCHES = overrides(f"""{FITTED}
    data.root=films data.height=16 data.width=32 data.grids=('1x2',) score.reach=4
    data.pictures_a_second=12.5
""")
CLIPS = overrides("""
    data.root=frames data.cache_dir=cache data.height=24 data.width=36 data.channels=1
    data.eval_batch_size=4 data.workers=1 data.flow=False data.validation_fraction=0.4
    model.patch=12 model.cell=4 model.width=8 model.heads=2 model.pace=False model.vision_layers=0
    model.motion_layers=0 model.joint_layers=1 model.decoder_layers=1 model.filter.experts=3
    model.filter.topk=1 model.filter.bottleneck=2 train.steps=2 train.batch_size=2
    train.log_every=1 train.eval_every=2 train.checkpoint_every=1 eval.bootstrap=5
    score.perturbations=1 score.clip_seconds=0.0 score.floors=False parallel.devices=1
    eval.figures=False data.spans=spans.txt score.terms=('appearance',)
""")
