"""Keys that configurations have had: runs of earlier versions are read as they were meant, those of
later ones are refused by name.

A test holds KNOWN against configs/; whoever adds a key adds it there, and to LATER with the value
that does what was done before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

WEAK, PREDICTIVE = "weak", "predictive"

# Keys that came after the first runs -> (kinds of model, what does what was done before it)
LATER: dict[str, tuple[str, Any]] = {
    "kind": (PREDICTIVE, PREDICTIVE),
    "data.clock": (WEAK, False),
    "data.corruption.amount": (WEAK, 0.0),
    "data.corruption.at": (WEAK, "none"),
    "data.corruption.kind": (WEAK, "missing"),
    "data.corruption.modality": (WEAK, ""),
    "data.on_corrupt": (WEAK, "error"),
    "data.records": (WEAK, ""),
    "loss.branch": (WEAK, 1.0),
    "loss.consistency": (WEAK, 0.0),
    "loss.unit_abnormal": (WEAK, 0.0),
    "loss.unit_abnormal_steps": (WEAK, 0),
    "loss.unit_normal": (WEAK, 0.0),
    "model.confidence": (WEAK, ()),
    "model.edge_dropout": (WEAK, 0.0),
    "model.foil.heads": (WEAK, 4),
    "model.foil.hidden": (WEAK, 32),
    "model.foil.kind": (WEAK, "concat"),
    "model.foil.rank": (WEAK, 32),
    "model.foil.width": (WEAK, 0),
    "model.fusion.separate": ("weak predictive", False),
    "model.fusion.start": ("weak predictive", "mean"),
    "model.head.absent": (WEAK, 0.0),
    "model.head.detach": (WEAK, False),
    "model.head.gates": (WEAK, ()),
    "model.head.mix": (WEAK, 0.5),
    "model.head.prior": (WEAK, 0.5),
    "model.head.relations": (WEAK, True),
    "model.input_dropout_shared": (WEAK, False),
    "model.modality_dropout": (WEAK, 0.0),
    "model.pace_flow": (PREDICTIVE, False),
    "model.relation.temporal_seconds": (WEAK, 0.0),
    "optim.graph_rate": ("weak predictive", 1.0),
    "score.floors": (PREDICTIVE, True),
    "train.members": (WEAK, 1),
}

_BOTH = """
data: cache_dir dataset eval_batch_size layout root test_name text_encoder validation_fraction
eval: bootstrap ema every_on_test figures gaussian metric
loss: balance
model.expansion: kind order restart zeroth
model.filter: bottleneck experts scale topk
model.fusion: channels cross_terms form graphs parametrisation rank separate start
model: name
optim: clip_norm graph_rate learning_rate name schedule warmup_steps weight_decay
parallel: backend devices
.: seed variant
train: batch_size checkpoint_every eval_every keep log_every steps
"""
_WEAK = """
data: captions clock eval_lengths eval_mode modalities on_corrupt records require_real standardize
  text_assign train_sampling train_units
data.corruption: amount at kind modality
data.simulated: crops seed test_videos train_videos units
loss: branch consistency label_smoothing reconstruction smoothness sparsity topk_divisor
  unit_abnormal unit_abnormal_steps unit_normal variance variance_alpha variance_k
model: confidence dropout edge_dropout embed_dim input_dropout input_dropout_shared
  modality_dropout
model.filter: modalities
model.foil: heads hidden kind rank width
model.head: absent alpha detach gates hidden kind layers mix prior relations topk
model.relation: knn projection sigma similarity sources temporal_seconds temporal_tau threshold
train: members
"""
_PREDICTIVE = """
data: channels clip_frames flow flow_cell height masks spans store stride test_descriptions
  train_descriptions vision width workers
.: kind
loss: contrast flow frame pace pace_fastest pace_motion pace_still text
model: cell decoder_layers flow_from flow_input heads joint_layers mlp motion motion_layers pace
  pace_flow pace_width patch pixel_width relation_bias skip text_hidden vision_layers width
model.filter: form kind memory_items shrink
score: causal clip_seconds floors perturbations ridge spatial temporal terms text_frames weights
"""


def _keys(table: str) -> frozenset[str]:
    """Dotted keys of 'GROUP: KEY KEY ...' ('.' is the top level); a group may go on in further
    lines."""
    found, group = [], "."
    for word in table.split():
        if word.endswith(":"):
            group = word[:-1]
        else:
            found.append(word if group == "." else f"{group}.{word}")
    return frozenset(found)


KNOWN = {WEAK: _keys(_BOTH + _WEAK), PREDICTIVE: _keys(_BOTH + _PREDICTIVE)}


def defaults(kind: str) -> dict[str, Any]:
    """Dotted key -> value of all that came later, for a kind of model."""
    return {key: value for key, (kinds, value) in LATER.items() if kind in kinds.split()}


def unknown(keys: Iterable[str], kind: str) -> list[str]:
    """The keys that no configuration of that kind has, in this version."""
    # which the weak one may state
    return sorted(set(keys) - KNOWN.get(kind, KNOWN[WEAK]) - {"kind"})


def filled(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves of an earlier version with the later keys that `expected` has, each with the value
    of its time (as JSON gives it)."""
    kind = found.get("kind", expected.get("kind", WEAK))
    later = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in defaults(kind).items()
        if key in expected
    }
    return {**later, **found}
