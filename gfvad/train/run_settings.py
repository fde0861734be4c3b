"""The settings that a checkpoint depends on, and how two sets of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.settings.config import telling
from gfvad.settings.kinds import earlier
from gfvad.train.identity import Learnt

NAMED = 5  # differences spelt out in an error


def training_leaves(config: ConfigDict) -> dict[str, Any]:
    """Dotted key -> value of all that a checkpoint depends on, as JSON gives it back."""
    leaves = telling(config, lambda setting: not setting.free)
    return {key: as_json(value) for key, value in leaves.items()}


def hash_of(leaves: Mapping[str, Any]) -> str:
    """Eight hex digits."""
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:8]


def describe_differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """'KEY found X, expected Y' for the first few keys that differ, and how many more do."""
    both = {k: (found.get(k, "nothing"), expected.get(k, "nothing")) for k in {*found, *expected}}
    keys = sorted(key for key, (mine, other) in both.items() if mine != other)
    spelt = ["{} found {}, expected {}".format(key, *both[key]) for key in keys[:NAMED]]
    return "; ".join(spelt) + (f"; and {len(keys) - NAMED} more" if len(keys) > NAMED else "")


def refuse_others(
    where: Path, meta: Mapping[str, Any], expected: Mapping[str, Any], data: Learnt
) -> None:
    """Raises ConfigError where the meta of a checkpoint is of another configuration, of other
    videos, or of other data under their names."""
    found = as_json(earlier(meta["config"], expected))
    if found != expected:
        raise ConfigError(
            f"{where}: this checkpoint belongs to another configuration (hash found"
            f" {meta.get('config_hash')}, expected {hash_of(expected)}):"
            f" {describe_differences(found, expected)}; set these back, or give another --workdir"
        )
    if data.name and meta["data"] and meta["data"] != data.name:
        raise ConfigError(
            f"{where}: this checkpoint learnt from other videos: found {meta['data']}, expected"
            f" {data.name}; give the same data, or another --workdir"
        )
    if different := data.differences(meta.get("content", {})):
        raise ConfigError(
            f"{where}: this checkpoint learnt from other data under the same names of videos:"
            f" {', '.join(different)} of {data.name} differ in content; give the same data, or"
            " another --workdir; to evaluate the run on other data: gfvad evaluate --data=FOLDER"
            " --output=FOLDER"
        )


def as_json(value: Any) -> Any:
    """What JSON gives back of a value."""
    return json.loads(json.dumps(value, default=list))


def named_leaves(tree: Any) -> dict[str, Any]:
    """Path -> leaf of a tree, in its flattening order: 'params.head.kernel'."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
