"""Filters by name: what stands between features and relationship graphs, all behind one interface.

module(x [N, D], mask bool [N]) -> (y [N, D], FilterStats), so that "memory instead of experts", or
no filter at all, is one setting. One more filter is one module and one line here.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import flax.linen as nn

from gfvad.base.registry import Registry
from gfvad.nn.filter import SparseFeatureFilter
from gfvad.nn.memory import MNAD, Bottleneck, MemAE, NoFilter


class FilterConfig(Protocol):
    """`config.model.filter`: the kind, and what the fields of its module are set to."""

    kind: str  # a name of FILTERS
    memory_items: int  # `items` of a memory; 0 for the number of the kind's own paper


FILTERS: Registry[type[nn.Module]] = Registry(
    "model.filter.kind",
    {
        "none": NoFilter,
        "bottleneck": Bottleneck,
        "sffm": SparseFeatureFilter,
        "memae": MemAE,
        "mnad": MNAD,
    },
)


def make_filter(cfg: FilterConfig, name: str | None = None) -> nn.Module:
    """The filter of `config.model.filter`, its fields set to the settings of their names; those
    that the kind does not have are ignored.

    Args: name: of the module in its parent. Raises ConfigError for an unknown kind, with the
    nearest one.
    """
    module = FILTERS.find(cfg.kind)
    fields = {field.name for field in dataclasses.fields(module)} - {"parent", "name", "items"}
    values = {field: getattr(cfg, field) for field in fields}
    if cfg.memory_items and "items" in module.__dataclass_fields__:
        values["items"] = cfg.memory_items
    return module(**values, name=name)
