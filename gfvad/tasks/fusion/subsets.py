"""Overrides that leave modalities out, for sweeps that know them by position only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from gfvad.tasks.fusion.detector import NO_MODALITY
from gfvad.tasks.fusion.registry import graph_names


def keep(config: ConfigDict, places: Sequence[int]) -> dict[str, Any]:
    """Overrides under which only the modalities at `places` (0 the first) are used, with all that
    has one entry a modality cut to them.

    Where the graphs become too few for the fusion's form, it becomes cp over all of them; where
    fused graphs start as minterms, there are as many for each graph left out as the base has.
    """
    names = tuple(config.data.modalities)
    kept = tuple(names[i] for i in places)
    model = config.model
    found: dict[str, Any] = {"data.modalities": kept}
    found["model.confidence"] = tuple(m for m in model.confidence if m in kept)
    found["model.filter.modalities"] = tuple(m for m in model.filter.modalities if m in kept)
    if (related := model.relation.modalities) not in ((), NO_MODALITY):
        found["model.relation.modalities"] = tuple(m for m in related if m in kept)
    if not found["model.filter.modalities"]:
        found["model.relation.sources"] = ("raw",)
    for part in ("bank", "events"):
        if model[part].modality and model[part].modality not in kept:
            found[f"model.{part}.modality"] = ""
    if gates := model.head.gates:  # modalities first, then what the head has beside them
        found["model.head.gates"] = (*(gates[i] for i in places), *gates[len(names) :])
    after = config.copy_and_resolve_references()
    after.update_from_flattened_dict(found)  # unchecked
    graphs = len(graph_names(after.model, kept))
    if graphs < 2 or (graphs != 2 and model.fusion.graphs == "all"):
        found |= {"model.fusion.form": "cp", "model.fusion.graphs": "all"}
    if model.fusion.orders and found.get("model.fusion.form", model.fusion.form) == "cp":
        found["model.fusion.orders"] = ()  # they are of each graph, by place
    if model.fusion.start == "minterms":
        found["model.fusion.channels"] = max(1, model.fusion.channels >> len(names) - len(kept))
    return found


def graph_count(config: ConfigDict) -> int:
    """How many graphs a config fuses."""
    return len(graph_names(config.model, config.data.modalities))


def plain_start(config: ConfigDict) -> dict[str, Any]:
    """Overrides that let the fusion take any form: minterms are a start of free cp coefficients
    on hadamard powers alone."""
    return {"model.fusion.start": "mean"} if config.model.fusion.start == "minterms" else {}
