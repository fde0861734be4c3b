"""The authors' predictive model as a run: its training step against numpy, its configurations, its
score, and a converted checkpoint from the file to results."""

import importlib
import json
import math

import jax
import numpy as np
import pytest
import sib_vad_oracle as oracle
import tiny_clips
import torch_checkpoint
from ml_collections import FrozenConfigDict
from registered import leave_no_trace
from scipy.ndimage import gaussian_filter1d

from gfvad.base.types import ClipBatch, ConfigError, DataError
from gfvad.encoders.registry import FrameEncoder, register_encoder
from gfvad.main import main
from gfvad.models import sib_vad
from gfvad.models.sib_vad_start import initial
from gfvad.tasks import check
from gfvad.tasks.prediction import sib_vad_model
from gfvad.tasks.prediction.converted import read_authors
from gfvad.tasks.prediction.report import authors_scores
from gfvad.tasks.prediction.step import train_step
from gfvad.train.optim import make_optimiser
from gfvad.train.state import TrainState

SIZES = sib_vad.Sizes(
    bottleneck=3,
    width=16,
    motion_width=8,
    visual_width=5,
    text_width=6,
    patch=4,
    experts=9,
    motion_layers=0,  # compiling is nearly all of the time here; tests/models has several of each
    joint_layers=1,
    decoder_layers=1,
)
HEIGHT, WIDTH = 8, 12
TOKENS = 1 + (HEIGHT // SIZES.patch) * (WIDTH // SIZES.patch)
SETTINGS = {
    "data.height": HEIGHT,
    "data.width": WIDTH,
    "model.patch": SIZES.patch,
    "model.cell": 2,
    "model.width": SIZES.width,
    "model.motion_layers": SIZES.motion_layers,
    "model.joint_layers": SIZES.joint_layers,
    "model.decoder_layers": SIZES.decoder_layers,
    "model.filter.experts": SIZES.experts,
    "model.filter.bottleneck": SIZES.bottleneck,
}


def config_of(name="ped2", variant="paper", **more):
    c = importlib.import_module(f"configs.{name}").get_config(variant)
    with c.unlocked():
        c.update_from_flattened_dict({k.replace("__", "."): v for k, v in more.items()})
    return c


def clips(count=2, seed=3):
    """A training batch, and one padding clip at its end."""
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(count + 1, SIZES.text_width)).astype(np.float32)
    features = {
        "frames": rng.integers(0, 256, (count + 1, 5, HEIGHT, WIDTH, 3), np.uint8),
        "tokens": rng.normal(size=(count + 1, 4, 2 * TOKENS, SIZES.visual_width)).astype("f2"),
        "text": text,
        "text_next": text,
    }
    numbers = np.arange(count + 1, dtype=np.int32)
    return ClipBatch(features, numbers < count, numbers, numbers, numbers)


def as_described(batch, i):
    """frames [5, 3, h, w], visual, patches, text of clip i, float64."""
    x = {name: np.asarray(a[i], np.float64) for name, a in batch.features.items()}
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    frames = ((x["frames"] / 255 - mean) / deviation).transpose(0, 3, 1, 2)
    return frames, x["tokens"][:, :TOKENS], x["tokens"][-1, TOKENS:], x["text"]


def test_one_training_step_is_the_authors():
    """Losses by the transcription; gradients, the balance term's among them, by its central
    differences; the update by Adam with the decay in the gradient, in numpy; float64."""
    config = config_of(**SETTINGS)
    weights = oracle.random_weights(sib_vad.shapes_of(SIZES), seed=4)
    batch, real = clips(), (0, 1)
    given = [as_described(batch, i) for i in real]

    def total(w):
        each = np.array([oracle.losses(w, *clip) for clip in given]).mean(0)
        return each, each[:3].sum() + 0.001 * each[3]

    model = sib_vad_model.SibVad(FrozenConfigDict(config.model), SIZES.text_width)
    optimiser = make_optimiser(config.optim, config.train.steps)
    with jax.enable_x64(True):
        params = {"weights": sib_vad.from_state_dict(weights)}
        shapes = jax.eval_shape(optimiser.transform.init, params)
        opt_state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        # a first step would hide the moments: they are set as if there had been one
        moments = jax.tree.map(lambda x: 0.01 * np.cos(x), params)
        squares = jax.tree.map(np.square, moments)
        adam = opt_state[1]._replace(count=np.int32(1), mu=moments, nu=squares)
        opt_state = (opt_state[0], adam, *opt_state[2:])
        state = TrainState(np.int32(1), params, {}, opt_state, np.zeros(2, np.uint32))
        step = jax.jit(
            lambda s, b: train_step(
                s, b, model=model, optimiser=optimiser, loss_cfg=config.loss, axis_name=None
            )
        )
        new, metrics = jax.tree.map(np.asarray, step(state, batch))
    each, whole = total(weights)
    for name, value in zip(("frame", "text", "contrast", "balance"), each):
        np.testing.assert_allclose(metrics[f"loss/{name}"], value, rtol=2e-6)
    np.testing.assert_allclose(metrics["loss"], whole, rtol=2e-6)
    # what the step did, turned back into the gradient by Adam's own formula, in numpy
    found = new.opt_state[1].mu["weights"]
    for name, at, leaf in (
        ("visual_project.weight", (3, 2), found["visual_project"]["kernel"][2, 3]),
        ("joint_cross_attn.attn_gammas.0", (0,), found["joint_cross_attn"]["attn_gammas"]["0"][0]),
        (
            "decoder.moes.0.gate.weight",
            (4, 7),
            found["decoder"]["moes"]["0"]["gate"]["kernel"][7, 4],
        ),
        ("decoder.final_conv.0.bias", (1,), found["decoder"]["final_conv"]["0"]["bias"][1]),
    ):
        ends = []
        for sign in (1, -1):
            moved = {**weights, name: weights[name].copy()}
            moved[name][at] += sign * 1e-6
            ends.append(total(moved)[1])
        value = weights[name][at]
        gradient = (ends[0] - ends[1]) / 2e-6 + 1e-5 * value
        np.testing.assert_allclose(leaf, 0.9 * 0.01 * np.cos(value) + 0.1 * gradient, rtol=1e-4)
    name = "decoder.text_recon.0.bias"
    value = weights[name]
    first = new.opt_state[1].mu["weights"]["decoder"]["text_recon"]["0"]["bias"]
    second = new.opt_state[1].nu["weights"]["decoder"]["text_recon"]["0"]["bias"]
    gradient = (first - 0.9 * 0.01 * np.cos(value)) / 0.1
    np.testing.assert_allclose(
        second, 0.999 * (0.01 * np.cos(value)) ** 2 + 0.001 * gradient**2, rtol=1e-9
    )
    moved = value - 2e-4 * (first / (1 - 0.9**2)) / (np.sqrt(second / (1 - 0.999**2)) + 1e-8)
    after = new.params["weights"]["decoder"]["text_recon"]["0"]["bias"]
    np.testing.assert_allclose(after, moved, rtol=1e-9)


def test_the_start_is_torchs():
    shapes = jax.tree.map(
        np.shape, sib_vad.from_state_dict(oracle.random_weights(sib_vad.shapes_of(SIZES)))
    )
    start = jax.jit(lambda key: initial(SIZES, key))(jax.random.key(0))
    assert jax.tree.map(np.shape, start) == shapes
    assert {x.dtype for x in jax.tree.leaves(start)} == {np.dtype(np.float32)}
    assert not np.any(start["joint_cross_attn"]["attn_gammas"]["0"])
    moe = start["decoder"]["moes"]["0"]
    assert np.all(moe["scale"] == 1) and not np.any(moe["shift"])
    for array, inputs in (
        (start["decoder"]["text_recon"]["0"]["kernel"], SIZES.width),
        (start["decoder"]["text_recon"]["2"]["bias"], 4 * SIZES.width),
        (start["motion_encoder"]["patch_emb"]["proj"]["kernel"], 3 * SIZES.patch**2),
        (moe["w_in"], SIZES.width),
        (moe["b_out"], SIZES.bottleneck),
    ):
        bound = 1 / math.sqrt(inputs)
        assert 0.8 * bound < np.abs(array).max() <= bound


@pytest.mark.parametrize(
    "name, bottleneck, epochs, examples, weights, sigma, min_max",
    [
        ("ped2", 8, 1000, 2_486, (0.8, 0.2), 5.0, True),
        ("avenue", 192, 50, 15_264, (0.9, 0.1), 4.0, False),
        ("shanghaitech_semi", 16, 10, 273_195, (0.2, 0.8), 13.0, True),
    ],
)
def test_paper_is_the_authors_training_and_score(
    name, bottleneck, epochs, examples, weights, sigma, min_max
):
    c = config_of(name)
    check(c)
    sizes = sib_vad_model.sizes_from(c.model, c.data.clip_frames, 1024, 768)
    assert sizes == sib_vad.Sizes(bottleneck)
    assert (c.optim.name, c.optim.schedule) == ("adam_coupled", "constant")
    assert (c.optim.learning_rate, c.optim.weight_decay) == (2e-4, 1e-5)
    assert (c.optim.clip_norm, c.optim.warmup_steps, c.train.batch_size, c.seed) == (0, 0, 64, 42)
    assert c.train.steps == round(epochs * examples / 64)
    assert (c.loss.frame, c.loss.text, c.loss.contrast, c.loss.balance) == (1, 1, 1, 0.001)
    assert (c.score.paper_weights, c.score.paper_sigma) == (weights, sigma)
    assert c.score.paper_min_max == min_max and c.score.weights == weights
    assert (c.data.height, c.data.width, c.data.resize) == (448, 448, "bicubic")
    assert (c.data.clip_text, c.data.validation_fraction) == ("last", 0.0)


@pytest.mark.parametrize(
    "more, said",
    [
        ({"model__heads": 8}, "config.model.heads = 8: expected 4"),
        ({"model__filter.epsilon": 1e-6}, "config.model.filter.epsilon = 1e-06: expected 1e-05"),
        ({"data__flow": True}, "config.data.flow = True"),
        ({"data__train_descriptions": ""}, "reads descriptions"),
        ({"data__vision": "patches"}, "states:FOLDER"),
    ],
)
def test_what_is_no_choice_in_it_is_refused(more, said):
    with pytest.raises(ConfigError) as error:
        check(config_of(**more))
    assert said in str(error.value)


def test_the_authors_score():
    rng = np.random.default_rng(0)
    frame, text = rng.gamma(2.0, size=30), rng.random(30)
    scaled = [(x - x.min()) / (x.max() - x.min()) for x in (frame, text)]
    for terms, min_max in ((scaled, True), ((frame, text), False)):
        a, b = (gaussian_filter1d(x, 4.0) for x in terms)
        found = authors_scores((frame, text), (0.9, 0.1), 4.0, min_max)
        np.testing.assert_allclose(found, 0.9 * a + 0.1 * b, rtol=1e-12)


class TinyStates(FrameEncoder):
    """Stands in for the frozen encoder: fixed projections of patches."""

    name, width, grid, fingerprint = "tiny", SIZES.visual_width, (2, TOKENS), "tiny-1"

    def __init__(self, folder):
        del folder

    def encode(self, frames):
        rng = np.random.default_rng(0)
        weights = rng.normal(size=(frames[0].size, 2 * TOKENS * self.width)) / 1e4
        found = frames.reshape(len(frames), -1) @ weights
        return found.reshape(len(frames), 2 * TOKENS, self.width).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def states_encoder():
    """The stand-in by name, in this file alone."""
    with leave_no_trace():
        register_encoder("tinystates", TinyStates, reads="frames")
        yield


@pytest.fixture(scope="module")
def converted(states_encoder, tmp_path_factory):
    """A folder with a set, a checkpoint, and the run that `gfvad convert` made of it."""
    folder = tmp_path_factory.mktemp("authors")
    tiny_clips.write_set(folder / "set")
    weights = oracle.random_weights(sib_vad.shapes_of(SIZES._replace(text_width=384)))
    weights = {f"module.{name}": x.astype(np.float32) for name, x in weights.items()}
    frozen = {"module.internvl_model.patch.weight": np.ones((2, 2), np.float32)}
    torch_checkpoint.write(folder / "best.pth", weights | frozen)
    settings = {
        **{k: v for k, v in SETTINGS.items() if "layers" not in k and "filter" not in k},
        "data.root": folder / "set",
        "data.cache_dir": folder / "cache",
        "data.vision": "tinystates:any",
        "data.text_encoder": "hash",
        "data.eval_batch_size": 8,
        "data.workers": 1,
        "eval.bootstrap": 10,
        "eval.figures": False,
        "parallel.devices": 1,
    }
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    words = ["convert", folder / "best.pth", f"--out={folder / 'run'}", "--config=ped2:paper"]
    assert main([*map(str, words), *flags]) == 0
    return folder, {n.removeprefix("module."): x for n, x in weights.items()}


def test_a_converted_checkpoint_is_evaluated_as_a_run(converted, capsys):
    folder, weights = converted
    assert main(["evaluate", f"--workdir={folder / 'run'}"]) == 0
    assert "headline" in capsys.readouterr().out.lower()
    results = json.loads((folder / "run/results.json").read_text())
    assert results["weights"] == {"frame": 0.8, "text": 0.2}
    (name,) = [n for n in results["named"] if n.startswith("the authors' terms and protocol")]
    assert "0.8 frame error, 0.2 description, min-max a video, sigma 5, first 4" in name
    assert results["ground_truth_frames"] == sum(tiny_clips.TEST)
    assert 0 <= results["named"][name] <= 1
    _, parameters = read_authors(folder / "best.pth")
    assert sib_vad.parameter_count(parameters) == sum(x.size for x in weights.values())


def test_what_cannot_be_converted_says_so(converted, tmp_path, capsys):
    folder, weights = converted
    path = str(folder / "best.pth")
    assert main(["convert", path, f"--out={folder / 'run'}", "--config=ped2:paper"]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["convert", path, f"--out={tmp_path / 'run'}"]) == 2
    assert "a bottleneck of 3, of no published set" in capsys.readouterr().err
    assert main(["convert", path, f"--out={tmp_path / 'run'}", "--config=ped2:small"]) == 2
    assert "expected 'sib_vad'" in capsys.readouterr().err
    assert main(["convert", path]) == 2
    torch_checkpoint.write(tmp_path / "part.pth", dict(list(weights.items())[:9]))
    with pytest.raises(DataError, match="part.pth: "):
        read_authors(tmp_path / "part.pth")
