"""The data of a run that is evaluated on other data than its own (`gfvad evaluate --data`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gfvad.base.seals import lines_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.data.features import layouts, records
from gfvad.data.features.dataset import SIMULATED, Source, cache_dir, resolve
from gfvad.train import loop


def training_part(config: ConfigDict, say: Callable[[str], None]) -> Any:
    """The training split that a run's config names; None, with a word, where it is gone."""
    if config.data.root or config.data.records:
        try:
            return records.open_records(
                resolve(config, loop.quiet).records,
                "train",
                config.data.modalities,
                config.data.on_corrupt,
            )
        except (DataError, ConfigError) as error:
            say(f"floors of the training part are left out: {error}")
    return None


def source_of(config: ConfigDict, folder: Path) -> Source:
    """The records of a folder: as they are where it holds prepared ones, else prepared in the
    cache."""
    if (folder / manifest_lib.INDEX).is_file() and (folder / manifest_lib.MANIFEST).is_file():
        dataset = records.open_records(
            folder, "test", config.data.modalities, config.data.on_corrupt
        ).dataset
        return Source(dataset, None, folder, dataset.endswith(SIMULATED))
    data_cfg = config.data.copy_and_resolve_references()
    data_cfg.root, data_cfg.records = str(folder), ""
    layout = layouts.open_layout(data_cfg)
    told = lines_hash([str(folder.resolve()), repr(data_cfg.to_dict())])[:10]
    out = cache_dir(data_cfg) / "prepared" / f"{data_cfg.dataset}-on-{told}"
    return Source(data_cfg.dataset, folder, records.prepare(layout, out, own=True), False)
