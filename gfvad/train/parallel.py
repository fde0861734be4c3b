"""Runs pure per-device functions over all devices: the only file that maps functions over devices
or starts processes.

A step is written once, for one device, over the named axis AXIS: it sees its own part of the batch
and joins sums with `psum` / `pmean` over that axis. `Mapper` runs it by `jax.pmap` (default) or
`jax.shard_map`; both give the same numbers.

Layouts. pmap wants a leading axis of this process's devices: state [n_local, ...] (a copy each),
batch [n_local, B_local / n_local, ...]. shard_map sees global arrays: state whole on every device,
batch [B, ...] cut along axis 0. Both are hidden behind `replicate`, `unreplicate`, `shard` and
`to_host`, which speak numpy on the host side.

A second axis of the mesh cuts parameters and moments (gfvad/train/layout.py): shard_map maps over
AXIS alone, and the compiler puts in what cut arrays need; a step does not know of it.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gfvad.base.platforms import compiling_for
from gfvad.base.types import ConfigError
from gfvad.train import peers
from gfvad.train.layout import MODEL_AXIS, cut_specs

AXIS = "devices"
BACKENDS = ("pmap", "shard_map")
# after a peer's death the others give up in this time, not in the default 91 s
HEARTBEAT_SECONDS = 10


def initialise_distributed(environment: Mapping[str, str] = os.environ) -> None:
    """Joins this process to its peers; does nothing for a single one. Call it before any other use
    of jax.

    GFVAD_COORDINATOR=HOST:PORT, GFVAD_PROCESSES=N and GFVAD_PROCESS=I name the peers
    (launch/cpu_pod.sh and launch/k8s_jobset.py set them); GFVAD_DISTRIBUTED=auto leaves it to jax
    to find them (Cloud TPU, Slurm). Where they are not all there within GFVAD_WAIT_SECONDS, the
    process ends with a line that says so and EXIT_NO_PEERS.
    Raises ConfigError where the variables do not fit together.
    """
    names = ("GFVAD_COORDINATOR", "GFVAD_PROCESSES", "GFVAD_PROCESS")
    given = [environment.get(name, "") for name in names]
    automatic = environment.get("GFVAD_DISTRIBUTED", "")
    if automatic not in ("", "auto"):
        raise ConfigError(f"GFVAD_DISTRIBUTED={automatic!r}: expected auto or nothing")
    wait = peers.seconds(environment)
    if jax.distributed.is_initialized() or not (automatic or any(given)):
        return
    coordinator, count, index = given
    place: dict[str, Any] = {}
    if any(given):
        if not (coordinator and count.isdigit() and index.isdigit() and int(index) < int(count)):
            found = ", ".join(f"{name}={value!r}" for name, value in zip(names, given))
            raise ConfigError(
                f"{found}: expected all three, HOST:PORT, N and an index below N (see"
                " launch/cpu_pod.sh)"
            )
        place = {
            "coordinator_address": coordinator,
            "num_processes": int(count),
            "process_id": int(index),
        }
        who = f"process {index} of {count}, coordinator {coordinator}"
    else:
        who = f"process {peers.rank(environment)}, peers found by jax (GFVAD_DISTRIBUTED=auto)"
    with peers.awaited(wait, who):
        jax.distributed.initialize(
            **place,
            # jax's own limit comes later: it aborts with a stack trace
            initialization_timeout=wait + 60,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )


def make_mapper(backend: str = "pmap", devices: int = 0, model: int = 1) -> Mapper:
    """A mapper over `devices` devices of every process (0: all of them), `model` of which hold one
    copy of the parameters. Raises ConfigError where there are fewer, or where they do not divide.
    """
    if backend not in BACKENDS:
        raise ConfigError(
            f"config.parallel.backend = {backend!r}: expected one of {', '.join(BACKENDS)}"
        )
    available = jax.local_device_count()
    if devices > available:
        raise ConfigError(
            f"config.parallel.devices = {devices}: this process has {available}; use 0 for all of"
            " them"
        )
    if model > 1 and backend == "pmap":
        raise ConfigError(
            f"config.parallel.model = {model}: pmap keeps parameters whole; set"
            " config.parallel.backend = 'shard_map', or model to 1"
        )
    if (devices or available) % model:
        raise ConfigError(
            f"config.parallel.model = {model}: expected a divisor of the {devices or available}"
            " devices of each process; set it or config.parallel.devices"
        )
    of_process = lambda p: [d for d in jax.devices() if d.process_index == p]
    each = (of_process(p)[: devices or available] for p in range(jax.process_count()))
    return Mapper(backend, [device for own in each for device in own], model)


class Mapper:
    """Maps per-device functions over a fixed list of devices.

    Fields: axis_name; model: devices that hold one copy of the parameters together; n_local,
    n_global: parts that a batch is cut into, of this process and of all (devices / model);
    process_index, process_count;
    traces: Counter of (function's name, shapes of the batch) -> how often it was traced (1 each, or
    something recompiles).
    """

    axis_name = AXIS

    def __init__(self, backend: str, devices: Sequence[Any], model: int = 1):
        """devices: also those of a topology that is only described (jax.experimental.topologies),
        to compile for: see `described`."""
        own = [d for d in devices if d.process_index == jax.process_index()]
        self.backend, self.devices, self.model = backend, devices, model
        self.n_local, self.n_global = len(own) // model, len(devices) // model
        processes = sorted({d.process_index for d in devices})
        self.process_count = len(processes)
        self.process_index = processes.index(jax.process_index())
        self.traces: Counter = Counter()
        # Auto axes: `jax.make_mesh` would give Explicit ones, which put shardings into the types of
        # traced values.
        grid = np.array(devices).reshape(-1, model)
        self._mesh = Mesh(grid, (AXIS, MODEL_AXIS), axis_types=(AxisType.Auto,) * 2)
        local_mesh = Mesh(np.array(own), (AXIS,), axis_types=(AxisType.Auto,))
        # pmap is fed arrays that already lie as its results do; from numpy the second step would
        # compile again.
        self._stacked = NamedSharding(local_mesh, PartitionSpec(AXIS))
        self._whole = NamedSharding(self._mesh, PartitionSpec())
        self._split = NamedSharding(self._mesh, PartitionSpec(AXIS))

    def __str__(self) -> str:
        """'8 cpu devices by pmap'."""
        plural = "s" if len(self.devices) > 1 else ""
        text = f"{len(self.devices)} {self.devices[0].platform} device{plural} by {self.backend}"
        text += f", {self.model} to a copy of the model" if self.model > 1 else ""
        return text + (f", {self.process_count} processes" if self.process_count > 1 else "")

    def local(self) -> Mapper:
        """The same over this process's devices: for evaluation, where processes do not wait."""
        if self.process_count == 1:
            return self
        own = [d for d in self.devices if d.process_index == jax.process_index()]
        return Mapper(self.backend, own, self.model)

    def shardings(self, tree: Any) -> Any:
        """Where each leaf of a state lies under shard_map: whole on every device, or cut over the
        model axis."""
        specs = cut_specs(tree, self.model)
        return jax.tree.map(lambda spec: NamedSharding(self._mesh, spec), specs)

    def described(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """(state, global batch) as jax.ShapeDtypeStruct with their places: what a step mapped by
        shard_map is lowered with, also for devices that are not here.

        Args: arrays or shapes; batch: leaves [B, ...] of all devices.
        """
        place = lambda x, at: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=at)
        placed = jax.tree.map(place, state, self.shardings(state))
        return placed, jax.tree.map(lambda x: place(x, self._split), batch)

    def replicate(self, tree: Any) -> Any:
        """Host arrays [...] -> a copy on every device."""

        if self.backend == "pmap":
            stacked = lambda x: np.stack([np.asarray(x)] * self.n_local)
            return jax.tree.map(lambda x: jax.device_put(stacked(x), self._stacked), tree)

        def copies(x: Any, at: NamedSharding) -> jax.Array:
            # A fresh copy: device_put may alias host memory on CPU, and a donated state is
            # overwritten in place.
            part = lambda index: np.array(np.asarray(x)[index])
            return jax.make_array_from_callback(np.shape(x), at, part)

        return jax.tree.map(copies, tree, self.shardings(tree))

    def unreplicate(self, tree: Any) -> Any:
        """A replicated tree -> numpy copies of one replica, which no later step can overwrite."""

        def one(x: jax.Array) -> np.ndarray:
            if self.backend == "pmap":
                return np.array(x.addressable_shards[0].data)[0]
            if self.model == 1:
                return np.array(x.addressable_shards[0].data)
            whole = np.empty(x.shape, x.dtype)
            for shard in x.addressable_shards:
                whole[shard.index] = np.asarray(shard.data)
            return whole

        jax.tree.map(lambda x: x.copy_to_host_async(), tree)
        return jax.tree.map(one, tree)

    def shard(self, batch: Any) -> Any:
        """Numpy leaves [B_local, ...] -> the device layout, each device an equal part in order.

        Where B_local does not divide, zeros are appended: a zero `valid` and `mask` means an
        example that counts nowhere.
        """

        def place(x: np.ndarray) -> jax.Array:
            short = -len(x) % self.n_local
            if short:
                x = np.concatenate([x, np.zeros((short, *x.shape[1:]), x.dtype)])
            x = np.asarray(x)
            if self.backend == "pmap":
                return jax.device_put(x.reshape(self.n_local, -1, *x.shape[1:]), self._stacked)
            return jax.make_array_from_process_local_data(self._split, x)

        return jax.tree.map(place, batch)

    def to_host(self, tree: Any, count: int | None = None) -> Any:
        """Results of `map_eval` -> numpy [count, ...], this process's examples in their order,
        without what `shard` appended."""

        def join(x: jax.Array) -> np.ndarray:
            parts = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start or 0)
            whole = np.concatenate([np.asarray(part.data) for part in parts])
            if self.backend == "pmap":
                whole = whole.reshape(whole.shape[0] * whole.shape[1], *whole.shape[2:])
            return whole[:count]

        return jax.tree.map(join, tree)

    def stream(
        self, mapped: Callable, state: Any, batches: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """(batch, its result on the host) of a function made by `map_eval`; the next batch is on
        the devices before a result is read."""
        replicated, under_way = self.replicate(state), deque()
        for batch in batches:
            under_way.append((batch, mapped(replicated, self.shard(batch))))
            if len(under_way) > 1:
                batch, found = under_way.popleft()
                yield batch, self.to_host(found, len(batch.valid))
        for batch, found in under_way:
            yield batch, self.to_host(found, len(batch.valid))

    def map_train(self, step: Callable) -> Callable:
        """step(state, batch) -> (state, metrics), one device's part -> the same over all devices.

        The given state is donated: do not use it afterwards. Metrics must be equal on every device
        (psum'd or pmean'd); read them by `unreplicate`.
        """
        return self._map(step, trains=True)

    def map_eval(self, function: Callable) -> Callable:
        """function(state, batch) -> tree of [B / n, ...] -> the same over all devices; read the
        result by `to_host`."""
        return self._map(function, trains=False)

    def _map(self, function: Callable, trains: bool) -> Callable:
        donate = (0,) if trains else ()
        # a partial has none of its own
        name = getattr(function, "__name__", None) or function.func.__name__

        def counted(state: Any, batch: Any) -> Any:
            # runs while tracing only
            self.traces[name, tuple(x.shape for x in jax.tree.leaves(batch))] += 1
            with compiling_for(self.devices[0].platform):
                return function(state, batch)

        if self.backend == "pmap":
            return jax.pmap(counted, axis_name=AXIS, devices=self.devices, donate_argnums=donate)
        # The body is pmap-style: it differentiates its local part and joins gradients by `pmean`.
        # With check_vma=True shard_map would sum the gradient of replicated parameters by itself,
        # and the result would be n times too large.
        mapped = jax.shard_map(
            counted,
            mesh=self._mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=PartitionSpec() if trains else PartitionSpec(AXIS),
            axis_names={AXIS} if self.model > 1 else {AXIS, MODEL_AXIS},
            check_vma=False,
        )
        if self.model == 1:
            return jax.jit(mapped, donate_argnums=donate)

        def placed(state: Any, batch: Any) -> Any:
            found, at = mapped(state, batch), jax.lax.with_sharding_constraint
            if not trains:
                return jax.tree.map(lambda x: at(x, self._split), found)
            state, metrics = found
            whole = jax.tree.map(lambda x: at(x, self._whole), metrics)
            return jax.tree.map(at, state, self.shardings(state)), whole

        return jax.jit(placed, donate_argnums=donate)

    def gather(self, payload: bytes) -> list[bytes]:
        """Every process's bytes, in the order of processes, on every process. All of them must
        call it."""
        if self.process_count == 1:
            return [payload]
        lengths = multihost_utils.process_allgather(np.array([len(payload)], np.int64))[:, 0]
        # powers of two, so that few shapes are compiled
        room = 1 << int(max(lengths.max(), 1) - 1).bit_length()
        padded = np.zeros(room, np.uint8)
        padded[: len(payload)] = np.frombuffer(payload, np.uint8)
        rows = multihost_utils.process_allgather(padded)
        return [rows[i, :length].tobytes() for i, length in enumerate(lengths)]

    def any(self, flag: bool) -> bool:
        """True where it is on any process. All of them must call it."""
        return any(part != b"\0" for part in self.gather(b"\1" if flag else b"\0"))
