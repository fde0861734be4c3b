"""Videos as ArrayRecord, written once through tensorflow-datasets (no TensorFlow) and read at
random. The only importer of that library.

A folder holds gfvad_videos/1.0.0/ (the tensorflow-datasets set: shards, features.json), index.json
(everything but the features), feature_stats.npz (of the training split) and manifest.json (see
data/prepared_folder.py). It is complete or absent.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.arrays import Npz
from gfvad.base.progress import Progress, Silent
from gfvad.base.types import DataError, Video
from gfvad.data import prepared_folder as manifest_lib
from gfvad.data import set_identity
from gfvad.data.features.layouts import arrays
from gfvad.data.features.opened import DIGEST, Records, feature_digest
from gfvad.data.features.shards import VERSION, Shards, _VideoBuilder
from gfvad.data.features.statistics import Moments

SHARD_VIDEOS = 256


def prepare(
    layout,
    out_dir: str | os.PathLike,
    progress: Callable[[int, str], Progress] | None = Progress,
    own: bool = False,
) -> Path:
    """Writes the train and test videos of a layout to the folder `out_dir` and returns it; does
    nothing where it holds them already.

    The layout gives .name, .modalities {name: D}, .entries(split) -> [entry with .name and, where
    it has any, .files] and .load(entry) -> Video, and may give .fingerprint() -> str. Another
    process that prepares the same folder is waited for. Interrupted at any moment, the folder is
    complete, as it was before, or absent. `progress(total, label)` reports (None: silent). A
    damaged set, and one of an earlier version without checksums, is prepared anew, and a line says
    so. own: the folder is in our cache.
    Raises DataError, naming video and modality, for features that are misshapen, not finite or of
    mixed precision, for a full disk, and where `out_dir` holds something else.
    """
    target = Path(out_dir)
    identity = set_identity.identity_of(layout)
    with manifest_lib.locked(target):
        why = manifest_lib.stale(target, identity)
        if why is None:
            return target
        manifest_lib.refuse_foreign(target, layout.name, own)
        if why and progress is not None and any(target.iterdir()):
            reason = why.removesuffix(f"; {manifest_lib.REDO}")
            print(f"data: prepared anew: {reason}", file=sys.stderr, flush=True)
        with manifest_lib.replacing(target) as folder:
            _write(layout, identity, folder, progress)
    return target


def open_records(
    path: str | os.PathLike,
    split: str,
    modalities: Sequence[str] | None = None,
    on_corrupt: str = "error",
) -> Records:
    """Opens one split of a prepared folder; `modalities` restricts what is decoded (None: all).

    on_corrupt: what a damaged video means (config.data.on_corrupt). "error": DataError that names
    shard and record, here where the set is small enough to be compared with its checksums at once,
    else when it is read; "skip": all are read now and the damaged ones left out.
    Raises DataError for a folder that is not complete, of another version, lacks a shard, the split
    or a modality.
    """
    folder, skip = Path(path), on_corrupt == "skip"
    manifest = _manifest(folder, on_corrupt)
    if split not in manifest["splits"]:
        held = ", ".join(manifest["splits"])
        raise DataError(f"{folder} has no split {split!r}; it holds {held}")
    chosen = tuple(manifest["modalities"] if modalities is None else modalities)
    missing = [m for m in chosen if m not in manifest["modalities"]]
    if missing:
        held = ", ".join(manifest["modalities"])
        raise DataError(
            f"{folder} has no modality {missing[0]!r}; it holds {held}. Change"
            " config.data.modalities or prepare it anew"
        )
    opened = _open(folder, split, manifest, chosen)
    if skip:
        opened.leave_out_damaged()
    return opened


def _manifest(folder: Path, on_corrupt: str) -> dict:
    """The manifest of a folder. Raises DataError as `open_records`."""
    try:
        return manifest_lib.read(folder, shards=on_corrupt != "skip")
    except manifest_lib.DamagedFile as error:
        if manifest_lib.SHARD in error.name:
            _explain(folder, error.name)
        raise


def dataset_of(path: str | os.PathLike, on_corrupt: str = "error") -> str:
    """The dataset of a prepared folder. Raises DataError as `open_records`."""
    return _manifest(Path(path), on_corrupt)["dataset"]


def has_checksums(path: str | os.PathLike) -> bool:
    """Whether a prepared folder has them: those of earlier versions have not."""
    return manifest_lib.SEAL in manifest_lib.read(Path(path), shards=False)


def _open(folder: Path, split: str, manifest: dict, modalities: tuple[str, ...]) -> Records:
    shards = Shards(folder / _VideoBuilder.name / VERSION, split)
    return Records(folder, split, manifest, modalities, shards)


def _explain(folder: Path, shard: str) -> None:
    """Raises the error of the first video of a damaged shard that cannot be read; returns where
    all can (the damage is between them)."""
    manifest = manifest_lib.read(folder, shards=False)
    for split in manifest["splits"]:
        opened = _open(folder, split, manifest, tuple(manifest["modalities"]))
        for i in opened.of_shard(Path(shard).name):
            opened[i]


def feature_stats(
    path: str | os.PathLike, on_corrupt: str = "error"
) -> dict[str, dict[str, np.ndarray]]:
    """{modality: {'mean': float32 [D], 'std': float32 [D]}} over the non-zero units of the training
    split, all crops.

    A standard deviation is never 0 (see Moments.result); on_corrupt as in `open_records`. Raises
    DataError where the folder is not complete or has no training split.
    """
    folder = Path(path)
    manifest = manifest_lib.read(folder, shards=on_corrupt != "skip")
    if "train" not in manifest["splits"]:
        raise DataError(
            f"{folder} has no training split, so no feature statistics; take those of the"
            " checkpoint or prepare a set with one"
        )
    path = folder / manifest_lib.STATISTICS
    stats, found = Npz(path).arrays(), {}
    for m, dim in manifest["modalities"].items():
        found[m] = {key: stats.get(f"{m}/{key}") for key in ("mean", "std")}
        for key, x in found[m].items():
            if x is None:
                raise DataError(
                    f"{path}: no array '{m}/{key}'; expected mean and std of each modality: prepare"
                    " the set again"
                )
            if x.shape != (dim,) or x.dtype != np.float32 or not np.isfinite(x).all():
                raise DataError(
                    f"{path}:{m}/{key}: {x.dtype}{list(x.shape)}; expected {dim} finite float32"
                    f" numbers: {manifest_lib.REDO}"
                )
    return found


def _row_of(video: Video) -> dict:
    """Video -> index row (plain Python values)."""
    spans = np.asarray(video.spans, np.int64).reshape(-1, 2).tolist()
    numbers = {key: int(getattr(video, key)) for key in ("label", "num_frames", "unit_frames")}
    classes = {key: list(getattr(video, key)) for key in ("classes", "span_classes")}
    return {"name": video.name, **numbers, "fps": float(video.fps), "spans": spans, **classes}


def _write(layout, identity: dict, folder: Path, progress) -> None:
    """Writes every file of a prepared set to an empty folder; the manifest comes last."""
    entries = {split: list(layout.entries(split)) for split in identity["splits"]}
    manifest_lib.require_space(folder, set_identity.source_bytes(entries))
    dims, dtypes = identity["modalities"], dict[str, str]()
    checked = lambda split, entry, video: checked_features(
        video, dims, dtypes, f"{layout.name}/{split}/{entry.name}"
    )
    firsts = [checked(split, v[0], layout.load(v[0])) for split, v in entries.items()]
    # one precision that holds both splits
    dtypes |= {m: np.result_type(*(features[m] for features in firsts)).name for m in dims}
    rows: dict[str, list] = {split: [] for split in entries}
    moments = {m: Moments(d) for m, d in dims.items()}

    def examples(split: str, entries: Sequence, bar: Progress) -> Iterator[tuple[int, dict]]:
        """Those of one shard; each adds its row to the index and its features to `moments`."""
        for entry in entries:
            video = layout.load(entry)
            features = checked(split, entry, video)
            manifest_lib.require_space(folder, sum(x.nbytes for x in features.values()))
            for m, moment in moments.items() if split == "train" else ():
                moment.add(features[m])
            row = _row_of(video._replace(name=entry.name))
            found = {"length": next(iter(features.values())).shape[1]}
            found |= {"crops": {m: len(x) for m, x in features.items()}}
            found |= {DIGEST: {m: feature_digest(x) for m, x in features.items()}}
            rows[split].append({**row, **found})
            example = {**row, "fps": np.array([row["fps"]]), "features": features}
            example["spans"] = np.array(row["spans"], np.int64).reshape(-1, 2)
            del video, features
            yield len(rows[split]) - 1, example
            # the library keeps the examples of a shard to count them: let go of the arrays
            example.clear()
            bar.advance()

    with (progress or Silent)(sum(map(len, entries.values())), f"preparing {layout.name}") as bar:
        shards = {
            split: [
                partial(examples, split, videos[a : a + SHARD_VIDEOS], bar)
                for a in range(0, len(videos), SHARD_VIDEOS)
            ]
            for split, videos in entries.items()
        }
        _VideoBuilder(dims, dtypes, shards, folder).download_and_prepare()
    shutil.rmtree(folder / "downloads", ignore_errors=True)  # the library makes an empty one
    index: dict[str, dict[str, Any]] = {}
    for split, split_rows in rows.items():
        index[split] = {key: [row[key] for row in split_rows] for key in split_rows[0]}
        for key in ("crops", DIGEST):
            index[split][key] = {m: [row[key][m] for row in split_rows] for m in dims}
    stats: dict[str, Any] = {}
    for m, moment in moments.items():
        stats[f"{m}/mean"], stats[f"{m}/std"] = moment.result()
    np.savez(folder / manifest_lib.STATISTICS, **stats)
    manifest_lib.write_json(folder / manifest_lib.INDEX, index)
    units = {split: sum(columns["length"]) for split, columns in index.items()}
    manifest_lib.finish(folder, identity, {"dtypes": dtypes, "units": units})


def checked_features(
    video: Video, dims: Mapping[str, int], dtypes: Mapping[str, str], where: str
) -> dict[str, np.ndarray]:
    """The video's features {modality: [C, N, D]} in the precision of the set (of none: their own);
    DataError, naming `where`, if unusable."""
    features = {}
    for m, dim in dims.items():
        if m not in video.features:
            raise DataError(
                f"{where}: modality {m!r} is missing; found {', '.join(video.features) or 'none'}."
                " Fix it or leave it out"
            )
        x = np.asarray(video.features[m])
        if x.ndim != 3 or x.shape[2] != dim or not x.size:
            raise DataError(
                f"{where}: {m} is {list(x.shape)}; expected [crops, units, {dim}] with at least one"
                " of each. Check the file and the layout"
            )
        if x.dtype.kind not in "fiu" or not np.isfinite(x).all():
            found = f"values of type {x.dtype}"
            if x.dtype.kind == "f":
                found = f"{(~np.isfinite(x)).sum()} NaN or infinite values"
            raise DataError(
                f"{where}: {m} has {found}; expected finite numbers. Extract this video again or"
                " leave it out (see --check)"
            )
        if wrong := arrays.too_large(x):
            raise DataError(f"{where}: {m} has {wrong}")
        stored = np.ascontiguousarray(x, dtypes.get(m) or x.dtype.newbyteorder("="))
        if stored.dtype != x.dtype and not np.array_equal(stored, x):
            raise DataError(
                f"{where}: {m} is {x.dtype}, the first videos {stored.dtype}, and values do not"
                " fit; store all in one precision"
            )
        features[m] = stored
    units = {m: x.shape[1] for m, x in features.items()}
    crops = {m: x.shape[0] for m, x in features.items()}
    if len(set(units.values())) > 1 or len({c for c in crops.values() if c > 1}) > 1:
        raise DataError(
            f"{where}: units {units}, crops {crops}; expected one number of units, and one of crops"
            " (or 1) in all modalities. Align them first"
        )
    return features
