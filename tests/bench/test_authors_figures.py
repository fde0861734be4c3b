"""The figures of the authors' predictive model, at a small size: the formula that fills it, and
what is measured of it, against the transcription."""

import jax
import numpy as np
import sib_vad_oracle as oracle

from gfvad.bench import sib_vad as bench
from gfvad.main import main
from gfvad.models import sib_vad

SIZES = sib_vad.Sizes(
    bottleneck=2,
    width=8,
    motion_width=4,
    visual_width=5,
    text_width=6,
    patch=4,
    experts=8,
    motion_layers=1,
    joint_layers=1,
    decoder_layers=1,
)
INPUTS = {"frames": (1, 5, 3, 8, 8), "visual": (4, 5, 5), "patches": (4, 5, 5), "text": (1, 6)}


def test_the_formula():
    found = bench.wave("visual", (4, 100, 5), 0.5)
    np.testing.assert_array_equal(found, oracle.wave("visual", (4, 100, 5), 0.5))
    assert np.abs(found).max() <= 0.5 and found.std() > 0.3
    ones = bench.filled("decoder.decoder_norm.weight", (50,), "float64")
    assert np.abs(ones - 1).max() <= 0.1 < np.abs(bench.filled("a.gammas.0", (9,), "float64")).max()
    assert bench.filled("gate.weight", (9, 4), "float32").dtype == np.float32


def test_what_is_measured():
    with jax.enable_x64(True):
        found = bench.measure(SIZES, INPUTS, "float64")
    shapes = sib_vad.shapes_of(SIZES)
    weights = {n: bench.filled(n, shape, "float64") for n, shape in shapes.items()}
    x = {name: oracle.wave(name, shape, 1.0) for name, shape in INPUTS.items()}
    given = x["frames"][0], x["visual"], x["patches"][-1], x["text"][0]
    frame, text, _ = oracle.model(weights, given[0][:-1], *given[1:])
    losses = oracle.losses(weights, *given)
    assert found["parameters"] == sum(x.size for x in weights.values())
    for name, expected in {
        "frame, mean": frame.mean(),
        "frame, deviation": frame.std(),
        "frame[0, 0, :4]": frame[0, 0, :4],
        "text[:4]": text[:4],
        "text[-1]": text[-1],
        "loss of the frame": losses[0],
        "loss of the text": losses[1],
        "contrast": losses[2],
    }.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)


def test_unknown_sizes_are_refused(capsys):
    for option in ("--bottlenecks=9", "--precisions=float16"):
        assert main(["bench", "sib_vad", option]) == 2
        assert "expected of" in capsys.readouterr().err
