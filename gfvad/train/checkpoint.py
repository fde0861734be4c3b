"""Checkpoints of a run, and the only importer of orbax.

A checkpoint holds one replica of the state as {path: array}, and beside it everything a restart needs to go on as if nothing
had happened: position of the data, sums of the metrics since the last log row, and the configuration it belongs to. Nothing
in it depends on devices or processes. The last `keep` are kept, and apart from them the best on the validation part
(and on the test split, where it is followed).

Orbax writes into a temporary folder that it renames when all is on disk, so a save cut short is never seen; folders that are
incomplete for another reason (a copy or a deletion cut short) are passed over here.
"""
from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

from gfvad.config import flatten
from gfvad.train.state import TrainState
from gfvad.types import ConfigError, DataError

VALIDATION, TEST = "validation", "test"  # what a checkpoint can be best on
BEST = {"best": VALIDATION, "best_on_test": TEST}
# What a run may be continued with although it differs: where things lie, how evaluation is done, what runs it.
FREE = ("data.root", "data.cache_dir", "data.require_real", "data.eval_lengths", "data.eval_mode", "data.eval_batch_size")
FREE += ("variant", "data.test_name", "train.log_every", "train.eval_every", "train.checkpoint_every", "train.keep")
FREE += ("data.store", "data.workers", "data.spans", "data.masks")
FREE_GROUPS = ("eval.", "parallel.", "score.")
PARTS = ("_CHECKPOINT_METADATA", "metrics/metrics", "meta/metadata", "state/_METADATA", "state/manifest.ocdbt")
NAMED = 5  # differences spelt out in an error


class Restored(NamedTuple):
    """A checkpoint read back; arrays are numpy."""

    step: int
    state: TrainState
    position: Any  # of the data, as it was given to `save`
    pending: Any  # metric sums since the last log row, as given to `save`
    metrics: Mapping[str, float]  # what it was ranked by: validation, test


class Checkpoints:
    """The checkpoints of one run's folder. Use as a context: leaving it waits for the save in flight.

    With several processes all of them must make, save and restore together, on a file system they share.
    Raises ConfigError on opening a folder of another configuration, DataError where there is none to read.
    """

    def __init__(self, folder: Path, config: ConfigDict, data: str = "", *, write: bool = False):
        """data: names what the run learns from (`repr` of its records); compared like the config, where it is given.

        write: the one training run of the folder, which also clears away what an earlier one left half-done; without it
        nothing on disk is touched, so a run can be looked at while it trains.
        """
        self.folder = Path(folder).absolute()
        self.expected, self._data = training_leaves(config), data
        best = [preserve.BestN(get_metric_fn=lambda m, name=name: ranking(m, name), n=1) for name in (VALIDATION, TEST)]
        options = ocp.CheckpointManagerOptions(
            # max_to_keep with best_fn would delete the newest ones; best_fn alone makes orbax store the metrics at all.
            preservation_policy=preserve.AnyPreservationPolicy([preserve.LatestN(config.train.keep), *best]),
            best_fn=lambda metrics: ranking(metrics, VALIDATION),
            cleanup_tmp_directories=write,
            create=write,
            read_only=not write,
            save_interval_steps=int(write),  # the loop decides when to save; 0 goes with read_only
        )
        if not write and not self.folder.is_dir():
            raise DataError(f"{self.folder}: not found; expected the checkpoints of a run: train first, or give its --workdir")
        with quiet_library():
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        if write:
            for step in set(self._manager.all_steps()) - set(self.steps()):
                self._manager.delete(step)
        self._metrics: dict[int, dict[str, float]] = {s: self._manager.metrics(s) or {} for s in self.steps()}
        if self.steps():
            self._check_config(self.steps()[-1])

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints, in order."""
        return sorted(step for step in self._manager.all_steps() if complete(self.folder / str(step)))

    def step_of(self, which: str | int) -> int | None:
        """The step that 'last', 'best', 'best_on_test' or a number means; None where there is no such checkpoint."""
        steps = self.steps()
        if which == "last":
            return steps[-1] if steps else None
        if which in BEST:
            ranked = [(ranking(self._metrics.get(step, {}), BEST[which]), step) for step in steps]
            value, step = max(ranked, default=(-math.inf, 0))  # of equal ones the newest
            return step if value > -math.inf else None
        return int(which) if str(which).isdigit() and int(which) in steps else None

    def save(self, step: int, state: TrainState, position: Any, pending: Any, metrics: Mapping[str, float]) -> None:
        """Starts writing a checkpoint and returns; the arrays must not change afterwards (`Mapper.unreplicate` copies).

        Args: state: one replica, numpy; position: bytes or what JSON can hold; pending: what JSON can hold;
        metrics: {'validation': value, 'test': value}, higher is better, only those that were measured at this step.
        """
        arrays = {path: x for path, x in named_leaves(state).items() if x.size}  # orbax refuses arrays without elements
        meta = {"config": self.expected, "config_hash": hash_of(self.expected), "data": self._data}
        meta |= {"pending": pending, "position": _encode(position)}
        meta["shapes"] = {path: shape_text(x) for path, x in named_leaves(state).items()}
        ranked = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        self._metrics[step] = ranked
        parts = ocp.args.Composite(state=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=parts, metrics=ranked, force=True)

    def restore(self, which: str | int, template: TrainState) -> Restored:
        """Reads a checkpoint: 'last', 'best', 'best_on_test' or a step, for any number of devices and processes.

        Args: template: a state of the same model and optimiser, for its structure; numpy arrays or anything with their shapes.
        Raises DataError where there is no such checkpoint or its arrays do not fit the model, ConfigError where it
        belongs to another configuration.
        """
        self.wait()
        step = self.step_of(which)
        if step is None:
            found = ", ".join(map(str, self.steps())) or "none"
            raise DataError(f"{self.folder}: no checkpoint {which!r}; steps found: {found}; give last, best or one of them, or train first")
        meta = self._check_config(step)
        wanted = named_leaves(template)
        self._check_shapes(step, meta["shapes"], {path: shape_text(x) for path, x in wanted.items()})
        arrays = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
        leaves = [np.asarray(arrays[path]) if path in arrays else np.zeros(x.shape, x.dtype) for path, x in wanted.items()]
        state = jax.tree.unflatten(jax.tree.structure(template), leaves)
        return Restored(step, state, _decode(meta["position"]), meta["pending"], self._metrics.get(step, {}))

    def feature_widths(self, which: str | int, modalities: Sequence[str]) -> dict[str, int]:
        """{modality: D} of the features a checkpoint was trained on, by its feature statistics; {} where there is no such checkpoint."""
        step = self.step_of(which)
        shapes = self._check_config(step)["shapes"] if step is not None else {}
        found = {m: re.fullmatch(r"\w+\[(\d+)\]", shapes.get(f"constants.constants.mean_{m}", "")) for m in modalities}
        return {m: int(match[1]) for m, match in found.items() if match}

    def wait(self) -> None:
        """Returns when the save in flight is on disk."""
        self._manager.wait_until_finished()

    def _check_config(self, step: int) -> Mapping[str, Any]:
        meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        if meta["config_hash"] != hash_of(self.expected):
            differing = describe_differences(meta["config"], self.expected)
            raise ConfigError(
                f"{self.folder / str(step)}: this checkpoint belongs to another configuration (hash found {meta['config_hash']}, expected"
                f" {hash_of(self.expected)}): {differing}; set these back, or give another --workdir"
            )
        if self._data and meta["data"] and meta["data"] != self._data:
            raise ConfigError(
                f"{self.folder / str(step)}: this checkpoint learnt from other videos: found {meta['data']}, expected {self._data};"
                " give the same data, or another --workdir"
            )
        return meta

    def _check_shapes(self, step: int, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
        if found != expected:
            raise DataError(
                f"{self.folder / str(step)}: the checkpoint does not fit the model: {describe_differences(found, expected)};"
                " use the features and the model it was trained with, or another --workdir"
            )


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """Without orbax's warnings that a folder opened for reading is opened for reading."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def complete(folder: Path) -> bool:
    """Whether a checkpoint's folder holds every part that a finished save leaves."""
    return all((folder / part).is_file() for part in PARTS)


def ranking(metrics: Mapping[str, float] | None, name: str) -> float:
    """The value checkpoints are ranked by; the lowest where it was not measured."""
    return (metrics or {}).get(name, -math.inf)


def training_leaves(config: ConfigDict) -> dict[str, Any]:
    """Dotted key -> value of all that a checkpoint depends on, as JSON gives it back."""
    leaves = {k: v for k, v in flatten(config).items() if k not in FREE and not k.startswith(FREE_GROUPS)}
    return {key: _plain(value) for key, value in leaves.items()}


def hash_of(leaves: Mapping[str, Any]) -> str:
    """Eight hex digits."""
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:8]


def describe_differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """'KEY found X, expected Y' for the first few keys that differ, and how many more do."""
    missing = "nothing"
    keys = sorted(key for key in {*found, *expected} if found.get(key, missing) != expected.get(key, missing))
    spelt = [f"{key} found {found.get(key, missing)}, expected {expected.get(key, missing)}" for key in keys[:NAMED]]
    return "; ".join(spelt) + (f"; and {len(keys) - NAMED} more" if len(keys) > NAMED else "")


def named_leaves(tree: Any) -> dict[str, Any]:
    """Path -> leaf of a tree, in its flattening order: 'params.head.kernel'."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def shape_text(x: Any) -> str:
    """'float32[3,4]'."""
    return f"{np.dtype(x.dtype).name}[{','.join(map(str, x.shape))}]"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=list))


def _encode(position: Any) -> Any:
    return {"base64": base64.b64encode(position).decode()} if isinstance(position, bytes) else {"json": position}


def _decode(position: Mapping[str, Any]) -> Any:
    return base64.b64decode(position["base64"]) if "base64" in position else position["json"]
