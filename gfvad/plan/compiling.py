"""Compiles the steps of a task for chips that are not here.

The TPU's compiler comes with the package libtpu (extra `tpu`); it runs on any processor. For GPUs
there is no compiler without one: a step is lowered for CUDA, which says whether every operation
exists there, and counted before fusion.
"""

from __future__ import annotations

import importlib.util
import os
import time
from functools import partial
from typing import Any

import jax
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.plan.chips import Topology
from gfvad.plan.collectives import collectives
from gfvad.plan.roofline import Counted
from gfvad.train.optim import make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.run import Outline
from gfvad.train.state import shapes_from

# before libtpu is loaded: no metadata server is asked, and several processes may load it
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
LIBRARY = "TPU_LIBRARY_PATH"


class DoesNotCompile(Exception):
    """What a compiler says of a step that it refuses."""


def has_compiler() -> bool:
    """Whether the TPU's compiler is installed."""
    return bool(os.environ.get(LIBRARY)) or importlib.util.find_spec("libtpu") is not None


def devices(topology: Topology) -> list[Any]:
    """The chips of a TPU topology, to compile for. Raises ConfigError where the compiler is not
    installed or does not know the topology."""
    if not has_compiler():
        raise ConfigError(
            f"--topology={topology.name}: the TPU's compiler is not installed; expected the extra"
            " 'tpu' of gfvad: pip install 'jax[tpu]==0.10.2' (on any processor)"
        )
    from jax.experimental import topologies

    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    try:
        found = topologies.get_topology_desc(topology.name, platform="tpu")
    except Exception as error:  # the plugin's own types
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"--topology={topology.name}: the compiler does not know it ({reason}); expected a grid"
            " that is sold, as v5e:2x2, v5e:16x16, v5p:2x2x2"
        ) from None
    return list(found.devices)


def global_batch(config: ConfigDict, chips: int) -> int:
    """config.train.batch_size, or the next multiple of the chips."""
    return -(-int(config.train.batch_size) // chips) * chips


def training_step(config: ConfigDict, outline: Outline, topology: Topology, batch: int) -> Counted:
    """One update of the parameters, as gfvad/train/loop.py takes it. batch: examples on all
    chips."""
    optimiser = make_optimiser(config.optim, config.train.steps)
    given = {"optimiser": optimiser, "loss_cfg": config.loss, "model": outline.model}
    mapper = _mapper(topology)
    mapped = mapper.map_train(partial(outline.train_step, axis_name=mapper.axis_name, **given))
    state = shapes_from(outline.model, optimiser.transform, outline.inputs, members_of(config))
    return _count(mapped, mapper, state, outline.batch(batch))


def evaluation_step(
    config: ConfigDict, outline: Outline, topology: Topology, batch: int
) -> Counted:
    """Scores of a batch, as an evaluation takes it."""
    optimiser = make_optimiser(config.optim, config.train.steps)
    mapper = _mapper(topology)
    state = shapes_from(outline.model, optimiser.transform, outline.inputs, members_of(config))
    mapped = mapper.map_eval(outline.eval_step)
    return _count(mapped, mapper, state, outline.eval_batch(batch))


def lowers_for_cuda(
    config: ConfigDict, outline: Outline, batch: int
) -> tuple[str, dict[str, float]]:
    """('' or why not, {flops, bytes} of the step of one chip's batch as written, before fusion)."""
    optimiser = make_optimiser(config.optim, config.train.steps)
    given = {"optimiser": optimiser, "loss_cfg": config.loss, "model": outline.model}
    state = shapes_from(outline.model, optimiser.transform, outline.inputs, members_of(config))

    def step(state: Any, part: Any) -> Any:
        from gfvad.base.platforms import compiling_for

        with compiling_for("cuda"):
            return outline.train_step(state, part, axis_name=None, **given)

    shapes = state, outline.batch(batch)
    try:
        jax.export.export(jax.jit(step), platforms=["cuda"])(*shapes)
    except Exception as error:  # of any lowering rule
        return " ".join(str(error).split())[:300], {}
    cost = jax.jit(step).lower(*shapes).cost_analysis() or {}
    return "", {"flops": float(cost.get("flops", 0)), "bytes": float(cost.get("bytes accessed", 0))}


def members_of(config: ConfigDict) -> int:
    """Of an ensemble; 1 where the task has none."""
    return int(config.train.get("members", 1))


def _mapper(topology: Topology) -> Mapper:
    return Mapper("shard_map", devices(topology))


def _count(mapped: Any, mapper: Mapper, state: Any, batch: Any) -> Counted:
    started = time.perf_counter()
    shapes = mapper.described(state, batch)
    try:
        compiled = mapped.lower(*shapes).compile()
    except Exception as error:  # of any lowering rule, or of the compiler
        raise DoesNotCompile(" ".join(str(error).split())[:300]) from error
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    of_batch = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(batch)) / mapper.n_global
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Counted(
        flops=float(cost["flops"]),
        moved=float(cost["bytes accessed"]),
        arguments=float(memory.argument_size_in_bytes),
        results=float(memory.output_size_in_bytes),
        held=float(held - memory.alias_size_in_bytes),
        of_batch=float(of_batch),
        collectives=collectives(compiled.as_text()),
        seconds=time.perf_counter() - started,
    )
