"""The training step of the predictive model: the same numbers on any devices, one compilation,
and what it writes and draws."""

from functools import cache, partial

import jax
import numpy as np
import pytest
import tiny_clips
from ml_collections import FrozenConfigDict
from tiny import largest_difference

from gfvad.tasks.prediction import step
from gfvad.tasks.prediction.model import PredictiveModel, normalise_frames
from gfvad.train import parallel
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_from

STEPS = 6
SIZE = 5  # clips, the last one padding: two devices get three each, and two of those count nowhere
# Sums over 1 or 2 parts round differently, by 6e-8 of their size. Plain gradient steps, not Adam's:
# the softmax of attention does not depend on the bias of its keys, whose gradient is therefore
# rounding alone, and Adam makes whole steps of any gradient. Parameters move by more than 1e-3, so
# a factor of two or a lost clip shows a hundred times above this.
TOLERANCE = 1e-5


@cache
def problem(kind):
    """(config, model, optimiser, initial state) with every input and loss term, and a random
    pair of graphs each step. One layer of transformers."""
    more = (
        {"model__fusion.graphs": "random_pair"}
        if kind == "sffm"
        else {"model__filter.memory_items": 6, "model__pace": False, "model__flow_from": "joint"}
    )
    more |= {"model__joint_layers": 0, "model__filter__kind": kind}
    c = tiny_clips.config(
        "",
        loss__balance=0.1,
        optim__warmup_steps=0,
        optim__name="sgd",
        optim__learning_rate=0.05,
        **more,
    )
    model = PredictiveModel(FrozenConfigDict(c.model), tiny_clips.TEXT, True)
    optimiser = make_optimiser(c.optim, STEPS)
    example = {name: x[0] for name, x in tiny_clips.batch(fast=False).features.items()}
    return c, model, optimiser, init_from(model, optimiser.transform, (example,), seed=0)


def bound(kind, axis_name):
    c, model, optimiser, _ = problem(kind)
    return partial(
        step.train_step, model=model, optimiser=optimiser, loss_cfg=c.loss, axis_name=axis_name
    )


@cache
def plain(kind):
    """The step on one device, mapped over nothing."""
    return jax.jit(bound(kind, None))


def clips(kind, seed):
    return tiny_clips.batch(SIZE, seed, fast=kind == "sffm")


@cache
def reference(kind):
    """(state, metrics of every step) of the plain step."""
    now, rows = problem(kind)[3], []
    for i in range(STEPS):
        now, metrics = plain(kind)(now, clips(kind, i))
        rows.append(jax.tree.map(np.asarray, metrics))
    return jax.tree.map(np.asarray, now), rows


@pytest.mark.parametrize("kind, backend, devices", [("sffm", "pmap", 2), ("mnad", "shard_map", 2)])
def test_the_same_numbers_on_any_devices(kind, backend, devices):
    """Parameters and a written memory after all steps, every metric of every step, and one
    trace."""
    expected, mapper = reference(kind), parallel.make_mapper(backend, devices)
    train, replicas = (
        mapper.map_train(bound(kind, mapper.axis_name)),
        mapper.replicate(problem(kind)[3]),
    )
    rows, compiled, counts = [], [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, _, **kw: compiled.append(name) if "backend_compile" in name else None
    )
    for i in range(STEPS):
        replicas, metrics = train(replicas, mapper.shard(clips(kind, i)))
        counts.append(len(compiled))
        rows.append(mapper.unreplicate(metrics))
    assert counts[0] >= 1 and counts == [counts[0]] * STEPS, "compiled again after the first step"
    assert list(mapper.traces.values()) == [1]
    got = mapper.unreplicate(replicas)
    assert largest_difference(got.params, expected[0].params) < TOLERANCE
    assert largest_difference(got.params, problem(kind)[3].params) > 100 * TOLERANCE
    assert (
        largest_difference(got.constants, expected[0].constants) < TOLERANCE
        if kind == "mnad"
        else not got.constants
    )
    for mine, theirs in zip(rows, expected[1], strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=2e-4, atol=1e-5, err_msg=name)


def test_metrics_by_name():
    names = {
        "loss",
        "gradient_norm",
        "update_norm",
        "learning_rate",
        "usage/0",
        "router_entropy/0",
        "dead/0",
    }
    names |= {f"loss/{term}" for term in ("frame", "contrast", "text", "flow", "pace", "balance")}
    rows = reference("sffm")[1]
    assert rows[0].keys() == names
    np.testing.assert_allclose(rows[0]["usage/0"].sum(), 1, rtol=1e-6)
    weights = problem("sffm")[0].loss
    total = sum(
        weights[name.split("/")[1]] * rows[0][name] for name in names if name.startswith("loss/")
    )
    np.testing.assert_allclose(rows[0]["loss"], total, rtol=1e-6)


def test_it_learns():
    """The same batch again and again: each term that a prediction can lower is lower in the end."""
    now, rows = problem("sffm")[3], []
    for _ in range(12):
        now, metrics = plain("sffm")(now, clips("sffm", 0))
        rows.append(metrics)
    for name in ("loss", "loss/frame", "loss/text", "loss/flow", "loss/pace"):
        assert rows[-1][name] < rows[0][name], name


def test_padding_changes_nothing():
    """Whatever a clip that is not valid holds, parameters, memory and metrics are the same, bit
    by bit."""
    for kind in ("sffm", "mnad"):
        batch = clips(kind, 0)
        other = {name: np.concatenate([x[:-1], x[:1]]) for name, x in batch.features.items()}
        results = [
            plain(kind)(problem(kind)[3], b) for b in (batch, batch._replace(features=other))
        ]
        assert largest_difference(*results) == 0


def test_both_kinds_of_clips_are_changed_alike():
    """The pace network must not tell the kinds by contrast or mirroring: the same key gives the
    same mirror and the same gain."""
    batch = tiny_clips.batch(4)
    seen = set()
    for i in range(8):
        gains = []
        for name in ("frames", "fast"):
            clip = np.asarray(normalise_frames(batch.features[name][0]))
            flow = np.random.default_rng(i).standard_normal((4, 5, 3)).astype(np.float32)
            found, moved = map(np.asarray, step.augment(jax.random.key(i), clip, flow))
            ratios = {
                mirrored: (found + 1) / ((clip[:, :, ::-1] if mirrored else clip) + 1)
                for mirrored in (False, True)
            }
            # one gain for all pixels
            (mirrored,) = [m for m, ratio in ratios.items() if np.ptp(ratio) < 1e-5]
            gains.append((mirrored, ratios[mirrored].mean()))
            # u turns round
            np.testing.assert_array_equal(
                moved, flow[:, ::-1] * np.array([-1, 1, 1], np.float32) if mirrored else flow
            )
        assert gains[0][0] == gains[1][0] and abs(gains[0][1] - gains[1][1]) < 1e-5
        assert step.GAINS[0] <= gains[0][1] <= step.GAINS[1]
        seen.add(gains[0][0])
    assert seen == {False, True}


def test_in_the_step_both_kinds_are_changed_alike():
    """A clip that stands in for its own faster copy gets the same logits, and another place in
    the stream other changes."""
    c, model, _, state = problem("sffm")
    batch = tiny_clips.batch(4)
    same = batch._replace(
        features=batch.features
        | {
            "fast": batch.features["frames"],
            "fast_flow": batch.features["flow"][:, -1],
        }
    )
    forward = jax.jit(lambda b: step.forward(model, state, b, c.loss)[1])
    normal, fast = forward(same)
    np.testing.assert_array_equal(normal.logits, fast.logits)
    np.testing.assert_array_equal(normal.moving, fast.moving)
    assert np.asarray(normal.moving).any() and not np.asarray(normal.moving).all()
    assert (
        np.asarray(forward(same._replace(position=same.position + 50))[0].logits) != normal.logits
    ).any()


def test_a_memory_is_written_while_training_and_only_then():
    """MNAD: items are the mean over the batch of what each clip wrote, of length 1, on every
    step; reading leaves them alone."""
    c, model, _, first = problem("mnad")
    before = jax.tree.leaves(first.constants["memory"])[0]
    after = jax.tree.leaves(reference("mnad")[0].constants["memory"])[0]
    assert before.shape == after.shape == (6, 16) and np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.ones(6), rtol=1e-5)
    assert "memory" not in first.params and "memory" not in jax.tree_util.keystr(
        jax.tree_util.tree_flatten_with_path(first.opt_state)[0][0][0]
    )
    evaluate = jax.jit(partial(step.eval_step, model=model, cell=c.model.cell))
    one, two = (evaluate(first, clips("mnad", 0)) for _ in range(2))
    assert largest_difference(one, two) == 0
    assert (
        largest_difference(
            one,
            evaluate(first._replace(constants=reference("mnad")[0].constants), clips("mnad", 0)),
        )
        > 1e-5
    )


def test_evaluation_by_numpy():
    """Maps, residuals and cosines of the model's own prediction."""
    c, model, _, state = problem("sffm")
    batch = tiny_clips.batch(4, 3)
    both = jax.jit(
        lambda *given: (
            step.eval_step(*given, model=model, cell=c.model.cell),
            step.predict(*given, model=model),
        )
    )
    found, prediction = both(state, batch)
    prediction = jax.tree.map(np.float64, prediction)
    error = ((prediction.frame - (batch.features["frames"][:, -1] / 127.5 - 1)) ** 2).mean(-1)
    cells = error.reshape(4, 6, 4, 9, 4).mean((2, 4))
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    said, heard = unit(prediction.text), unit(np.float64(batch.features["text_next"]))
    expected = {
        "appearance": cells,
        "flow": np.maximum(batch.features["flow"][:, -1] - prediction.flow, 0)[..., 2] ** 2,
        "pace": prediction.pace,
    }
    expected |= {
        "relation": prediction.relation,
        "semantic": heard - said,
        "text": 1 - (heard * said).sum(-1),
    }
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        # float32 of numbers of size 1 (flow: up to 10, hence relative)
        np.testing.assert_allclose(found[name], x, rtol=1e-5, atol=2e-6, err_msg=name)


def test_routing_by_layer():
    """Which experts a token keeps: top-k of each, without the text token; nothing for a filter
    that does not choose, over devices too."""
    c, model, _, state = problem("sffm")
    kept = jax.jit(partial(step.routing_step, model=model))(state, tiny_clips.batch(4))
    assert (
        kept.shape == (4, c.model.decoder_layers, tiny_clips.TOKENS, c.model.filter.experts)
        and kept.dtype == bool
    )
    np.testing.assert_array_equal(kept.sum(-1), np.full(kept.shape[:-1], c.model.filter.topk))
    _, model, _, state = problem("mnad")
    mapper = parallel.make_mapper("pmap", 2)
    found = mapper.map_eval(partial(step.routing_step, model=model))(
        mapper.replicate(state), mapper.shard(tiny_clips.batch(4))
    )
    assert mapper.to_host(found, 3).shape == (3, 0)
