"""What settings may differ in and still share one compiled program, and how such values get into
it.

A number of the config is a constant of the program unless the settings of a group differ in it:
then it is an argument, one value a setting, and the config that losses, optimiser and model read is
an `Overlay` whose attribute is the traced value. A term of the loss is in the program where any
setting of the group has it on (losses.switched_on). Every other key is *structural*: it decides
shapes or the program itself, and settings that differ in one are trained in different programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.fusion.coefficients import Choice
from gfvad.settings import kinds
from gfvad.settings.config import flatten
from gfvad.train.loss_terms import Bounded

LABELS = ("variant",)  # says what a run is called
AFTER_TRAINING = "score."  # how scores are made of what a model says
PARAMETRISATION, LARGEST = "model.fusion.parametrisation", "loss.variance_k"
CORRUPTION = "data.corruption."  # of the test split alone, it does not concern training


def structure(config: ConfigDict) -> dict[str, Any]:
    """Key -> value of all that must be equal in one program; of tuples that may vary, their
    length."""
    leaves, declared = flatten(config), kinds.settings_of(config)
    left_out = {*LABELS, *(key for key in leaves if key.startswith(AFTER_TRAINING))}
    # each setting and seed starts from its own config
    left_out |= {key for key, setting in declared.items() if setting.starts}
    varies = varying_keys(config)
    if leaves.get(f"{CORRUPTION}at") in ("none", "test"):
        left_out |= {key for key in leaves if key.startswith(CORRUPTION)}
    shape = lambda value: len(value) if isinstance(value, tuple) else "varies"
    kept = {key: value for key, value in leaves.items() if key not in left_out}
    return {key: shape(value) if key in varies else value for key, value in kept.items()}


def varying_keys(config: ConfigDict) -> list[str]:
    """Keys whose values are arguments of the program where settings differ in them."""
    return [key for key, setting in kinds.settings_of(config).items() if setting.varies]


class Varying(NamedTuple):
    """The varying keys in which the K settings of a group differ."""

    values: dict[str, np.ndarray]  # key -> [K] or, of a tuple, [K, length]
    names: tuple[str, ...]  # parametrisations that `values` counts
    largest: int  # variance_k of any setting


def varying(configs: Sequence[ConfigDict]) -> Varying:
    """Which varying keys differ between the configs of a group, and their values."""
    leaves: list[dict[str, Any]] = [flatten(config) for config in configs]
    first = leaves[0]
    differs = lambda key: any(other[key] != first[key] for other in leaves)
    differing = [key for key in varying_keys(configs[0]) if differs(key)]
    names = tuple(sorted({str(other.get(PARAMETRISATION)) for other in leaves}))
    values = {key: _array(key, [other[key] for other in leaves], names) for key in differing}
    return Varying(values, names, max(int(other.get(LARGEST, 0)) for other in leaves))


def _array(key: str, column: list[Any], names: tuple[str, ...]) -> np.ndarray:
    if key == PARAMETRISATION:
        return np.array([names.index(name) for name in column], np.int32)
    return np.array(column, np.int32 if key == LARGEST else np.float32)


def within(values: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The values of a group, by their keys below it."""
    dot = f"{group}."
    return {k.removeprefix(dot): value for k, value in values.items() if k.startswith(dot)}


class Overlay:
    """A config, or a group of one, with some leaves replaced; all else is read through. Reads as
    a ConfigDict does."""

    def __init__(self, config: Any, replaced: Mapping[str, Any]):
        """replaced: dotted key below `config` -> value."""
        self._config, self._replaced = config, dict(replaced)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy and pickle, before the fields are there
            raise AttributeError(name)
        if name in self._replaced:
            return self._replaced[name]
        below, value = within(self._replaced, name), getattr(self._config, name)
        return Overlay(value, below) if below else value

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in self._config

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where there is no such key."""
        return getattr(self, name) if name in self._config else default


def overlay(config: ConfigDict, values: Mapping[str, jax.Array], found: Varying) -> Any:
    """The config that one setting's part of the program reads: its values (one of each, traced)
    in place of the group's."""
    replaced: dict[str, Any] = {}
    for key, value in values.items():
        if key == PARAMETRISATION:
            replaced[key] = Choice(config.model.fusion.parametrisation, found.names, value)
        elif key == LARGEST:
            replaced[key] = Bounded(value, found.largest)
        else:
            replaced[key] = tuple(value[i] for i in range(value.shape[0])) if value.ndim else value
    return Overlay(config, replaced) if replaced else config


def bind(
    model: Any, config: ConfigDict, values: Mapping[str, jax.Array], found: Varying
) -> tuple[Any, Any]:
    """(model, config) of one setting of a group. The model reads its traced values from its
    field `config` (config.model)."""
    whole = overlay(config, values, found)
    if values and (below := within(whole._replaced, "model")):
        model = model.clone(config=Overlay(model.config, below))
    return model, whole
