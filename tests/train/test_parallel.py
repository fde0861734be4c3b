"""Must hold 5: the numbers of a step do not depend on devices, backend or processes, and nothing
recompiles."""

import json
import os
import subprocess
import sys
from functools import cache, partial

import jax
import numpy as np
import pytest
import tiny
from compiling import xla_flags

from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import step
from gfvad.train import optim, parallel, state

STEPS = 50
# float32 sums over 1, 3 or 8 parts round differently (eps 6e-8 each); 50 Adam steps of size 1e-3
# multiply that by the update's sensitivity to the gradient. Measured on parameters of size 1:
# 1.2e-7 as compiled here, 9e-7 with XLA's optimisations on. Ten times the latter is still 1e3 times
# below what a real difference
# makes: a wrong dropout mask or a gradient off by a factor moves parameters by 1e-3 and more.
TOLERANCE = 1e-5
LAYOUTS = {"pmap": 3, "shard_map": 8}  # backend: devices


@cache
def problem(kind="linear"):
    """(config, model, optimiser, initial state) with dropout, a random pair and all loss terms
    on; of the project's detector or a linear one."""
    config = tiny.config(train__steps=STEPS)
    model = tiny.TinyDetector() if kind == "linear" else tiny.detector(config)
    optimiser = optim.make_optimiser(config.optim, STEPS)
    example = {m: x[0] for m, x in tiny.batch().features.items()}
    return config, model, optimiser, state.init_state(model, optimiser.transform, example, seed=0)


@cache
def mapped(backend, devices=0, kind="linear"):
    """(mapper, the step mapped by it), compiled once for all tests."""
    config, model, optimiser, _ = problem(kind)
    mapper = parallel.make_mapper(backend, devices)
    return mapper, mapper.map_train(
        partial(
            step.train_step,
            model=model,
            optimiser=optimiser,
            loss_cfg=config.loss,
            axis_name=mapper.axis_name,
        )
    )


def run(mapper, train, kind="linear", batches=tiny.batch):
    """(state, metrics of every step) after all steps, on the host."""
    replicas, rows = mapper.replicate(problem(kind)[3]), []
    for i in range(STEPS):
        replicas, metrics = train(replicas, mapper.shard(batches(seed=i)))
        rows.append(metrics)
    return mapper.unreplicate(replicas), [mapper.unreplicate(row) for row in rows]


def plain_step(kind="linear"):
    """The step on one device, not mapped over anything."""
    config, model, optimiser, _ = problem(kind)
    return jax.jit(
        partial(
            step.train_step, model=model, optimiser=optimiser, loss_cfg=config.loss, axis_name=None
        )
    )


@pytest.fixture(scope="module")
def plain():
    return plain_step()


def run_plain(plain, kind="linear"):
    """The reference: state and metrics after all steps of the plain step."""
    now, rows = problem(kind)[3], []
    for i in range(STEPS):
        now, metrics = plain(now, tiny.batch(seed=i))
        rows.append(metrics)
    return jax.tree.map(np.asarray, now), jax.tree.map(np.asarray, rows)


@pytest.fixture(scope="module")
def single(plain):
    return run_plain(plain)


def check_same(mapper, train, kind, expected):
    """50 steps under a mapper against the reference: parameters, every metric of every step, and
    one trace."""
    got, rows = run(mapper, train, kind)
    assert tiny.largest_difference(got.params, expected[0].params) < TOLERANCE
    # Parameters differ from where they started by far more than the tolerance: the comparison says
    # something.
    assert tiny.largest_difference(got.params, problem(kind)[3].params) > 1e3 * TOLERANCE
    for mine, theirs in zip(rows, expected[1], strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=2e-4, atol=1e-5, err_msg=name)
    assert list(mapper.traces.values()) == [1]


@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_same_parameters_on_any_devices(single, backend):
    """3 devices do not divide the batch of 8, so padding by invalid examples is tried too."""
    check_same(*mapped(backend, LAYOUTS[backend]), "linear", single)


def test_the_detector_on_one_device_and_eight():
    """One device and 8 emulated ones, pmap and shard_map: same parameters and metrics after 50
    steps of the project's detector."""
    expected = run_plain(plain_step("detector"), "detector")
    assert {
        f"loss/{term}"
        for term in ("bce", "variance", "smoothness", "sparsity", "balance", "reconstruction")
    } < expected[1][0].keys()
    for backend in parallel.BACKENDS:
        check_same(*mapped(backend, 8, "detector"), "detector", expected)


def test_gradients_are_those_of_the_global_loss():
    """One plain SGD step of rate 1 without clipping moves parameters by exactly the gradient: no
    factor n hides behind Adam."""
    config, model, _, first = problem()
    sgd = config.optim.copy_and_resolve_references()
    sgd.update(
        {
            "name": "sgd",
            "schedule": "constant",
            "learning_rate": 1.0,
            "warmup_steps": 0,
            "clip_norm": 0.0,
        }
    )
    optimiser, batch = optim.make_optimiser(sgd, 1), tiny.batch()
    first = first._replace(
        opt_state=jax.tree.map(np.asarray, optimiser.transform.init(first.params))
    )
    bound = partial(step.train_step, model=model, optimiser=optimiser, loss_cfg=config.loss)
    expected, metrics = jax.jit(partial(bound, axis_name=None))(first, batch)
    for backend in parallel.BACKENDS:
        mapper = parallel.make_mapper(backend, 8)
        replicas, found = mapper.map_train(partial(bound, axis_name=mapper.axis_name))(
            mapper.replicate(first), mapper.shard(batch)
        )
        for want, got, before in zip(
            *(jax.tree.leaves(s.params) for s in (expected, mapper.unreplicate(replicas), first))
        ):
            np.testing.assert_allclose(
                got - before,
                want - before,
                rtol=1e-4,
                atol=1e-5 * np.abs(want - before).max() + 1e-7,
            )
        np.testing.assert_allclose(
            mapper.unreplicate(found)["gradient_norm"], metrics["gradient_norm"], rtol=1e-5
        )


@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_one_compilation_for_each_length(backend):
    """Steps of two lengths in turn: two programs, although state and batch come back in the
    layout of results."""
    # length 16 may have been compiled by a test before
    mapper, train = mapped(backend, LAYOUTS[backend])
    replicas = mapper.replicate(problem()[3])
    compiled = []

    def listen(name, _, **kw):
        if name == "/jax/core/compile/backend_compile_duration":
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    counts = []
    for i, units in enumerate((16, 8, 16, 8, 16)):
        replicas, _ = train(replicas, mapper.shard(tiny.batch(seed=i, units=units)))
        counts.append(len(compiled))
    assert counts[1] > counts[0]  # compilations are seen at all
    assert counts[1:] == [counts[1]] * 4, "compiled again after the first step of each length"
    assert sorted(mapper.traces.values()) == [1, 1]


@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_layouts_come_back_whole(backend):
    """shard -> to_host and replicate -> unreplicate are identities; a donated state cannot
    change what was read before."""
    mapper = parallel.make_mapper(backend, 3)
    batch = tiny.batch(size=8)
    back = mapper.to_host(
        mapper.map_eval(lambda state, b: b)(mapper.replicate({}), mapper.shard(batch)), 8
    )
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, back, batch)))
    tree = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3), "n": np.zeros((), np.int32)}
    replicas = mapper.replicate(tree)
    before = mapper.unreplicate(replicas)
    step_fn = mapper.map_train(lambda s, b: (jax.tree.map(lambda x: x + 1, s), {}))
    after = mapper.unreplicate(step_fn(replicas, mapper.shard(batch))[0])
    np.testing.assert_array_equal(before["w"], np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(tree["w"], np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(after["w"], before["w"] + 1)
    assert mapper.gather(b"abc") == [b"abc"] and mapper.any(True) and not mapper.any(False)


def test_dropout_follows_the_example_not_its_place(plain):
    """Permuting the batch changes nothing, because random keys are folded from the position in
    the stream."""
    first = problem()[3]
    order = np.random.default_rng(0).permutation(8)
    straight, permuted = (
        plain(first, b)[0] for b in (tiny.batch(), jax.tree.map(lambda x: x[order], tiny.batch()))
    )
    assert tiny.largest_difference(straight.params, permuted.params) < TOLERANCE
    moved = tiny.batch()._replace(position=tiny.batch().position + 100)
    assert tiny.largest_difference(straight.params, plain(first, moved)[0].params) > 10 * TOLERANCE


def test_wrong_settings_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"config.parallel.devices = 99: this process has 8"):
        parallel.make_mapper("pmap", 99)
    with pytest.raises(ConfigError, match=r"config.parallel.backend = 'pmapp'"):
        parallel.make_mapper("pmapp")
    for variables in (
        {"GFVAD_COORDINATOR": "localhost:1"},
        {"GFVAD_COORDINATOR": "h:1", "GFVAD_PROCESSES": "2", "GFVAD_PROCESS": "2"},
    ):
        with pytest.raises(ConfigError, match="expected all three"):
            parallel.initialise_distributed(variables)
    with pytest.raises(ConfigError, match="GFVAD_DISTRIBUTED='yes'"):
        parallel.initialise_distributed({"GFVAD_DISTRIBUTED": "yes"})
    parallel.initialise_distributed({})


def main() -> None:
    """One process of the two-process test: its half of each batch, 2 devices of its own; process
    0 prints the parameters."""
    parallel.initialise_distributed()
    results = {}
    for backend in parallel.BACKENDS:
        mapper, train = mapped(backend)

        def own_part(seed, mapper=mapper):
            return jax.tree.map(
                lambda x: x[mapper.process_index :: mapper.process_count], tiny.batch(seed=seed)
            )

        got, _ = run(mapper, train, batches=own_part)
        payloads = mapper.gather(bytes([mapper.process_index]) * (1 + mapper.process_index))
        results[backend] = [x.tolist() for x in jax.tree.leaves(got.params)]
        results[f"{backend}/gather"] = [payload.hex() for payload in payloads]
        results[f"{backend}/flags"] = [mapper.any(mapper.process_index == 1), mapper.any(False)]
        results[f"{backend}/devices"] = [mapper.n_local, mapper.n_global, mapper.local().n_global]
    if jax.process_index() == 0:
        print("RESULT" + json.dumps(results))


def test_two_processes_give_the_same_parameters(single, repository):
    """Two processes of two devices each, joined by launch/cpu_pod.sh: same tolerance and reasons
    as above."""
    environment = {
        **os.environ,
        "XLA_FLAGS": xla_flags(2),
        "PYTHONPATH": f"{repository}:{repository / 'tests' / 'support'}",
    }
    command = ["bash", str(repository / "launch" / "cpu_pod.sh"), "2"]
    done = subprocess.run(
        command,
        env={**environment, "GFVAD_COMMAND": f"{sys.executable} {__file__}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])
    for backend in parallel.BACKENDS:
        assert results[f"{backend}/gather"] == ["00", "0101"]
        assert results[f"{backend}/flags"] == [True, False]
        assert results[f"{backend}/devices"] == [2, 4, 2]
        for mine, theirs in zip(results[backend], jax.tree.leaves(single[0].params), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)


POD_CHILD = """
import os, signal, sys, time
index, what = int(os.environ["GFVAD_PROCESS"]), sys.argv[1]
assert os.environ["GFVAD_PROCESSES"] == "3" and ":" in os.environ["GFVAD_COORDINATOR"]
assert sys.argv[2] == "--a=b c"
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "one fails" and index == 1:
    sys.exit(3)
if what == "late failure" and index:
    time.sleep(0.3 * index)
    sys.exit(5)
if what == "one fails" or what == "stop":
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2 * index), os._exit(143)))
    os.write(1, b"ready\\n")
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "what, code",
    [("fine", 0), ("killed", 137), ("one fails", 3), ("late failure", 5), ("stop", 143)],
)
def test_the_pod_script(tmp_path, repository, what, code):
    """Its exit code is that of the first process to fail; the others never outlive it; arguments
    and signals are passed on."""
    (tmp_path / "child.py").write_text(POD_CHILD)
    environment = {**os.environ, "GFVAD_COMMAND": f"{sys.executable} {tmp_path / 'child.py'}"}
    pod = subprocess.Popen(
        ["bash", "launch/cpu_pod.sh", "3", what, "--a=b c"],
        env=environment,
        cwd=repository,
        stdout=subprocess.PIPE,
        text=True,
    )
    if what == "stop":
        assert [pod.stdout.readline() for _ in range(3)] == ["ready\n"] * 3
        pod.terminate()
    assert pod.wait(timeout=30) == code


def test_the_pod_script_says_how_it_is_used(repository):
    done = subprocess.run(
        ["bash", "launch/cpu_pod.sh", "two"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2 and "usage: bash launch/cpu_pod.sh N" in done.stderr


if __name__ == "__main__":
    main()
