"""Readers of feature folders. `open_layout` for training and evaluation, `open_input` for files
without labels, `register_layout` for a reader of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gfvad.base.registry import Registry
from gfvad.base.types import DataError
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem
from gfvad.data.features.layouts.from_frames import FrameInputs
from gfvad.data.features.layouts.generic import Generic
from gfvad.data.features.layouts.inputs import Inputs
from gfvad.data.features.layouts.msad_text import MsadText
from gfvad.data.features.layouts.ped2_weak import Ped2Weak
from gfvad.data.features.layouts.shanghaitech import ShanghaiTech
from gfvad.data.features.layouts.tevad import Tevad
from gfvad.data.features.layouts.ucf_crime import UcfCrime
from gfvad.data.features.layouts.ucf_folds import UcfFolds
from gfvad.data.features.layouts.ucf_logits import UcfLogits
from gfvad.data.features.layouts.vadclip import VadClip
from gfvad.data.features.layouts.xd_violence import XdViolence

BUILT_IN = (
    *(XdViolence, UcfCrime, UcfLogits, UcfFolds, ShanghaiTech, Tevad, VadClip, Ped2Weak),
    *(MsadText, Generic),
)
LAYOUTS: Registry[type[Layout]] = Registry("data.layout", {cls.kind: cls for cls in BUILT_IN})
__all__ = ["LAYOUTS", "SPLITS", "Entry", "Layout", "Problem"]


def register_layout(reader: type[Layout]) -> type[Layout]:
    """Makes a reader known as config.data.layout = its `kind`; returns it, so that it decorates.

    A reader stands on `Layout` and gives `scan` and, for frame labels, `truth`. Raises ConfigError
    for a kind that stands for another reader.
    """
    return LAYOUTS.register(reader.kind, reader)


def open_layout(data_cfg) -> Layout:
    """The reader of config.data (layout, root, modalities, captions, ...).

    Raises ConfigError for an unknown layout or modality, DataError where the folder or its
    annotation files are wrong. Reads no features.
    """
    return LAYOUTS.find(data_cfg.layout)(data_cfg)


def drop_unusable(layout: Layout) -> dict[str, str]:
    """Takes the videos of an input that cannot be read out of it: {name: why}. Raises DataError
    where none is left."""
    entries, problems = layout.survey("test")
    lost: dict[str, str] = {}
    for entry in entries:
        try:
            layout.load(entry)
        except DataError as error:
            lost[entry.name] = str(error)
    if len(lost) == len(entries):
        raise DataError(
            f"none of {len(entries)} videos can be scored:"
            f" {next(iter(lost.values()), 'there is none')}"
        )
    layout.keep("test", [entry for entry in entries if entry.name not in lost], problems)
    return lost


def open_input(
    path: str | Path,
    modalities: Sequence[str],
    data_cfg,
    captions: str | Path | None = None,
    widths: Mapping[str, int] = {},
) -> Inputs | FrameInputs:
    """A reader of features to score: a .npy, an .npz, a CSV of paths, a JSON of timed sentences, or
    a folder (of any layout), its videos in entries('test').

    modalities: those of the trained model. data_cfg: config.data of its run (layout, text encoder
    and assignment, cache). captions: the JSON of timed sentences for the modality 'text' (default:
    captions.json beside the features). widths: {modality: D} of the trained
    model, with which a modality may be missing: it is zeros then, and `warnings()` of the reader
    says so.
    Raises DataError where nothing is there, where no modality of the model is (without widths:
    where one is not), or files do not say which modality they are of.
    """
    path = Path(path)
    cfg = data_cfg.copy_and_resolve_references()
    cfg.root, cfg.modalities = str(path), tuple(modalities)
    captions = captions or (path if path.suffix == ".json" else None)
    cfg.captions = str(Path(captions).expanduser().resolve()) if captions else ""
    layout = FrameInputs(cfg) if cfg.layout == Ped2Weak.kind else Inputs(cfg, widths)
    entries = layout.entries("test")
    if not entries:
        raise DataError(f"{path}: no videos; expected features of {', '.join(modalities)}")
    return layout
