"""Units of a stream, and the encoders that need no weights: oracles, invariances, what is
absent; networks by files made here."""

import json

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed (launch/requirements-video.txt)")

from gfvad.base.types import ConfigError, DataError  # noqa: E402
from gfvad.encoders import appearance, motion, sound  # noqa: E402
from gfvad.encoders.objects import object_statistics  # noqa: E402
from gfvad.encoders.onnx_image import triple  # noqa: E402
from gfvad.encoders.registry import (  # noqa: E402
    DEFAULT,
    ENCODERS,
    open_encoder,
    open_sentences,
    settings_of,
)
from gfvad.encoders.units import PATCH, RATE, Grouper, Picture, Sound, Unit  # noqa: E402
from gfvad.extraction import feature_files  # noqa: E402


def pictures(count, fps=25.0, size=(24, 32)):
    rng = np.random.default_rng(0)
    return [
        Picture(i / fps, rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for i in range(count)
    ]


def tone(seconds, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def run(pieces, sound=False, fps=25.0):
    grouper = Grouper(sound, fps)
    return [unit for piece in pieces for unit in grouper.push(piece)] + grouper.finish()


def unit(frames, before=None, samples=None, fps=25.0):
    return Unit(0, 0.0, len(frames) / fps, np.asarray(frames, np.uint8), before, samples)


# ---- units


def test_units_hold_every_frame_once():
    found = run(pictures(39))
    assert [len(u.frames) for u in found] == [16, 16, 7] and [u.index for u in found] == [0, 1, 2]
    np.testing.assert_array_equal(
        np.concatenate([u.frames for u in found]), np.stack([p.rgb for p in pictures(39)])
    )
    assert found[0].before is None
    np.testing.assert_array_equal(found[1].before, found[0].frames[-1])
    np.testing.assert_allclose(
        [(u.start, u.end) for u in found], [(0, 0.64), (0.64, 1.28), (1.28, 1.56)]
    )
    assert [len(u.frames) for u in run(pictures(32))] == [16, 16] and not run([])
    one = run(pictures(1), fps=10.0)
    assert len(one) == 1 and one[0].end == pytest.approx(0.1)


def test_variable_rates_keep_their_times():
    times = np.cumsum([0.01, 0.2] * 10)
    found = run([Picture(t, p.rgb) for t, p in zip(times, pictures(20))])
    assert (found[0].start, found[0].end) == (times[0], times[16]) and found[
        1
    ].end == pytest.approx(times[-1] + (times[-1] - times[-2]))


@pytest.mark.parametrize("chunk", [160, 1000, 48000])
def test_sound_is_the_patch_around_a_units_middle(chunk):
    """However sound and pictures are interleaved, a unit gets the same 0.96 s, moved inside of
    the video at both its ends."""
    x = tone(3.0) * np.linspace(0, 1, 3 * RATE, dtype=np.float32)
    pieces = sorted(
        [*pictures(75), *(Sound(i / RATE, x[i : i + chunk]) for i in range(0, len(x), chunk))],
        key=lambda p: p.time,
    )
    found = run(pieces, sound=True)
    assert len(found) == 5
    length = round(PATCH * RATE)
    for u in found:
        start = min(max(round(((u.start + u.end) / 2 - PATCH / 2) * RATE), 0), len(x) - length)
        np.testing.assert_array_equal(u.sound, x[start : start + length])


def test_gaps_are_silence_and_short_sound_is_padded():
    found = run(
        [*pictures(16), Sound(0.0, tone(0.1)), Sound(0.5, tone(0.1)), Sound(0.55, tone(0.1))],
        sound=True,
    )
    assert (
        found[0].sound.shape == (15360,)
        and not found[0].sound[1600:8000].any()
        and found[0].sound[8000:9600].any()
    )
    # what overlaps is heard once
    np.testing.assert_array_equal(found[0].sound[9600:10400], tone(0.1)[800:])
    assert not found[0].sound[10400:].any()
    assert run(pictures(16), sound=True)[0].sound is None  # a track without a sample


def test_memory_is_bounded():
    grouper = Grouper(True)
    rgb = np.zeros((2, 2, 3), np.uint8)
    for i in range(2000):
        grouper.push(Sound(i / 25, np.zeros(RATE // 25, np.float32)))
        grouper.push(Picture(i / 25, rgb))
        assert len(grouper._pictures) <= 40 and len(grouper._samples) <= 4 * RATE


# ---- motion and appearance


def moving(speed, frames=17, size=(96, 128), side=24, seed=0):
    """A textured square that moves to the right by `speed` pixels a frame over a textured still
    picture."""
    rng = np.random.default_rng(seed)
    still, square = (
        rng.integers(60, 120, (*size, 3), dtype=np.uint8),
        rng.integers(150, 255, (side, side, 3), dtype=np.uint8),
    )
    out = np.repeat(still[None], frames, 0)
    for t in range(frames):
        x = int(10 + speed * t) % (size[1] - side)
        out[t, 30 : 30 + side, x : x + side] = square
    return out


def test_motion_grows_with_speed_and_ignores_mirrors():
    encoder = motion.Motion()

    def features(speed):
        video = moving(speed)
        return encoder.encode(unit(video[1:], video[0]))

    still, slow, fast = features(0), features(1), features(3)
    assert (
        still.shape == (encoder.width,) and np.isfinite(still).all() and still.dtype == np.float32
    )
    fastest = len(motion.QUANTILES) - 1  # the mean of the largest cell
    assert (
        still[fastest] == pytest.approx(np.log(motion.FLOOR["flow"]), abs=0.1)
        and still[fastest] + 0.5 < slow[fastest] < fast[fastest] - 0.5
    )
    video = moving(2)
    plain, mirrored = (encoder.encode(unit(v[1:], v[0])) for v in (video, video[:, :, ::-1]))
    np.testing.assert_allclose(plain, mirrored, atol=0.35)


def test_motion_of_twice_the_frame_rate_is_as_fast():
    """Speeds are a second's: every second frame of a video at half the rate moves as fast."""
    encoder, video = motion.Motion(), moving(1, frames=33)
    fast, slow = (
        encoder.encode(unit(video[1:17], video[0], fps=50.0)),
        encoder.encode(unit(video[2::2], video[0], fps=25.0)),
    )
    k = len(motion.QUANTILES)
    assert abs(fast[k - 1] - slow[k - 1]) < 0.35


def test_a_single_frame_is_still():
    frame = moving(0, frames=1)
    alone, pair = (
        motion.Motion().encode(unit(frame)),
        motion.Motion().encode(unit(np.repeat(frame, 2, 0))),
    )
    assert np.isfinite(alone).all() and alone.shape == (motion.Motion.width,)
    np.testing.assert_allclose(alone, pair, atol=1e-3)
    # smaller than what flow needs
    assert np.isfinite(motion.Motion().encode(unit(np.zeros((3, 2, 6, 3))))).all()


def test_spread_agrees_with_numpy():
    x = np.random.default_rng(0).uniform(0, 5, (4, 3, 5))
    rows = np.array(
        [[np.log(np.quantile(frame, q) + 0.5) for q in motion.QUANTILES] for frame in x]
    )
    np.testing.assert_allclose(
        motion.spread(x, 0.5), np.concatenate([rows.mean(0), rows.max(0), rows.std(0)])
    )


def test_appearance():
    encoder = appearance.Appearance()
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, 32:] = 255  # one vertical edge: gradients are horizontal, bin 0
    x = encoder.encode(unit([frame] * 3))
    outlines = x[:144].reshape(4, 4, 9)
    assert x.shape == (encoder.width,) and (np.linalg.norm(outlines, axis=-1) <= 1).all()
    assert (
        (outlines[:, 1:3, 0] > 0.75).all()
        and not outlines[:, [0, 3]].any()
        and not outlines[..., 1:].any()
    )
    brightness = x[-appearance.BRIGHTNESSES :]
    np.testing.assert_allclose(brightness, np.sqrt([0.5, 0, 0, 0, 0, 0.5]), atol=1e-6)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(appearance.colours(red)[: appearance.HUES], [1] + [0] * 7, atol=1e-6)


# ---- sound


def test_log_mel_is_vggish_front_end():
    """Against the published definition written out window by window and band by band in float64."""
    x = np.random.default_rng(0).normal(size=4000) * 0.1
    to_mel = lambda f: 1127.0 * np.log(1.0 + f / 700.0)
    edges = np.linspace(to_mel(125.0), to_mel(7500.0), 66)
    expected = []
    for start in range(0, 4000 - 400 + 1, 160):
        window = x[start : start + 400] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
        spectrum = np.abs(
            [
                sum(w * np.exp(-2j * np.pi * k * n / 512) for n, w in enumerate(window))
                for k in range(257)
            ]
        )
        row = []
        for band in range(64):
            low, centre, high = edges[band : band + 3]
            weights = [0.0] + [
                max(
                    0.0,
                    min(
                        (to_mel(k * 16000 / 512) - low) / (centre - low),
                        (high - to_mel(k * 16000 / 512)) / (high - centre),
                    ),
                )
                for k in range(1, 257)
            ]
            row.append(np.log(np.dot(weights, spectrum) + 0.01))
        expected.append(row)
        if len(expected) == 3:
            break
    np.testing.assert_allclose(sound.log_mel(x)[:3], expected, atol=1e-5)


def test_patch_and_statistics_of_sound():
    assert sound.patch(tone(PATCH)).shape == (96, 64)
    encoder = sound.LogMel()
    kinds = tone(PATCH), 0.1 * tone(PATCH), np.zeros(round(PATCH * RATE), np.float32)
    of = lambda x: encoder.encode(Unit(0, 0, 1, np.zeros((1, 2, 2, 3), np.uint8), None, x))
    loud, quiet, silent = map(of, kinds)
    # loudness is no feature, and a silent track is no sound
    assert loud.shape == (encoder.width,) and silent is None and of(None) is None
    np.testing.assert_allclose(loud, quiet, atol=1e-4)
    assert np.abs(of(np.random.default_rng(0).normal(size=len(kinds[0])) * 0.1) - loud).max() > 1


def test_models_of_earlier_versions_get_their_features():
    stated = {"name": "audio", "settings": {}, "version": 1}
    first = open_encoder("audio", **settings_of("audio", stated))
    assert (first.version, first.width, first.settings) == (1, 64, {})
    made = feature_files.describe_encoder(first)
    assert made["id"] == "7b67b1c8139d5c54"  # as version 0.1 wrote it
    of = lambda e, x: e.encode(Unit(0, 0, 1, np.zeros((1, 2, 2, 3), np.uint8), None, x))
    silent = of(first, np.zeros(round(PATCH * RATE), np.float32))
    np.testing.assert_allclose(
        silent[-4:], [np.log(0.01), 0, np.log(0.01), np.log(0.01)], atol=1e-5
    )
    now = settings_of("audio", {**stated, "version": 2})
    assert open_encoder("audio", **now).width == 62


# ---- the registry and its plugs


def test_names_and_settings():
    for name in DEFAULT:
        encoder = open_encoder(name)
        assert (
            encoder.modality == name
            and encoder.of("any") is encoder
            and json.dumps(encoder.settings)
        )
    for name, settings, message in (
        ("motoin", {}, "did you mean 'motion'"),
        ("vggish", {}, "needs a local file or folder: give path="),
        ("motion", {"speed": 3}, "settings speed do not fit"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_encoder(name, **settings)
    with pytest.raises(
        DataError, match="/nowhere.onnx: cannot be read .*expected VGGish's network"
    ):
        open_encoder("vggish", path="/nowhere.onnx")
    assert set(DEFAULT) < set(ENCODERS["units"])
    assert triple("0.5", (0, 0, 0)) == triple((0.5, 0.5, 0.5), (0, 0, 0)) == (0.5,) * 3 and triple(
        None, (1, 2, 3)
    ) == (1, 2, 3)
    with pytest.raises(ConfigError, match="one number or three"):
        triple("1/2", (0, 0, 0))


def onnx_file(path, shape, make):
    """A network written by hand: the mean over the last two axes, times a matrix."""
    onnx = pytest.importorskip(
        "onnx", reason="onnx is not installed (launch/requirements-encoders.txt)"
    )
    pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed (launch/requirements-encoders.txt)"
    )
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, out = make(helper)
    tensors = [numpy_helper.from_array(w, name) for name, w in weights.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def test_an_onnx_image_network(tmp_path):
    weights = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)

    def make(helper):
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["m", "w"], ["y"]),
        ]
        return nodes, {"w": weights}, [1, 5]

    path = onnx_file(tmp_path / "net.onnx", [1, 3, 32, 48], make)
    encoder = open_encoder("onnx", path=str(path), mean="0.5", std="0.25", modality="appearance")
    assert encoder.width == 5 and encoder.size == (32, 48) and encoder.modality == "appearance"
    frame = np.full((20, 30, 3), (255, 0, 51), np.uint8)
    np.testing.assert_allclose(
        encoder.encode(unit([frame] * 3)),
        ((np.array([1, 0, 0.2]) - 0.5) / 0.25) @ weights,
        rtol=1e-4,
    )
    again = open_encoder(
        "onnx",
        **settings_of(
            "appearance", {"name": "onnx", "settings": json.loads(json.dumps(encoder.settings))}
        ),
    )
    assert again.settings == encoder.settings
    (tmp_path / "bad.onnx").write_text("no network")
    with pytest.raises(DataError, match="bad.onnx: not a usable ONNX file"):
        open_encoder("onnx", path=str(tmp_path / "bad.onnx"))


def test_vggish_by_its_file(tmp_path):
    weights = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)

    def make(helper):
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["m", "w"], ["y"]),
        ]
        return nodes, {"w": weights}, [1, 128]

    encoder = open_encoder(
        "vggish", path=str(onnx_file(tmp_path / "vggish.onnx", [1, 1, 96, 64], make))
    )
    samples = tone(PATCH)
    found = encoder.encode(Unit(0, 0, 1, np.zeros((1, 2, 2, 3), np.uint8), None, samples))
    np.testing.assert_allclose(found, sound.patch(samples).mean(0) @ weights, rtol=1e-3, atol=1e-3)
    assert (
        encoder.encode(Unit(0, 0, 1, np.zeros((1, 2, 2, 3), np.uint8), None, None)) is None
        and encoder.settings["sha256"]
    )


def test_objects_are_counted():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 15, 10], [0, 0, 20, 20]], np.float64)
    found = object_statistics(
        np.array([1, 1, 0]), np.array([0.6, 0.9, 0.7]), boxes, 3, (20, 20)
    ).reshape(3, 3)
    np.testing.assert_allclose(
        found, [[np.log(2), np.log(3), 0], [1.0, 150 / 400, 0], [0.7, 0.9, 0]], rtol=1e-6
    )
    assert not object_statistics(np.zeros(0, int), np.zeros(0), np.zeros((0, 4)), 3, (20, 20)).any()


def test_descriptions_of_units(tmp_path):
    path = tmp_path / "captions.jsonl"
    rows = [
        {"video": "a", "frame": 3, "text": "a man walks"},
        {"video": "a", "start": 18, "end": 20, "text": "he runs"},
        {"video": "b", "frame": 1, "text": "nothing"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    encoder = open_encoder("text", path=str(path), encoder="hash")
    bound = encoder.of("a")
    assert [bound.said(t) for t in (0, 2, 16, 17, 30)] == [
        None,
        "a man walks",
        "a man walks",
        "he runs",
        "he runs",
    ]
    frames = np.zeros((16, 2, 2, 3), np.uint8)
    first, second = (bound.encode(Unit(i, 0, 1, frames, None, None)) for i in range(2))
    walks, runs = np.asarray(open_sentences("hash").encode(["a man walks", "he runs"]))
    # frames before the first sentence have none
    np.testing.assert_allclose(first, walks, atol=1e-6)
    np.testing.assert_allclose(second, (walks + 15 * runs) / 16, atol=1e-6)
    assert encoder.of("unknown").encode(Unit(0, 0, 1, frames, None, None)) is None
    with pytest.raises(ConfigError, match="sentence encoder 'bert'"):
        open_encoder("text", path=str(path), encoder="bert")
    with pytest.raises(DataError, match="a folder without config.json"):
        open_encoder("text", path=str(tmp_path))


def test_a_local_detector_and_vision_transformer(tmp_path):
    """Tiny models with random weights, saved to disk: `objects` and `transformers` read them
    from there."""
    pytest.importorskip("torch", reason="torch is not installed (launch/requirements-encoders.txt)")
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (launch/requirements-encoders.txt)"
    )
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    config = transformers.YolosConfig(
        **small,
        image_size=[32, 32],
        patch_size=16,
        num_detection_tokens=4,
        id2label={0: "person", 1: "car"},
    )
    transformers.YolosForObjectDetection(config).save_pretrained(tmp_path / "detector")
    transformers.YolosImageProcessor(size={"height": 32, "width": 32}).save_pretrained(
        tmp_path / "detector"
    )
    encoder = open_encoder("objects", path=str(tmp_path / "detector"))
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    found = encoder.encode(unit(frames))
    assert (
        found.shape == (encoder.width,) == (6,)
        and np.isfinite(found).all()
        and encoder.settings["sha256"]
    )
    transformers.ViTModel(
        transformers.ViTConfig(**small, image_size=32, patch_size=16)
    ).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(
        tmp_path / "vit"
    )
    encoder = open_encoder("transformers", path=str(tmp_path / "vit"))
    assert encoder.encode(unit(frames)).shape == (encoder.width,) == (16,)
    with pytest.raises(DataError, match="no id2label|config.json"):
        open_encoder("objects", path=str(tmp_path))
