"""What kind of value each key of a configuration holds, and within which bounds: checked by key,
before any work.

Rules that tie keys together, and names that are choices, lie in `config.py`, `config_predictive.py`
and `tasks/fusion/registry.py`; a test holds KINDS against the keys of `config_history.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gfvad.base.errors import ConfigError

MOST = 10**9  # of what is counted
LARGEST = 1e6  # of a weight, a factor
WIDEST = 65_536  # of a layer; its square is a matrix of 16 GB
DEEPEST = 100  # layers, orders
LONGEST = 80  # characters of a value in a message


class Bounds(NamedTuple):
    """Numbers that may stand at a key."""

    low: float
    high: float
    below: bool = False  # whether `high` itself is too much

    def say(self) -> str:
        """'0 to 1', '1 or more, at most 65,536'."""
        if self.below:
            return f"in [{self.low:g}, {self.high:g})"
        low, high = (f"{int(x):,}" if x == int(x) else f"{x:g}" for x in (self.low, self.high))
        return f"from {low} to {high}"

    def hold(self, number: float) -> bool:
        """Whether a number lies in them; NaN lies in none."""
        return self.low <= number <= self.high and not (self.below and number == self.high)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FLAGS = _keys("""
data.clock data.flow data.require_real eval.every_on_test eval.figures
model.flow_input model.fusion.cross_terms model.fusion.separate model.head.detach
model.head.relations model.input_dropout_shared model.motion model.pace model.pace_flow
model.relation_bias score.causal score.floors
""")
TEXTS = _keys("""
data.cache_dir data.captions data.corruption.at data.corruption.kind data.corruption.modality
data.dataset data.eval_mode data.layout data.masks data.on_corrupt data.records data.root
data.spans data.standardize data.store data.test_descriptions data.test_name data.text_assign
data.text_encoder data.train_descriptions data.train_sampling data.vision eval.metric kind
model.expansion.kind model.expansion.zeroth model.filter.form model.filter.kind model.flow_from
model.foil.kind model.fusion.form model.fusion.graphs model.fusion.parametrisation
model.fusion.start model.head.kind model.name model.relation.similarity model.skip optim.name
optim.schedule parallel.backend variant
""")
NAMES = _keys("""
data.modalities model.confidence model.filter.modalities model.relation.sources score.terms
""")
COUNTS = _keys("""
data.eval_batch_size data.simulated.crops data.simulated.seed data.simulated.test_videos
data.simulated.train_videos data.simulated.units data.stride data.train_units data.workers
eval.bootstrap loss.pace_fastest loss.topk_divisor loss.unit_abnormal_steps loss.variance_k
model.head.topk model.relation.knn optim.warmup_steps parallel.devices score.perturbations
score.spatial score.temporal score.text_frames seed train.batch_size train.checkpoint_every
train.eval_every train.keep train.log_every train.steps
""")
WIDTHS = _keys("""
data.flow_cell data.height data.width model.cell model.embed_dim model.filter.bottleneck
model.filter.experts model.filter.memory_items model.filter.topk model.foil.heads
model.foil.hidden model.foil.rank model.foil.width model.head.hidden model.heads model.mlp
model.pace_width model.patch model.pixel_width model.relation.projection model.text_hidden
model.width
""")
DEPTHS = _keys("""
data.clip_frames model.decoder_layers model.expansion.order model.head.layers
model.joint_layers model.motion_layers model.vision_layers
""")
AMOUNTS = _keys("""
loss.balance loss.branch loss.consistency loss.contrast loss.flow loss.frame loss.pace
loss.pace_motion loss.pace_still loss.reconstruction loss.smoothness loss.sparsity loss.text
loss.unit_abnormal loss.unit_normal loss.variance model.filter.shrink
model.relation.temporal_seconds model.relation.temporal_tau optim.clip_norm optim.graph_rate
optim.learning_rate optim.weight_decay score.clip_seconds score.ridge
""")
SIGNED = _keys("""
data.corruption.amount loss.variance_alpha model.filter.scale model.head.alpha
model.relation.sigma model.relation.threshold
""")
SHARES = _keys("""
data.validation_fraction loss.label_smoothing model.dropout model.edge_dropout model.head.absent
model.input_dropout model.modality_dropout
""")
WHOLE: dict[str, Bounds] = (
    dict.fromkeys(COUNTS, Bounds(0, MOST))
    | dict.fromkeys(WIDTHS, Bounds(0, WIDEST))
    | dict.fromkeys(DEPTHS, Bounds(0, DEEPEST))
    | dict.fromkeys(("model.fusion.channels", "model.fusion.rank"), Bounds(1, 4096))
    | dict.fromkeys(("data.simulated.crops", "data.simulated.units"), Bounds(1, 10_000))
    | {
        "data.channels": Bounds(1, 3),
        "train.members": Bounds(1, 1000),
        "loss.pace_fastest": Bounds(2, DEEPEST),
    }
    | {
        key: Bounds(1, 10_000)
        for key in ("score.perturbations", "score.spatial", "score.temporal", "score.text_frames")
    }
)
NUMBERS: dict[str, Bounds] = (
    dict.fromkeys(AMOUNTS, Bounds(0, LARGEST))
    | dict.fromkeys(SIGNED, Bounds(-LARGEST, LARGEST))
    | dict.fromkeys(SHARES, Bounds(0, 1, below=True))
    | {"optim.learning_rate": Bounds(0, 1e30)}  # a step too far is told where it is taken
    | dict.fromkeys(("model.expansion.restart", "model.head.mix", "model.head.prior"), Bounds(0, 1))
)
LISTS: dict[str, Bounds] = {
    "eval.ema": Bounds(0, 1, below=True),
    "eval.gaussian": Bounds(0.01, 1e4),
    "model.head.gates": Bounds(0, LARGEST),
    "score.weights": Bounds(0, LARGEST),
}
WHOLE_LISTS: dict[str, Bounds] = {"data.eval_lengths": Bounds(1, MOST)}
KINDS = frozenset((*FLAGS, *TEXTS, *NAMES, *WHOLE, *NUMBERS, *LISTS, *WHOLE_LISTS))


def check(leaves: Mapping[str, Any]) -> None:
    """Refuses values of another type than their key's, and numbers out of its bounds.

    leaves: dotted key -> value. Raises ConfigError with the key, the value and what is valid.
    """
    for key, value in leaves.items():
        if key not in KINDS and (group := next((k for k in _above(key) if k in KINDS), "")):
            raise ConfigError(f"config.{group}: keys below it, such as {key}; expected one value")
        expected = _refused(key, value)
        if expected:
            raise ConfigError(f"config.{key} = {repr(value)[:LONGEST]}: expected {expected}")


def _above(key: str) -> list[str]:
    """Groups that a dotted key lies in."""
    return [key.rsplit(".", i)[0] for i in range(1, key.count(".") + 1)]


def _refused(key: str, value: Any) -> str:
    """What would be valid at a key; "" where the value is."""
    if key in FLAGS:
        return "" if isinstance(value, bool) else "True or False"
    if key in TEXTS:
        return "" if isinstance(value, str) and "\0" not in value else "text"
    if key in NAMES:
        named = isinstance(value, (tuple, list)) and all(_name(item) for item in value)
        return "" if named else "names, as ('a', 'b')"
    if key in WHOLE:
        return "" if _whole(value, WHOLE[key]) else f"a whole number {WHOLE[key].say()}"
    if key in NUMBERS:
        return "" if _number(value, NUMBERS[key]) else f"a number {NUMBERS[key].say()}"
    if key in WHOLE_LISTS:
        return _several(value, _whole, WHOLE_LISTS[key], "whole numbers")
    return _several(value, _number, LISTS[key], "numbers") if key in LISTS else ""


def _name(item: Any) -> bool:
    """A name; one of digits comes as a number from a command line."""
    return isinstance(item, (str, int)) and not isinstance(item, bool)


def _whole(value: Any, bounds: Bounds) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and bounds.hold(value)


def _number(value: Any, bounds: Bounds) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not bounds.hold(value):
        return False
    return math.isfinite(value)


def _several(value: Any, one: Any, bounds: Bounds, what: str) -> str:
    """What would be valid for some numbers; "" where these are. No two of them are the same."""
    sound = isinstance(value, (tuple, list)) and all(one(item, bounds) for item in value)
    return "" if sound else f"{what}, each {bounds.say()}, as (1, 2)"
