"""From a config to prepared records: the real features where they are, the simulated set where
there are none."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gfvad.base.fetched import local_folder
from gfvad.base.names import canonical, some
from gfvad.base.types import DataError
from gfvad.data import simulate, text
from gfvad.data.captions import cache_folder as cache_dir
from gfvad.data.features import layouts, records
from gfvad.data.features.layouts import parts
from gfvad.data.truth_audit import require_trainable

SIMULATED = "-simulated"


class Source(NamedTuple):
    """Where a job's data comes from."""

    dataset: str  # name for results and titles; ends in '-simulated' for the embedded default
    root: Path | None  # folder of the features; None where prepared records were given
    records: Path  # prepared ArrayRecord folder
    simulated: bool


def use_simulated(data_cfg) -> bool:
    """True where no folder of features was given and the dataset has an embedded stand-in.

    Raises DataError, saying what to download and where to put it, where real features are needed
    and none are named.
    """
    if data_cfg.root:
        return False
    if data_cfg.dataset == "xd_violence" and not data_cfg.require_real:
        return True
    raise DataError(
        f"config.data.root is empty: {data_cfg.dataset} needs features on disk. Get them as"
        f" docs/data.md says (section {data_cfg.dataset}), put them in one folder and give"
        " --config.data.root=FOLDER"
    )


def resolve(
    config, say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
) -> Source:
    """Finds (or simulates) the features of a config and prepares them once; a later call finds the
    records ready.

    Raises DataError before any long work where the folder, its files or their pairing are wrong.
    """
    data_cfg = config.data.copy_and_resolve_references()
    if data_cfg.records:
        return given(data_cfg, say)
    simulated = use_simulated(data_cfg)
    cache = cache_dir(data_cfg)
    if simulated:
        data_cfg.root = str(simulate.simulated_folder(cache / "simulated", data_cfg.simulated))
    given_root = data_cfg.root
    data_cfg.root = str(local_folder(data_cfg.root))
    layout = layouts.open_layout(data_cfg)
    dataset = data_cfg.dataset + (SIMULATED if simulated else "")
    out = cache / "prepared" / f"{dataset}-{_key(data_cfg)}"
    say(f"data: {given_root} ({', '.join(data_cfg.modalities)}); split by {layout.split_rule}")
    train, test = ([entry.label for entry in layout.entries(split)] for split in layouts.SPLITS)
    if note := require_trainable(train, test, data_cfg.root):
        say(f"warning: {note}")
    path = records.prepare(layout, out, own=True)
    for line in parts.passed_over(layout):
        say(f"data: note: {line}")
    return Source(dataset, Path(data_cfg.root), path, simulated)


def fit_lengths(config, source: Source) -> None:
    """On the simulated set, sets the static lengths to those of its short videos, unless units
    must be fixed segments. In place."""
    if source.simulated and config.data.eval_mode == "full":
        config.data.train_units = config.data.simulated.units
        config.data.eval_lengths = (config.data.simulated.units,)


def given(data_cfg, say: Callable[[str], None]) -> Source:
    """Records that `gfvad prepare` wrote. Raises DataError where they are of another
    dataset or lack a modality."""
    path = local_folder(data_cfg.records)
    train, test = (
        records.open_records(path, split, data_cfg.modalities, data_cfg.on_corrupt)
        for split in layouts.SPLITS
    )
    found, tests = train.dataset, {canonical(name) for name in test.names}
    if both := [name for name in train.names if canonical(name) in tests]:
        raise DataError(
            f"{path}: {len(both)} videos are in both parts: {some(both)}; expected each in one: "
            "prepare the records again from features whose parts share none"
        )
    if found.removesuffix(SIMULATED) != data_cfg.dataset:
        raise DataError(
            f"{path}: records of {found!r}, expected {data_cfg.dataset!r} (config.data.dataset);"
            " give other records or another config"
        )
    if found.endswith(SIMULATED) and data_cfg.require_real:
        raise DataError(
            f"{path}: records of {found!r}, and config.data.require_real is set; prepare real"
            " features (docs/data.md)"
        )
    if not train.sealed:
        say(
            f"data: {path} was prepared by an earlier version, without checksums: damage in it may"
            " go unseen; prepare it again to have them"
        )
    say(f"data: {path} ({', '.join(data_cfg.modalities)})")
    if note := require_trainable(train.labels.tolist(), test.labels.tolist(), str(path)):
        say(f"warning: {note}")
    return Source(found, None, path, found.endswith(SIMULATED))


def _key(data_cfg) -> str:
    """Ten hex digits of what the records' content depends on."""
    keys = ("layout", "root", "modalities", "captions", "text_encoder", "text_assign")
    content = {k: data_cfg[k] for k in keys} | {"root": str(Path(data_cfg.root).resolve())}
    if data_cfg.get("folds"):
        content |= {k: data_cfg[k] for k in ("folds", "fold")}
    content |= {"simulated": data_cfg.simulated.to_dict(), "gap_seconds": text.GAP_SECONDS}
    told = json.dumps(content, sort_keys=True, default=list)
    return hashlib.sha256(told.encode()).hexdigest()[:10]
