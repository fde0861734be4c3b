"""Checkpoints: what is written comes back, the right ones are kept, and wrong or broken ones are
never used."""

import shutil

import jax
import numpy as np
import optax
import pytest
import tiny

from gfvad.base.types import ConfigError, DataError
from gfvad.train import checkpoint, optim, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.state import TrainState

POSITION = {"next_batch": 7, "videos": "abc"}
PENDING = {"count": 2, "sums": {"loss": 0.1 + 0.2, "usage/rgb": [1e-17, 3.0]}}


def make_state(step=0, width=3):
    """A state with every kind of leaf: matrices, scalars, an empty array, optimiser tuples."""
    rng = np.random.default_rng(step)
    params = {
        "head": {"kernel": rng.normal(size=(4, width)).astype(np.float32)},
        "fusion": {"a": np.full(2, step, np.float32)},
    }
    params["empty"] = np.zeros((0, 4), np.float32)
    opt_state = optim.make_optimiser(tiny.config().optim, 10).transform.init(params)
    constants = {"constants": {"mean": rng.normal(size=5).astype(np.float32)}}
    return jax.tree.map(
        np.asarray,
        TrainState(
            np.array(step, np.int32),
            params,
            constants,
            opt_state,
            np.array([1, 2**32 - 1], np.uint32),
        ),
    )


def same(a, b):
    """Same structure, dtypes and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(x, y)


def save(checkpoints, step, validation=None, test=None):
    values = {"validation": validation, "test": test}
    checkpoints.save(
        step,
        make_state(step),
        POSITION,
        PENDING,
        {k: v for k, v in values.items() if v is not None},
    )
    checkpoints.wait()


def test_everything_comes_back(tmp_path):
    """State bit by bit, also by another object (another start of the program), with position and
    sums; bytes as position too."""
    with Checkpoints(tmp_path / "c", tiny.config(), write=True) as checkpoints:
        save(checkpoints, 5, validation=0.5)
        checkpoints.save(6, make_state(6), b"\x00\xff", {}, {})
    with Checkpoints(tmp_path / "c", tiny.config()) as checkpoints:
        assert checkpoints.steps() == [5, 6]
        restored = checkpoints.restore(5, make_state(0))
        same(restored.state, make_state(5))
        assert isinstance(restored.state.opt_state[1], optax.ScaleByAdamState)
        assert (restored.step, restored.position, restored.pending, restored.metrics) == (
            5,
            POSITION,
            PENDING,
            {"validation": 0.5},
        )
        assert checkpoints.restore("last", make_state()).position == b"\x00\xff"


def test_last_and_best_are_kept(tmp_path):
    """The last two, the best on validation and the best on test; the measures survive a restart;
    of equals the newest is best."""
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        save(checkpoints, 1, validation=0.9, test=0.1)
        save(checkpoints, 2, validation=0.2, test=0.8)
        save(checkpoints, 3)
        save(checkpoints, 4, validation=float("nan"), test=0.3)
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        save(checkpoints, 5, validation=0.4)
        save(checkpoints, 6)
        assert checkpoints.steps() == [1, 2, 5, 6]
        assert [
            checkpoints.step_of(which) for which in ("last", "best", "best_on_test", 5, "5", 4)
        ] == [6, 1, 2, 5, 5, None]
        save(checkpoints, 7, validation=0.9)
        assert checkpoints.step_of("best") == 7
        assert checkpoints.steps() == [2, 6, 7]


def test_no_best_without_a_measure(tmp_path):
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        with pytest.raises(DataError, match="no whole checkpoint 'last'; steps found: none"):
            checkpoints.restore("last", make_state())
        save(checkpoints, 1)
        assert checkpoints.step_of("best") is None
        with pytest.raises(DataError, match="no whole checkpoint 'best'; steps found: 1"):
            checkpoints.restore("best", make_state())


def test_reading_touches_nothing(tmp_path):
    """Looking at a run, without write=True, leaves the save in flight of the run that trains
    alone."""
    with pytest.raises(DataError, match="not found; expected the checkpoints of a run"):
        Checkpoints(tmp_path / "none", tiny.config())
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        save(checkpoints, 1, validation=0.5)
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "3").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with Checkpoints(tmp_path, tiny.config()) as checkpoints:
        same(checkpoints.restore("best", make_state()).state, make_state(1))
    assert sorted(tmp_path.rglob("*")) == before


def test_another_configuration_is_refused(tmp_path):
    """The message names the keys; what has no influence on training may differ."""
    with Checkpoints(tmp_path, tiny.config(), "Records(a)", write=True) as checkpoints:
        save(checkpoints, 1)
    other = tiny.config(optim__learning_rate=0.5, train__batch_size=16)
    with pytest.raises(
        ConfigError,
        match=(
            r"optim.learning_rate found 0.001, expected 0.5; train.batch_size found 8, expected 16;"
            r" set these back"
        ),
    ):
        Checkpoints(tmp_path, other)
    with pytest.raises(
        ConfigError, match=r"learnt from other videos: found Records\(a\), expected Records\(b\)"
    ):
        Checkpoints(tmp_path, tiny.config(), "Records(b)")
    free = tiny.config(
        parallel__backend="shard_map",
        eval__bootstrap=3,
        train__log_every=1,
        data__root="/elsewhere",
    )
    with Checkpoints(tmp_path, free) as checkpoints:
        assert checkpoints.restore("last", make_state()).step == 1


def test_another_model_is_refused_in_one_line(tmp_path):
    """Which parameters differ, found and expected: not thousands of lines."""
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        save(checkpoints, 1)
        with pytest.raises(DataError) as caught:
            checkpoints.restore("last", make_state(width=9))
    message = str(caught.value)
    assert "params.head.kernel found float32[4,3], expected float32[4,9]" in message
    assert "opt_state.1.mu.head.kernel found float32[4,3], expected float32[4,9]" in message
    assert "\n" not in message and len(message) < 600
    extra = make_state()
    extra.params["more"] = np.zeros(1, np.float32)
    with (
        Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints,
        pytest.raises(DataError, match=r"params.more found nothing, expected float32\[1\]"),
    ):
        checkpoints.restore("last", extra)


@pytest.mark.parametrize("missing", checkpoint.PARTS)
def test_incomplete_folders_are_passed_over(tmp_path, missing):
    """A copy or deletion cut short at any part: the one before is used, and the run can write
    that step again."""
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        save(checkpoints, 1, validation=0.1)
        save(checkpoints, 2, validation=0.2)
    (tmp_path / "2" / missing).unlink()
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        assert checkpoints.steps() == [1] and checkpoints.step_of("best") == 1
        same(checkpoints.restore("last", make_state()).state, make_state(1))
        save(checkpoints, 2, validation=0.3)
        same(checkpoints.restore("last", make_state()).state, make_state(2))
        assert checkpoints.step_of("best") == 2


def test_a_save_cut_short_is_never_seen(tmp_path):
    """The temporary folder of a killed save is no checkpoint, whatever it holds, and is cleared
    away."""
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        save(checkpoints, 1)
    half = tmp_path / "2.orbax-checkpoint-tmp-17"
    shutil.copytree(tmp_path / "1", half)
    (half / "state" / "manifest.ocdbt").unlink()
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        assert checkpoints.steps() == [1]
        save(checkpoints, 2)
        assert checkpoints.steps() == [1, 2]


@pytest.mark.parametrize("backend, devices", [("pmap", 8), ("pmap", 3), ("shard_map", 8)])
def test_saved_on_some_devices_restored_on_others(tmp_path, backend, devices):
    """One replica is saved, so any number of devices can take it up."""
    with Checkpoints(tmp_path, tiny.config(), write=True) as checkpoints:
        mapper = parallel.make_mapper(backend, devices)
        checkpoints.save(
            3, mapper.unreplicate(mapper.replicate(make_state(3))), POSITION, PENDING, {}
        )
        restored = checkpoints.restore("last", make_state()).state
    other = parallel.make_mapper("pmap" if backend == "shard_map" else "shard_map", 2)
    same(other.unreplicate(other.replicate(restored)), make_state(3))
