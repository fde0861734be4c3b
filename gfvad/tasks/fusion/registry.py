"""Models by name, and every combination of model settings that cannot work, refused before any
device work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from ml_collections import FrozenConfigDict

from gfvad.base.names import nearest
from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError, DataError
from gfvad.data import corrupt, damage
from gfvad.data.features.layouts import LAYOUTS
from gfvad.fusion.operator import check_fusion
from gfvad.graphs.relations import check_relation
from gfvad.settings import config as config_lib
from gfvad.tasks.fusion import described_events
from gfvad.tasks.fusion.by_rows import check_rows
from gfvad.tasks.fusion.comparators.known import COMPARATORS, made_and_checked
from gfvad.tasks.fusion.content import Modality
from gfvad.tasks.fusion.detector import NO_MODALITY, GraphFusionDetector, related
from gfvad.tasks.fusion.foils import FeatureFusion

# graphs of time alone -> key of model.relation
TEMPORAL = {"temporal": "temporal_tau", "temporal in seconds": "temporal_seconds"}


class Model(NamedTuple):
    """How a model is made, and what its settings may be."""

    # (whole config, feature sets) -> module: (features {m: [N, D_m]}, mask bool [N], train) ->
    # Output(logits [N], graph [G, N, N] or [0, N, N], aux); aux["loss/NAME"] [] is learnt by too.
    # A module with a method after_step(variables {"params": ..., collection: ...}, LossInputs) ->
    # {collection: what it is after a step} changes parameters, or collections of its own, beside
    # the gradient; it stands outside the module's scope (nn.nowrap)
    build: Callable[[Any, tuple[Modality, ...]], nn.Module]
    # (whole config, names of the feature sets): raises ConfigError by key
    check: Callable[[Any, Sequence[str]], None] | None = None


comparison = "comparison"  # sweep of the models that a user would pick instead
MODELS: Registry[Any] = Registry("model.name")


def build_model(
    config: Any,
    feature_dims: Mapping[str, int],
    feature_stats: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> nn.Module:
    """The detector `config.model.name` for these features, as a module: see `Model.build`.

    Args: config: the whole configuration; feature_dims {m: D}, in the order of the graphs;
    feature_stats {m: {'mean': [D], 'std': [D]}} of the training split, None where they come with
    restored constants.
    Raises: ConfigError for settings that cannot work, DataError for statistics that do not fit the
    features.
    """
    check_model(config, tuple(feature_dims))
    return model_of(config).build(config, with_statistics(feature_dims, feature_stats))


def unknown_stats(feature_dims: Mapping[str, int]) -> dict[str, dict[str, np.ndarray]]:
    """Statistics of the right shapes, where those of a checkpoint's constants take their place."""
    return {
        name: {key: np.zeros(width, np.float32) for key in ("mean", "std")}
        for name, width in feature_dims.items()
    }


def with_statistics(
    feature_dims: Mapping[str, int], feature_stats: Mapping[str, Mapping[str, np.ndarray]] | None
) -> tuple[Modality, ...]:
    """Feature sets with their statistics. Raises DataError where a statistic is missing, of
    another width or not finite."""
    if feature_stats is None:
        return tuple(Modality(name, int(width)) for name, width in feature_dims.items())
    modalities = []
    for name, width in feature_dims.items():
        values = {}
        for key in ("mean", "std"):
            value = np.asarray(feature_stats.get(name, {}).get(key, ()), np.float32)
            if value.shape != (width,) or not np.isfinite(value).all():
                raise DataError(
                    f"feature statistic {key!r} of {name!r}: found shape {value.shape}, expected"
                    f" {width} finite values; prepare the data"
                )
            values[key] = tuple(value.tolist())
        branch = feature_stats[name].get("weight")
        if branch is not None:
            values |= {"weight": tuple(np.asarray(branch, np.float32).tolist())}
            values |= {"offset": float(feature_stats[name]["offset"])}
        if (events := feature_stats[name].get(described_events.STATISTIC)) is not None:
            values["events"] = tuple(map(tuple, np.asarray(events, np.float32).tolist()))
        modalities.append(Modality(name, int(width), **values))
    return tuple(modalities)


def graph_fusion(config: Any, modalities: tuple[Modality, ...]) -> GraphFusionDetector:
    """The graph fusion detector (graph_fusion 1 - 6)."""
    return GraphFusionDetector(
        FrozenConfigDict(config.model), modalities, config.data.standardize, config.data.train_units
    )


def feature_fusion(config: Any, modalities: tuple[Modality, ...]) -> FeatureFusion:
    """Feature-level fusion by model.foil.kind, with which graph fusion is compared."""
    return FeatureFusion(FrozenConfigDict(config.model), modalities, config.data.standardize)


def model_of(config: Any) -> Model:
    """The model that `config.model.name` names. Raises ConfigError."""
    found = MODELS.find(config.model.name)
    return found if isinstance(found, Model) else Model(found)


def check(config: Any) -> None:
    """Refuses settings that cannot work together, by key (ConfigError). No device work."""
    data = config.data
    if list(data.eval_lengths) != sorted(set(data.eval_lengths)) or not data.eval_lengths:
        raise ConfigError(
            f"config.data.eval_lengths = {data.eval_lengths!r}: expected increasing positive"
            " lengths"
        )
    layout = LAYOUTS.get(data.layout)  # what is not known yet is asked when it is opened
    has_sentences = data.captions or layout is None or layout.has_text
    if "text" in data.modalities and not has_sentences:
        raise ConfigError(
            "config.data.modalities has 'text' but config.data.captions is empty; give the JSON of"
            " timed sentences"
        )
    corrupt.check_corruption(data.corruption, data.modalities)
    damage.check_damage(data.damage, data.modalities)
    check_model(config, data.modalities)


def check_model(config: Any, modalities: Sequence[str]) -> None:
    """Refuses, by key, model settings that cannot work with these modalities."""
    config_lib.check_values(config_lib.flatten(config))
    for name in (name for name in config.model.confidence if name not in modalities):
        hint = "expected names of config.data.modalities; take it out here or add it there"
        raise ConfigError(
            f"config.model.confidence = {name!r}{nearest(name, tuple(modalities))}: {hint}"
        )
    if check_own := model_of(config).check:
        check_own(config, modalities)


def check_graph_fusion(config: Any, modalities: Sequence[str]) -> None:
    """Refuses, for graph_fusion, relations, filters and graphs that do not fit, and heads without
    what they need."""
    model = config.model
    check_relation(model.relation)
    if model.relation.temporal_seconds > 0 and not config.data.clock:
        raise ConfigError(
            f"config.model.relation.temporal_seconds = {model.relation.temporal_seconds} needs the"
            " time of units: set config.data.clock = True"
        )
    check_filter(model.filter, modalities)
    for beside in ("bank", "events"):
        check_beside(model, modalities, beside)
    check_graphs(model, modalities)
    check_evidence(model)
    check_rows(config)
    mode, sampling = config.data.eval_mode, config.data.train_sampling
    if model.head.kind == "row" and (mode, sampling) != ("segments", "mean"):
        raise ConfigError(
            "config.model.head.kind = 'row' needs a fixed number of units: set"
            f" config.data.eval_mode = 'segments' (is {mode!r}) and config.data.train_sampling ="
            f" 'mean' (is {sampling!r}), or take head 'degree' or 'gnn'"
        )


def check_evidence(model: Any) -> None:
    """Refuses linear branches beside what they have no place for."""
    if model.evidence == "trained":
        return
    wrong = {
        f"config.model.head.kind = {model.head.kind!r}": model.head.kind != "branches",
        f"config.model.head.layers = {model.head.layers}": model.head.layers > 0,
        "config.model.head.relations = True": model.head.relations,
        f"config.model.head.gates = {model.head.gates!r}": bool(model.head.gates),
        f"config.model.confidence = {model.confidence!r}": bool(model.confidence),
        f"config.model.filter.modalities = {model.filter.modalities!r}": bool(
            model.filter.modalities
        ),
    }
    if found := [key for key, is_wrong in wrong.items() if is_wrong]:
        raise ConfigError(
            f"{found[0]} with config.model.evidence = {model.evidence!r}, which makes one linear"
            " branch a feature set; set config.model.evidence = 'trained', or take it out (head"
            " branches, layers 0, no relations, gates (), no confidence, no filter)"
        )


def check_foil(config: Any, modalities: Sequence[str]) -> None:
    """Refuses, for feature_fusion, a filter (it has none), heads that do not divide the
    embedding, and late fusion that could not learn."""
    model, foil = config.model, config.model.foil
    if model.filter.modalities:
        raise ConfigError(
            f"config.model.filter.modalities = {model.filter.modalities!r}: model 'feature_fusion'"
            " has no filter; set it to () or take model.name 'graph_fusion'"
        )
    if foil.kind in ("cross_attention", "transformer") and model.embed_dim % foil.heads:
        raise ConfigError(
            f"config.model.foil.heads = {foil.heads}: expected a divisor of config.model.embed_dim"
            f" = {model.embed_dim}"
        )
    if foil.kind == "late" and len(model.head.gates) not in (0, len(modalities)):
        named = ", ".join(modalities)
        raise ConfigError(
            f"config.model.head.gates = {model.head.gates!r}: foil 'late' expects one a modality"
            f" ({named}), or () for 1 each"
        )
    if foil.kind == "late" and not config.loss.branch > 0:
        raise ConfigError(
            f"config.loss.branch = {config.loss.branch!r}: foil 'late' learns from its branches'"
            " losses alone; expected a number above 0"
        )


def check_filter(cfg: Any, modalities: Sequence[str]) -> None:
    """Refuses filters of unknown modalities, and more kept experts than there are."""
    for name in (name for name in cfg.modalities if name not in modalities):
        hint = f"{nearest(str(name), tuple(modalities))} (one of {', '.join(modalities)})"
        raise ConfigError(f"config.model.filter.modalities = {name!r}{hint}")
    if cfg.modalities and cfg.topk > cfg.experts:
        raise ConfigError(
            f"config.model.filter.topk = {cfg.topk}: expected at most config.model.filter.experts ="
            f" {cfg.experts}"
        )


def check_beside(model: Any, modalities: Sequence[str], part: str) -> None:
    """Refuses a bank, or events in words, of an unknown modality, and beside a head that has no sum
    of evidence."""
    name = model[part].modality
    key = f"config.model.{part}.modality = {name!r}"
    if name and name not in modalities:
        raise ConfigError(
            f"{key}{nearest(str(name), tuple(modalities))} (one of {', '.join(modalities)})"
        )
    if name and (model.head.kind != "branches" or model.evidence != "trained"):
        raise ConfigError(
            f"{key} needs config.model.head.kind = 'branches' and config.model.evidence = 'trained'"
            f" (are {model.head.kind!r}, {model.evidence!r})"
        )


def check_graphs(model: Any, modalities: Sequence[str]) -> None:
    """Refuses sources that leave a modality without a graph, and fusion forms that do not fit
    the number of graphs."""
    named = model.relation.modalities
    for name in (name for name in named if name not in modalities and named != NO_MODALITY):
        hint = f"{nearest(str(name), tuple(modalities))} (one of {', '.join(modalities)})"
        raise ConfigError(f"config.model.relation.modalities = {name!r}{hint}")
    sources, filters = model.relation.sources, model.filter.modalities
    refused = [source for source in sources if source != "raw"]
    without = [m for m in modalities if m not in filters]
    if refused and (not filters or ("raw" not in sources and without)):
        raise ConfigError(
            f"config.model.relation.sources = {sources!r} needs a filter on {', '.join(without)}: "
            f"add to config.model.filter.modalities = {filters!r}, or add 'raw' to the sources"
        )
    check_fusion(model.fusion, model.expansion, len(graph_names(model, modalities)))


def graph_names(model: Any, modalities: Sequence[str]) -> list[str]:
    """Names of the M graphs that the detector fuses, in its order."""
    names = []
    modalities = related(model, modalities)
    for source in model.relation.sources:
        if source == "raw":
            names += modalities
        else:
            names += [f"{m} {source}" for m in modalities if m in model.filter.modalities]
    return names + [name for name, key in TEMPORAL.items() if model.relation[key] > 0]


def register_model(
    name: str,
    build: Callable[[Any, tuple[Modality, ...]], nn.Module],
    check: Callable[[Any, Sequence[str]], None] | None = None,
) -> None:
    """Makes a model known as `config.model.name = name`. Args: as the fields of `Model`. A model
    whose file need not be imported first is named 'package.module:build' instead."""
    MODELS.register(name, Model(build, check))


register_model("graph_fusion", graph_fusion, check_graph_fusion)
register_model("feature_fusion", feature_fusion, check_foil)
for comparator in COMPARATORS:
    register_model(comparator, *made_and_checked(comparator))
