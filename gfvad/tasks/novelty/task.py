"""Graph novelty, learnt from normal video alone: the contract of gfvad/tasks/task.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.measure.explained import Explained, Removal
from gfvad.settings.command_line import Arguments
from gfvad.tasks.scoring import FrameScores, Scorer
from gfvad.tasks.task import OpenRun, Restored, SweepData

if TYPE_CHECKING:
    from gfvad.train.parallel import Mapper
    from gfvad.train.run import Outline

kind = "novelty"
comparison = "normal_only"


def register_loss(name: str, default: float = 0.0) -> NoReturn:
    """None: what is learnt is a handful of numbers."""
    raise ConfigError(f"loss {name!r}: graph novelty has no further terms of its loss")


def check(config: ConfigDict) -> None:
    """Refuses settings that cannot work together, by name."""
    from gfvad.data import company
    from gfvad.data.units.layouts import LAYOUTS
    from gfvad.tasks.novelty import registry

    sets, model = config.data.modalities, config.model
    known = LAYOUTS[config.data.layout].sets
    if unknown := [name for name in sets if name not in known]:
        raise ConfigError(
            f"config.data.modalities: {unknown[0]!r} is no feature set of layout"
            f" {config.data.layout!r}; expected some of {', '.join(known)}"
        )
    company.base_of(config.data)
    if registry.is_comparator(config):
        registry.check_comparator(config)
    listed = ", ".join(sets)
    for term in model.terms:
        names = [name.strip() for name in term.split("*")]
        if not set(names) <= set(sets) or len(set(names)) < len(names):
            raise ConfigError(
                f"config.model.terms: {term!r}; expected names of data.modalities ({listed}), each"
                " once, joined by '*'"
            )
    if len(model.scales) != len(sets):
        raise ConfigError(
            f"config.model.scales has {len(model.scales)} numbers; expected {len(sets)}, one for"
            f" each of data.modalities ({listed})"
        )


def open_run(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
    """A run on the tracks that its config names."""
    from gfvad.tasks.novelty.run import NoveltyRun

    return NoveltyRun.open(arguments, mapper, say)


def outline(config: ConfigDict, widths: Mapping[str, int]) -> Outline:
    """The fit of its numbers, and scoring."""
    from gfvad.tasks.novelty import outline as of_novelty

    return of_novelty.outline(config, widths)


def open_elsewhere(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
    """A run with other tracks to test it on."""
    from gfvad.tasks.novelty.run import NoveltyRun

    return NoveltyRun.elsewhere(arguments, mapper, say)


def frame_scores(arguments: Arguments) -> FrameScores:
    """Frame scores of videos from their tracks."""
    from gfvad.tasks.novelty import scorer

    return scorer.bulk_scores(arguments)


def open_scorer(model: Path, checkpoint: str = "last") -> Scorer:
    """The scorer of a run."""
    from gfvad.tasks.novelty import scorer

    return scorer.open_scorer(model, checkpoint)


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Writes a run as an artefact."""
    from gfvad.tasks.novelty import artefact

    return artefact.export(workdir, out, checkpoint, platforms)


def frame_labels(run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
    """Frame labels of a run's test split, video -> uint8 [T]."""
    from gfvad.tasks.novelty.run import open_test, set_root

    test = open_test(config, set_root(config))
    if test is None:
        raise DataError(f"{run}: no labelled test split (config.data.test = '')")
    assert test.labels is not None
    return dict(zip(test.names, test.labels, strict=True))


def video_classes(run: Path, config: ConfigDict) -> Mapping[str, tuple[str, ...]]:
    """None: tracks have no classes."""
    raise DataError(f"{run}: sets of tracks have no classes of events")


def kept_weights(run: Any, which: str) -> Restored:
    """The weights asked for, with the calibration that was kept beside them."""
    from gfvad.tasks.novelty import causes

    return causes.kept_weights(run, which)


def score_test(run: Any, chosen: Restored) -> list[ScoredVideo]:
    """Frame scores of the test split, made anew."""
    return run.evaluate(chosen).videos


def explain(run: Any, chosen: Restored, index: int, at: float | None = None) -> Explained:
    """What a score of a test video comes from."""
    from gfvad.tasks.novelty import causes

    return causes.explain(run, chosen, index, at)


def without_causes(run: Any, chosen: Restored, index: int) -> Removal:
    """How far the highest score of a test video falls without the named causes."""
    from gfvad.tasks.novelty import causes

    return causes.without_causes(run, chosen, index)


def sweep_data(config: ConfigDict, say: Callable[[str], None]) -> SweepData:
    """Normal videos and the labelled test split that settings are compared on."""
    from gfvad.tasks.novelty.sweep import Data

    return Data(config, say)
