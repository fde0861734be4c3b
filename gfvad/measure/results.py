"""results.json and scores.npz, written whole or not at all.

results.json:
  schema            1
  dataset           name as given, `-simulated` included
  split             test | validation | dev | ...
  ground_truth_frames, n_videos   what the values were taken on
  seed, config_hash, code_version, device, wall_seconds
  headline          the record of the default protocol (micro, none, none; last checkpoint) in
                    meta's `metric`
  ci_method         which 95 % interval ci95 is
                    (value null and n_videos 0 where there is no labelled test split)
  paired            the model against each score that stands beside it (paired.py); their
                    resamples are in paired.npz
  explained         what the highest score of the test split comes from (explained.py)
  alarms            threshold of alarms and the rule that made it
  records           one a protocol: metric, aggregation, normalisation, smoothing, checkpoint,
                    value, ci95, n_videos, n_frames
  extras            records of a checkpoint chosen on the test split itself (best-on-test): to
                    compare with papers, not results
  ...               whatever else `meta` holds, e.g. bayes_optimal {metric: value} of the simulated
                    set, ground_truth (its name), notes
Values that are undefined are null; there is no NaN.

scores.npz: one float32 array of frame scores [T] a video, under the video's name. Where videos were
scored without a modality of the model,
the comment of the archive is JSON: {"missing": {modality: [videos], or [] where no video had it}};
readers of arrays do not see it.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import gfvad
from gfvad.base.arrays import Npz, load_npz
from gfvad.base.files import atomically, lies_at, parse_json, read_json
from gfvad.base.names import some
from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.measure import bootstrap
from gfvad.measure.protocols import BEST_ON_TEST, HEADLINE, Record, headline, record

SCHEMA = 1
RESULTS = "results.json"
MAX_COMMENT = 65535  # bytes, of the zip format
REQUIRED = (
    "dataset",
    "split",
    "ground_truth_frames",
    "seed",
    "config_hash",
    "device",
    "wall_seconds",
)
NO_TEST = "no labelled test split: nothing is evaluated"
RECORD_KEYS = ("metric", *HEADLINE, "value", "ci95", "n_videos", "n_frames")


def code_version() -> str:
    """`git describe` of the checkout the package lies in (with -dirty), else the package's
    version."""
    root = Path(gfvad.__file__).resolve().parent.parent

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        # an environment within another repository is not ours
        inside = Path(git("rev-parse", "--show-toplevel")).resolve() == root
        return git("describe", "--always", "--tags", "--dirty") if inside else gfvad.__version__
    except (OSError, subprocess.SubprocessError):
        return gfvad.__version__


def json_tree(tree: Any) -> Any:
    """A tree for JSON: numpy to Python, NaN and infinity to None, keys to strings."""
    if isinstance(tree, Mapping):
        return {str(k): json_tree(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [json_tree(v) for v in tree]
    if isinstance(tree, (np.ndarray, np.generic)):
        return json_tree(tree.tolist())
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def build_results(records: Sequence[Record], meta: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of results.json. meta["metric"]: metric of the headline (config.eval.metric); the
    first record's where absent.

    Raises ConfigError where meta lacks one of REQUIRED, a record lacks one of RECORD_KEYS, or no
    record can be the headline.
    """
    for r in records:
        if lacking := [k for k in RECORD_KEYS if k not in r]:
            raise ConfigError(
                f"results: record {r.get('metric')!r} lacks {', '.join(lacking)}; a record holds"
                f" {', '.join(RECORD_KEYS)}"
            )
    metric = meta.get("metric") or (records[0]["metric"] if records else "")
    first = headline(records, metric)
    if first is None:
        found = sorted({r["metric"] for r in records})
        raise ConfigError(
            f"results: no record of metric {metric!r} under the default protocol {HEADLINE};"
            f" metrics found: {found}"
        )
    return _tree(first, records, meta)


def unevaluated(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of results.json where there is no labelled test split: without records, the value
    of the headline null. Raises ConfigError where meta lacks one of REQUIRED."""
    nothing = record(HEADLINE, str(meta.get("metric") or "auc"), math.nan, None, (0, 0))
    return _tree(nothing, [], meta)


def is_evaluated(results: Mapping[str, Any]) -> bool:
    """Whether a results tree has values of a labelled test split."""
    return bool(results.get("records"))


def has_values(folder: Path) -> bool:
    """Whether a folder has results on a labelled test split; no where they cannot be read."""
    try:
        return lies_at(folder / RESULTS) and is_evaluated(read_results(folder / RESULTS))
    except DataError:
        return False


def _tree(first: Record, records: Sequence[Record], meta: Mapping[str, Any]) -> dict[str, Any]:
    if missing := [k for k in REQUIRED if k not in meta]:
        raise ConfigError(
            f"results: meta lacks {', '.join(missing)}; every result names {', '.join(REQUIRED)}"
        )
    tree = {"schema": SCHEMA, **{k: meta[k] for k in REQUIRED}, "n_videos": first["n_videos"]}
    tree |= {"code_version": code_version(), **meta}
    tree |= {"ci_method": bootstrap.CI_METHOD, "headline": first}
    tree["records"] = [r for r in records if r["checkpoint"] != BEST_ON_TEST]
    tree["extras"] = [r for r in records if r["checkpoint"] == BEST_ON_TEST]
    return json_tree(tree)


def write_results(
    path: str | Path, records: Sequence[Record], meta: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes results.json and returns its tree. Raises as `build_results`."""
    return write_tree(path, build_results(records, meta))


def write_tree(path: str | Path, tree: dict[str, Any]) -> dict[str, Any]:
    """Writes the tree of `build_results` as results.json and returns it."""
    text = json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False)
    atomically(path, lambda file: file.write(text.encode()))
    return tree


def name_areas(tree: dict[str, Any]) -> dict[str, Any]:
    """A results tree whose interpolated RBDC and TBDC are called so: earlier versions had those
    alone, as rbdc and tbdc. Changes the tree."""
    every = [*tree.get("records", ()), *tree.get("extras", ()), tree.get("headline")]
    records = [r for r in every if isinstance(r, dict)]
    if any(r.get("metric") == "rbdc_interpolated" for r in records):
        return tree
    for r in records:
        if r.get("metric") in ("rbdc", "tbdc"):
            r["metric"] += "_interpolated"
    if isinstance(tree.get("named"), dict):
        renamed = lambda name: re.sub(r"^(floor, [rt]bdc)/", r"\1_interpolated/", name)
        tree["named"] = {renamed(name): value for name, value in tree["named"].items()}
    return tree


def read_results(path: str | Path) -> dict[str, Any]:
    """The tree of a results.json; raises DataError where it is not one of this schema."""
    tree = read_json(path, "the results.json of an evaluation by this project")
    if tree.get("schema") != SCHEMA:
        raise DataError(
            f"{path}: schema {tree.get('schema')!r}, expected {SCHEMA}; evaluate again to write it"
            " anew"
        )
    return name_areas(tree)


def find_results(folder: Path) -> tuple[list[Path], list[str]]:
    """(results.json of a folder, else those of its sub-folders; names of sub-folders without one).

    What lies under that name but is no file is among them, so that reading it says so.
    """
    if lies_at(folder / RESULTS):
        return [folder / RESULTS], []
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [path / RESULTS for path in inside if lies_at(path / RESULTS)]
    return found, [path.name for path in inside if path / RESULTS not in found]


def left_out(names: Sequence[str]) -> str:
    """'2 folders without results.json: a, b'."""
    return f"{len(names)} folder{'s' if len(names) > 1 else ''} without {RESULTS}: {some(names)}"


def write_scores(
    path: str | Path,
    videos: Sequence[ScoredVideo] | Mapping[str, np.ndarray],
    missing: Mapping[str, Sequence[str]] = {},
) -> Path:
    """Frame scores [T] of each video as float32, one array a name; equal scores give equal bytes.

    missing: {modality: videos that were scored without it, () for all of them}, see `read_missing`;
    where the names do not fit into the comment of an archive, it holds their number. Raises
    DataError for a repeated name or an array that is not one-dimensional.
    """
    if not isinstance(videos, Mapping):
        scores = {v.name: v.scores for v in videos}
        if len(scores) < len(videos):
            raise DataError(
                f"{path}: {len(videos)} score arrays under {len(scores)} names; expected every"
                " video once"
            )
        videos = scores
    arrays = {name: np.ascontiguousarray(scores, np.float32) for name, scores in videos.items()}
    for name, scores in arrays.items():
        wrong = "" if scores.ndim == 1 else f"have shape {scores.shape}, expected [frames]"
        if not wrong and not np.isfinite(scores).all():
            wrong = "are not all finite numbers; expected finite ones: nothing is written"
        if wrong:
            raise DataError(f"{path}: scores of {name!r} {wrong}")

    def write(file: BinaryIO) -> None:
        # not np.savez: it refuses a video called 'file' and stamps the time into the archive
        with zipfile.ZipFile(file, "w") as archive:
            for name, scores in arrays.items():
                info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, scores, allow_pickle=False)
            if missing:
                archive.comment = _missing_text(missing)

    return atomically(path, write)


def _missing_text(missing: Mapping[str, Sequence[str]]) -> bytes:
    text = json.dumps({"missing": {m: list(names) for m, names in missing.items()}}).encode()
    counts = {m: len(names) or [] for m, names in missing.items()}
    return text if len(text) <= MAX_COMMENT else json.dumps({"missing": counts}).encode()


def read_missing(path: str | Path) -> dict[str, list[str] | int]:
    """{modality: videos of a scores.npz that were scored without it (their number where they are
    very many), [] for all}; {} for none."""
    comment, what = Npz(path).comment, "{modality: videos without it}"
    if not comment:
        return {}
    tree = parse_json(comment.decode("utf-8", "replace"), f"{path}, its comment", what)
    return tree.get("missing", {})


def read_scores(path: str | Path) -> dict[str, np.ndarray]:
    """Video name -> its array [T], as stored (float32 where this project wrote it); raises
    DataError where it is not one."""
    if not Path(path).is_file() or not zipfile.is_zipfile(path):
        found = "not an .npz archive" if Path(path).is_file() else "not found"
        raise DataError(f"{path}: {found}; expected one array of frame scores a video")
    return load_npz(path)
