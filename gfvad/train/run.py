"""What the training loop trains: a task with its data and model (`Trainable`), as one run
(gfvad/train/loop.py: SingleRun) or as a group of settings and seeds side by side
(gfvad/ablation/group_run.py).

To the loop all are a `Run` of some shape: () of a single run, (U, K) of U seeds times K settings.
The program of a single run is not mapped over axes of size 1, which would order its sums in
another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.train.identity import Learnt
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState

RUNNING = -1  # in place of the step at which a run of a group failed
Place = tuple[int, ...]  # of a run in its group, (seed, setting); () of a single run
Values = Mapping[str, Any]  # name -> number or array, as a row of the log holds them


class Batches(Protocol):
    """An endless iterator of training batches whose position can be saved (as JSON) and
    restored."""

    def __next__(self) -> Any: ...
    def get_state(self) -> Any: ...
    def set_state(self, state: Any) -> None: ...


class Evaluation(NamedTuple):
    """What is known of a run at a step."""

    rows: Mapping[str, Values]  # kind of row in the log -> its values
    ranked: Mapping[str, float]  # what checkpoints are ranked by: validation, test


class Trainable(Protocol):
    """A task's data, model and step under one config."""

    config: ConfigDict
    model: Any
    mapper: Mapper
    identity: Learnt  # what is learnt from, for checkpoints
    training: np.ndarray  # indices of the videos that are learnt from
    validation: np.ndarray  # and of those that are held out
    say: Callable[[str], None]
    # (state, one device's part of a batch, *, model, optimiser, loss_cfg, axis_name) -> (state,
    # metrics): one update, within the mapper's named axis
    train_step: Callable[..., tuple[TrainState, dict[str, Any]]]

    @property
    def names(self) -> Sequence[str]:
        """Of the videos that Batch.video counts."""
        ...

    def initial(self, transform: Any, seed: int) -> TrainState:
        """The state before the first step, on the host."""
        ...

    def batches(self, seed: int) -> Batches:
        """This process's batches: the same global ones for any number of processes."""
        ...

    def evaluate(self, state: TrainState, step: int) -> Evaluation:
        """Follows training on what is held out."""
        ...


class Outline(NamedTuple):
    """A task's model and steps without data: what can be compiled for devices that are not here."""

    model: Any
    inputs: tuple  # an example that the model is called with, for the shapes of its parameters
    batch: Callable[[int], Any]  # examples -> a training batch of shapes
    train_step: Callable[..., Any]  # as `Trainable.train_step`
    eval_step: Callable[[TrainState, Any], Any]
    eval_batch: Callable[[int], Any]
    about: str  # sizes, in words


def array_shapes(tree: Any) -> Any:
    """A batch whose leaves are shapes, or (shape, type), float32 where none is given ->
    jax.ShapeDtypeStruct."""

    def leaf(x: Any) -> jax.ShapeDtypeStruct:
        shape, kind = x if isinstance(x[0], tuple) else (x, np.float32)
        return jax.ShapeDtypeStruct(shape, kind)

    return jax.tree.map(leaf, tree, is_leaf=lambda x: type(x) is tuple)


class Run(Protocol):
    """What the loop asks for."""

    config: ConfigDict
    mapper: Mapper
    names: Sequence[str]
    identity: Learnt
    shape: tuple[int, ...]  # leading axes of every metric
    say: Callable[[str], None]

    @property
    def failed(self) -> np.ndarray | None:
        """None: training stops with NonFiniteError at a number that is not finite; else int
        [*shape], where the step is noted for each run (RUNNING before that) and the others go
        on."""
        ...

    @property
    def batches(self) -> Batches: ...

    def advance(self, steps: int) -> None:
        """Is told how many steps were taken."""
        ...

    def initial(self) -> Any:
        """The state before the first step, on the host."""
        ...

    def mapped_step(self) -> Callable[[Any, Any], tuple[Any, dict[str, Any]]]:
        """(state, batch) -> (state, metrics), over all devices."""
        ...

    def evaluate(
        self, state: Any, step: int
    ) -> tuple[Mapping[Place, Mapping[str, Values]], Values]:
        """({run: kind of row -> values}, what the checkpoint is ranked by)."""
        ...

    def saved(self, state: Any) -> tuple[Any, dict[str, Any]]:
        """(tree of arrays, what JSON can hold) that a checkpoint keeps."""
        ...

    def resumed(self, tree: Any, about: Mapping[str, Any]) -> Any:
        """The state that `saved` kept."""
        ...
