"""Holds the authors' predictive model against the figures of their own program, at full size.

    gfvad bench sib_vad
    gfvad bench sib_vad --bottlenecks=8 --precisions=float64

Parameters and inputs are filled by a formula that any language can repeat (`wave`); the figures are
what the authors' program gives in float64. One line a figure: expected, found, relative difference;
the exit code is 1 where one is above 1e-5 (float64) or 1e-3 (float32). About half a minute and 2 GB
a size and precision on one CPU core.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gfvad.base.errors import EXIT_DONE, EXIT_SOME_FAILED
from gfvad.base.options import Parser
from gfvad.models import sib_vad

TOLERANCES = {"float64": 1e-5, "float32": 1e-3}
INPUTS = {
    "frames": (1, 5, 3, 448, 448),
    "visual": (4, 1025, 1024),
    "patches": (4, 1025, 1024),
    "text": (1, 1, 1, 768),
}
# bottleneck -> parameters, and what the authors' program gives
PARAMETERS = {8: 10_938_036, 16: 11_988_660}
FIGURES: dict[int, dict[str, float | tuple[float, ...]]] = {
    8: {
        "frame, mean": -0.1418936766642166,
        "frame, deviation": 0.9687218067600952,
        "frame[0, 0, :4]": (
            -0.14235082827950457,
            0.13345900774409913,
            -0.010823032568889838,
            -0.00832334402081467,
        ),
        "frame[2, 447, 444:]": (
            -0.8492592268031948,
            -0.21088303479823423,
            -0.08296195186455371,
            -0.5787042844898023,
        ),
        "frame[1, 200, 200]": -0.08202295154677548,
        "text, mean": -0.03879828554636854,
        "text[:4]": (
            -0.7802797564647738,
            -0.858691219291817,
            0.03457014919950155,
            0.687693122495458,
        ),
        "text[-1]": -0.7439726481942572,
        "loss of the frame": 1.458505294178546,
        "loss of the text": 1.0376375745728033,
        "contrast": 0.6142852463161725,
    },
    16: {
        "frame, mean": -0.13925271208868922,
        "frame, deviation": 0.9462652511747376,
        "frame[0, 0, :4]": (
            0.409183081159151,
            -0.27978220898857753,
            -0.00975338090510594,
            0.0973271009925408,
        ),
        "frame[2, 447, 444:]": (
            -1.4387769416885166,
            -0.49522624586420555,
            -0.2398589550235983,
            -0.7973918270009097,
        ),
        "frame[1, 200, 200]": 0.6849733005799901,
        "text, mean": -0.0059832216001784325,
        "text[:4]": (
            -0.682227631292628,
            -0.8663822776130246,
            0.36456156214651525,
            1.1059422031938855,
        ),
        "text[-1]": -0.41920265608959695,
        "loss of the frame": 1.415133257119704,
        "loss of the text": 1.093040988941402,
        "contrast": 0.6031863732903803,
    },
}


def run(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    parser = Parser("gfvad bench sib_vad", __doc__)
    parser.add_argument("--bottlenecks", default="8,16", help="of 8 and 16")
    parser.add_argument("--precisions", default="float64,float32", help="of these two")
    args = parser.parse_args(argv)
    within = True
    print("| b | precision | figure | expected | found | relative difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for bottleneck in map(int, args.bottlenecks.split(",")):
        if bottleneck not in FIGURES:
            parser.error(f"--bottlenecks: {bottleneck}, expected of 8 and 16")
        for precision in args.precisions.split(","):
            if precision not in TOLERANCES:
                parser.error(f"--precisions: {precision}, expected of {', '.join(TOLERANCES)}")
            with jax.enable_x64(precision == "float64"):
                found = measure(sib_vad.Sizes(bottleneck), INPUTS, precision)
            count = found.pop("parameters")
            within &= count == PARAMETERS[bottleneck]
            start = f"| {bottleneck} | {precision} |"
            print(f"{start} parameters | {PARAMETERS[bottleneck]} | {count} | |")
            for name, expected in FIGURES[bottleneck].items():
                apart = relative_difference(found[name], expected)
                within &= apart <= TOLERANCES[precision]
                print(f"{start} {name} | {told(expected)} | {told(found[name])} | {apart:.1e} |")
    return EXIT_DONE if within else EXIT_SOME_FAILED


def measure(
    sizes: sib_vad.Sizes, inputs: Mapping[str, tuple[int, ...]], precision: str
) -> dict[str, Any]:
    """The figures, by name, of a model of any size filled by the formula."""
    weights = {n: filled(n, shape, precision) for n, shape in sib_vad.shapes_of(sizes).items()}
    parameters = sib_vad.from_state_dict(weights)
    x = {name: wave(name, shape, 1.0).astype(precision) for name, shape in inputs.items()}
    text = x["text"].reshape(1, -1)
    given = x["frames"][:, :-1], x["visual"][None], x["patches"][None, -1], text
    output = sib_vad.apply(parameters, *given)
    frame, said = (np.asarray(part[0], np.float64) for part in output[:2])
    target, last, text = (
        np.asarray(part, np.float64) for part in (x["frames"][0, -1], x["frames"][0, -2], text[0])
    )
    error = np.square(frame - target)
    return {
        "parameters": sib_vad.parameter_count(parameters),
        "frame, mean": frame.mean(),
        "frame, deviation": frame.std(),
        "frame[0, 0, :4]": frame[0, 0, :4],
        "frame[2, 447, 444:]": frame[2, -1, -4:],
        "frame[1, 200, 200]": frame[1, min(200, frame.shape[1] - 1), min(200, frame.shape[2] - 1)],
        "text, mean": said.mean(),
        "text[:4]": said[:4],
        "text[-1]": said[-1],
        "loss of the frame": error.mean(),
        "loss of the text": 1 - said @ text / np.sqrt((said @ said) * (text @ text)),
        "contrast": np.maximum(error - np.square(frame - last), 0.0).mean(),
    }


def wave(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """scale * sin(0.7 i + 0.013 (i mod 97) (i mod 89) + s), i over the array row by row, s the
    CRC32 of the name modulo 1000; float64."""
    i = np.arange(np.prod(shape), dtype=np.float64)
    start = zlib.crc32(name.encode()) % 1000
    return (scale * np.sin(0.7 * i + 0.013 * ((i % 97) * (i % 89)) + start)).reshape(shape)


def filled(name: str, shape: tuple[int, ...], precision: str) -> np.ndarray:
    """A parameter by the formula, of the size that keeps activations near 1."""
    if len(shape) > 1:
        return wave(name, shape, 1.5 / np.sqrt(np.prod(shape[1:]))).astype(precision)
    if "gammas" in name:
        return wave(name, shape, 0.5).astype(precision)
    norm = name.endswith("weight") and any(part in name for part in ("norm", "ln_"))
    return (norm + wave(name, shape, 0.1)).astype(precision)


def relative_difference(found: Any, expected: Any) -> float:
    """The largest relative difference of their numbers."""
    a, b = np.atleast_1d(found), np.atleast_1d(expected)
    return float(np.max(np.abs(a - b) / np.abs(b)))


def told(values: Any) -> str:
    """Numbers as a table shows them."""
    return ", ".join(f"{value:.7g}" for value in np.atleast_1d(values))
