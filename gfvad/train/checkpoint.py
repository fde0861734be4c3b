"""Checkpoints of a run, and the only importer of orbax.

A checkpoint holds one replica of the state as {path: array}, and beside it everything a restart
needs to go on as if nothing
had happened: position of the data, sums of the metrics since the last log row, and the
configuration it belongs to. Nothing in it depends on devices or processes. The last `keep` are
kept, and apart from them the best on the validation part (and on the test split, where it is
followed).

Orbax writes into a temporary folder that it renames when all is on disk, so a save cut short is
never seen; folders that are incomplete for another reason (a copy or a deletion cut short) are
passed over here. Every array and the meta have checksums (sealed.py).

In the local copy of a run in a bucket (base/mirrors.py) process 0 alone saves, and publishes each
checkpoint when it is on its disk; the others take what it published when training ends.
"""

from __future__ import annotations

import base64
import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

import gfvad
from gfvad.base import mirrors
from gfvad.base.errors import LIBRARY_ERRORS, cannot_write
from gfvad.base.types import DataError
from gfvad.train import sealed
from gfvad.train.checkpoint_folder import TEST as TEST
from gfvad.train.checkpoint_folder import VALIDATION as VALIDATION
from gfvad.train.checkpoint_folder import CheckpointFolder, ranking
from gfvad.train.quiet import quiet_late_reads, quiet_library, silence_threads
from gfvad.train.run_settings import as_json, describe_differences, hash_of, named_leaves
from gfvad.train.sealed import PARTS as PARTS
from gfvad.train.state import TrainState


class Restored(NamedTuple):
    """A checkpoint read back; arrays are numpy."""

    step: int
    state: TrainState
    position: Any  # of the data, as it was given to `save`
    pending: Any  # metric sums since the last log row, as given to `save`
    metrics: Mapping[str, float]  # what it was ranked by: validation, test


class Checkpoints(CheckpointFolder):
    """The checkpoints of one run's folder. Use as a context: leaving it waits for the save in
    flight.

    A damaged one is told on standard error, and is as if it had never been: the newest whole one
    takes its place. With several processes all of them must make, save and restore together, on a
    file system they share or in copies of a run in a bucket.
    Raises ConfigError on opening a folder of another configuration or data, DataError where there
    is none to read.
    """

    # made at the first save: by then damaged folders are out of its way
    _manager: ocp.CheckpointManager | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        mirror = mirrors.of(self.folder) if self._write else None
        try:
            with self._saving():
                if mirror is not None:
                    mirror.wait()
                if self._manager is not None:
                    self._manager.close()
        except DataError:
            if kind is None:  # else the first error says more
                raise
        if mirror is not None and kind is None and jax.process_count() > 1:
            ocp.multihost.sync_global_processes("gfvad: the last checkpoint is published")
            if jax.process_index():
                mirror.fetch()

    def save(
        self,
        step: int,
        state: TrainState,
        position: Any,
        pending: Any,
        metrics: Mapping[str, float],
    ) -> None:
        """Starts writing a checkpoint and returns; the arrays must not change afterwards
        (`Mapper.unreplicate` copies).

        Args: state: one replica, numpy; position: bytes or what JSON can hold; pending: what JSON
        can hold;
        metrics: {'validation': value, 'test': value}, higher is better, only those that were
        measured at this step.
        Raises DataError where it, or the one before it, cannot be written, or where the folder
        is gone.
        """
        self._require_folder()
        leaves = named_leaves(state)
        # orbax refuses arrays without elements
        arrays = {path: x for path, x in leaves.items() if x.size}
        meta = {
            "config": self.expected,
            "config_hash": hash_of(self.expected),
            "data": self._data.name,
            "content": dict(self._data.content),
            "pending": pending,
            "position": {"base64": base64.b64encode(position).decode()}
            if isinstance(position, bytes)
            else {"json": position},
            "gfvad": gfvad.__version__,
            "shapes": {path: sealed.shape_text(x) for path, x in leaves.items()},
            "metrics": {n: float(value) for n, value in metrics.items() if math.isfinite(value)},
        }
        meta = as_json(sealed.seal(as_json(meta), arrays))
        parts = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(meta)
        )
        mirror = mirrors.of(self.folder)
        if mirror is None or jax.process_index() == 0:
            with self._saving():
                if mirror is not None:
                    mirror.wait()
                manager = self._open_manager()
                manager.save(step, args=parts, metrics=meta["metrics"], force=True)
                if mirror is not None:
                    mirror.begin(after=manager.wait_until_finished)
        self._metas[step] = meta
        self._bad.discard(step)
        self._whole.add(step)

    def restore(self, which: str | int, template: TrainState) -> Restored:
        """Reads a checkpoint: 'last', 'best', 'best_on_test' or a step, for any number of devices
        and processes.

        Args: template: a state of the same model and optimiser, for its structure; numpy arrays or
        anything with their shapes.
        Raises DataError where there is no such checkpoint, it is damaged or its arrays do not fit
        the model, ConfigError where it belongs to another configuration.
        """
        self.wait()
        step = self.require(which)
        meta = self._check_config(step)
        wanted, found = named_leaves(template), meta["shapes"]
        if found != (expected := {path: sealed.shape_text(x) for path, x in wanted.items()}):
            raise DataError(
                f"{self.folder / str(step)}: the checkpoint does not fit the model:"
                f" {describe_differences(found, expected)}; use the features and the model it was"
                " trained with, or another --workdir"
            )
        arrays = self._arrays[1] if self._arrays and self._arrays[0] == step else self._read(step)
        self._arrays = None
        leaves = [
            np.asarray(arrays[path]) if path in arrays else np.zeros(x.shape, x.dtype)
            for path, x in wanted.items()
        ]
        state, place = jax.tree.unflatten(jax.tree.structure(template), leaves), meta["position"]
        position = base64.b64decode(place["base64"]) if "base64" in place else place["json"]
        return Restored(step, state, position, meta["pending"], meta["metrics"])

    def newest(self, template: TrainState) -> Restored | None:
        """The last whole checkpoint; None where there is none. Raises DataError where copies of
        a run in a bucket do not agree on it."""
        step = self.step_of("last")
        if mirrors.of(self.folder) is not None and jax.process_count() > 1:
            steps = multihost_utils.process_allgather(np.int64(-1 if step is None else step))
            if len(found := sorted({*steps.tolist()})) > 1:
                raise DataError(
                    f"{self.folder}: processes found the steps {', '.join(map(str, found))} as the"
                    " last one; expected one: does another job publish there? Start again"
                )
        return self.restore("last", template) if step is not None else None

    def wait(self) -> None:
        """Returns when the save in flight is on disk. Raises DataError where it cannot be
        written."""
        if self._manager is not None:
            with self._saving():
                if (mirror := mirrors.of(self.folder)) is not None:
                    mirror.wait()
                self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """What goes wrong with writing, in this thread or in the library's, as an error that
        says what to do."""
        try:
            yield
        except DataError:
            raise
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        except LIBRARY_ERRORS as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise DataError(
                f"{self.folder}: a checkpoint cannot be written ({reason}); expected room and the"
                " right to write there: what was saved before is whole, and the same command goes"
                " on from it"
            ) from None

    def _require_folder(self) -> None:
        """Made anew, the folder would hold a run without its settings and its log."""
        if not self.folder.is_dir():
            raise DataError(
                f"{self.folder}: not found; expected the folder that this run writes to, which was"
                " there when it began: nothing of the run is left, start it again"
            )

    def _open_manager(self) -> ocp.CheckpointManager:
        """Clears away what is half-done and damaged, then opens the folder for saving."""
        if self._manager is None:
            self._tidy()
            best = [
                preserve.BestN(get_metric_fn=lambda m, name=name: ranking(m, name), n=1)
                for name in (VALIDATION, TEST)
            ]
            options = ocp.CheckpointManagerOptions(
                # max_to_keep with best_fn would delete the newest ones; best_fn alone makes orbax
                # store the metrics at all.
                preservation_policy=preserve.AnyPreservationPolicy(
                    [preserve.LatestN(self._keep), *best]
                ),
                best_fn=lambda metrics: ranking(metrics, VALIDATION),
                cleanup_tmp_directories=True,
                create=mirrors.of(self.folder) is None,  # the folder was made on opening it
                save_interval_steps=1,  # the loop decides when to save
                multiprocessing_options=_one_process()
                if mirrors.of(self.folder) is not None
                else ocp.options.MultiprocessingOptions(),
            )
            with quiet_library():
                self._manager = ocp.CheckpointManager(self.folder, options=options)
            silence_threads()
        return self._manager

    def _tidy(self) -> None:
        """Process 0 moves damaged checkpoints aside, and removes what a deletion cut short has
        left of older ones."""
        meet: Callable = ocp.multihost.sync_global_processes  # returns at once where there is one
        if mirrors.of(self.folder) is not None:
            meet = lambda name: None  # process 0 alone saves
        meet("gfvad: every process has looked at the checkpoints")
        if jax.process_index() == 0 and self.folder.is_dir():
            kept = self.steps()
            for step, path in sealed.numbered(self.folder).items():
                if step in kept:
                    continue
                if step in self._bad or not kept or step > kept[-1] or not sealed.left_of_one(path):
                    path.rename(sealed.aside(path))
                else:
                    shutil.rmtree(path)
        meet("gfvad: damaged checkpoints are out of the way")

    def _read(self, step: int) -> dict[str, np.ndarray]:
        """The verified arrays of a checkpoint. Raises Damaged."""
        sealed.require_regular_files(self.folder / str(step))
        try:
            opened = ocp.Checkpointer(ocp.StandardCheckpointHandler())
            with quiet_library(), quiet_late_reads(), opened as reader:
                arrays = reader.restore(self.folder / str(step) / "state")
            arrays = {path: np.asarray(x) for path, x in arrays.items()}
        except LIBRARY_ERRORS as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise sealed.Damaged(f"its arrays cannot be read ({reason})") from None
        sealed.check_arrays(self._metas[step], arrays)
        return arrays


def _one_process() -> ocp.options.MultiprocessingOptions:
    """Process 0 saves without meeting the others."""
    return ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="gfvad-copy"
    )
