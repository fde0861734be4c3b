"""The shards of a prepared set: ArrayRecords of tensorflow-datasets (no TensorFlow). The only
importer of that library."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from gfvad.base.errors import LIBRARY_ERRORS
from gfvad.base.files import require_regular
from gfvad.base.types import DataError
from gfvad.data import prepared_folder as manifest_lib

VERSION = "1.0.0"


class Shards:
    """The shards of a split, each opened when one of its records is first asked for: [row] ->
    example. A damaged one leaves the others readable.

    Raises DataError where the library's notes on the set cannot be read, and whatever the library
    raises for a damaged shard.
    """

    def __init__(self, folder: Path, split: str):
        try:
            info = tfds.builder_from_directory(str(folder)).info
            self._features = cast(tfds.features.FeaturesDict, info.features)
            self._paths = [str(path) for path in info.splits[split].filepaths]
            self._ends = np.cumsum(info.splits[split].shard_lengths)
        except LIBRARY_ERRORS as error:
            raise DataError(
                f"{folder}: damaged ({type(error).__name__}: {' '.join(str(error).split())[:400]});"
                f" {manifest_lib.REDO}"
            ) from None
        self._open: dict[int, ArrayRecordDataSource] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def place(self, row: int) -> tuple[str, int]:
        """(name of the shard, place in it) of a record."""
        shard, place = self._locate(row)
        return Path(self._paths[shard]).name, place

    def __getitem__(self, row: int) -> dict:
        shard, place = self._locate(row)
        if shard not in self._open:
            require_regular(self._paths[shard], "a shard")  # the library would wait for a pipe
            self._open[shard] = ArrayRecordDataSource(self._paths[shard])
        return cast(dict, self._features.deserialize_example_np(self._open[shard][place]))

    def _locate(self, row: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, row, side="right"))
        return shard, row - (int(self._ends[shard - 1]) if shard else 0)


class _UncompressedWriter(tfds.core.ExampleWriter):
    """ArrayRecord without compression: features hardly compress, and reading is three to four
    times as fast."""

    def write(self, path, examples) -> None:
        writer = ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
        try:
            for _, serialised in examples:
                writer.write(serialised)
        finally:
            writer.close()


class _VideoBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Streams videos into shards in the layout's order.

    Not a GeneratorBasedBuilder: that one holds a split in memory up to 1 GB and spills the rest
    through tf.io, which needs TensorFlow.
    """

    name = "gfvad_videos"
    VERSION = tfds.core.Version(VERSION)
    # nothing is downloaded: looking for checksums beside the code needs importlib_resources, which
    # is not installed
    code_path = None

    def __init__(self, dims: dict, dtypes: dict, shards: dict, data_dir: Path):
        self._dims, self._dtypes, self._shards = dims, dtypes, shards
        super().__init__(data_dir=str(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        # encoding="bytes": the default one is some ten times slower; fps as bytes: a float field of
        # an example is only 32 bits wide
        tensor = partial(tfds.features.Tensor, encoding="bytes")
        number = tfds.features.Scalar(np.int64)
        names = tfds.features.Sequence(tfds.features.Text())
        # [C, N, D]
        features = {
            m: tensor(shape=(None, None, d), dtype=np.dtype(self._dtypes[m]))
            for m, d in self._dims.items()
        }
        columns = {
            "name": tfds.features.Text(),
            "classes": names,
            "span_classes": names,
            **dict.fromkeys(("label", "num_frames", "unit_frames"), number),
            "spans": tensor(shape=(None, 2), dtype=np.int64),
            "fps": tensor(shape=(1,), dtype=np.float64),
            "features": features,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(columns))

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return _UncompressedWriter(tfds.core.FileFormat.ARRAY_RECORD)

    def _shard_iterators_per_split(self, dl_manager) -> dict:
        return self._shards

    # nothing is downloaded: keep the library's banner off stdout
    def _log_download_bytes(self) -> None:
        pass

    def _log_download_done(self) -> None:
        pass
