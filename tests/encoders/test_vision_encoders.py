"""Frozen vision encoders: tokens against the model called directly, preprocessing against the
model's own, folders that cannot work, the cache."""

import importlib.util
import json
import shutil

import numpy as np
import pytest

from gfvad.base.types import ConfigError, DataError
from gfvad.data import prepared_folder
from gfvad.data.frames.tokens import open_tokens
from gfvad.encoders import model_folder
from gfvad.encoders.registry import INSTALL, open_vision
from gfvad.encoders.token_folder import TokenFolder

NAMES, LENGTHS = ("a", "b/c", "d"), (5, 70, 3)
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
PROCESSOR = {
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.25],
    "size": {"height": 32, "width": 32},
    "resample": 3,
}


@pytest.fixture(scope="module")
def libraries():
    """(torch, transformers); skipped where these optional packages are not installed."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"optional package {package} is not installed: {INSTALL}")
    import torch
    import transformers

    return torch, transformers


def save_model(folder, libraries, kind, **changes):
    """A tiny randomly initialised model in a folder, and the part of it that gives tokens."""
    torch, transformers = libraries
    torch.manual_seed(0)
    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": 50,
    }
    settings = {**SMALL, **changes}
    squares = {**settings, "image_size": [32, 32], "patch_size": [8, 8]}
    config = {
        "vit": lambda: transformers.ViTConfig(**settings),
        "clip_vision": lambda: transformers.CLIPVisionConfig(**settings),
        "clip": lambda: transformers.CLIPConfig(vision_config=settings, text_config=text),
        "dinov2": lambda: transformers.Dinov2Config(**settings),
        "registers": lambda: transformers.Dinov2WithRegistersConfig(
            **settings, num_register_tokens=4
        ),
        "siglip": lambda: transformers.SiglipVisionConfig(**settings),
        "internvit": lambda: transformers.InternVLVisionConfig(**squares),
        "internvl": lambda: transformers.InternVLConfig(
            vision_config=squares,
            text_config={**text, "model_type": "qwen2", "num_key_value_heads": 4},
        ),
    }[kind]()
    model = transformers.AutoModel.from_config(config).eval()
    for parameter in model.parameters():  # some start at zero, which would hide mistakes
        parameter.data = parameter.data + 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    tower = {"clip": "vision_model", "internvl": "vision_tower"}.get(kind)
    return getattr(model, tower) if tower else model


def write_folder(folder, *, config=None, processor=PROCESSOR, tensors=None):
    """A model folder that passes every check made without torch."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "vit", **SMALL} if config is None else config)
    )
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    write_safetensors(folder / "model.safetensors", tensors or {"x": np.zeros(3, np.float32)})
    return folder


def write_safetensors(path, tensors):
    """The format from its definition: length of the header, header, numbers."""
    header, body = {}, b""
    for name, value in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(value.shape),
            "data_offsets": [len(body), len(body) + value.nbytes],
        }
        body += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def random_frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class FakeEncoder:
    """Mean colour of each cell of a 2 x 3 grid, and what it was asked."""

    name, width, grid = "fake", 3, (2, 3)

    def __init__(self, fingerprint="one", fail_after=None):
        self.fingerprint, self.fail_after, self.frames = fingerprint, fail_after, 0

    def encode(self, frames):
        if self.fail_after is not None and self.frames + len(frames) > self.fail_after:
            raise KeyboardInterrupt
        self.frames += len(frames)
        n, h, w, _ = frames.shape
        return (
            frames.reshape(n, 2, h // 2, 3, w // 3, 3)
            .mean((2, 4), dtype=np.float32)
            .reshape(n, 6, 3)
        )


class Store:
    """Frames as the real store gives them."""

    def __init__(self, fingerprint="frames", channels=3, lengths=LENGTHS, seed=0):
        self.videos = [
            random_frames(n, 4, 6, channels, seed=seed + i) for i, n in enumerate(lengths)
        ]
        if fingerprint is not None:
            self.fingerprint = fingerprint

    def video(self, i):
        return self.videos[i]


def tokens_of(tmp_path, encoder=None, frames=None, **more):
    return open_tokens(
        encoder or FakeEncoder(), frames or Store(), NAMES, LENGTHS, tmp_path, **more
    )


# ---- a model through the plug


@pytest.mark.parametrize(
    "kind", ["vit", "clip_vision", "clip", "dinov2", "registers", "siglip", "internvit", "internvl"]
)
def test_tokens_are_the_models(tmp_path, libraries, kind):
    torch = libraries[0]
    model = save_model(tmp_path, libraries, kind)
    encoder = open_vision(f"transformers:{tmp_path}", batch=2, device="cpu")
    frames = random_frames(5, 32, 32, 3)
    tokens = encoder.encode(frames)
    assert (encoder.width, encoder.grid, tokens.shape, tokens.dtype) == (
        32,
        (4, 4),
        (5, 16, 32),
        np.float32,
    )
    pixels = (frames / 255 - PROCESSOR["image_mean"]) / PROCESSOR["image_std"]
    with torch.inference_mode():
        states = model(
            pixel_values=torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float()
        ).last_hidden_state
    before = {"siglip": 0, "registers": 5}.get(kind, 1)
    np.testing.assert_allclose(tokens, states[:, before:].numpy(), atol=1e-5)
    assert np.abs(tokens[0] - tokens[1]).max() > 0.01


def test_tokens_stand_where_their_patches_do(tmp_path, libraries):
    """Row by row: where one patch of a frame changes, its own token changes most."""
    save_model(tmp_path, libraries, "vit")
    encoder = open_vision(f"transformers:{tmp_path}", device="cpu")
    frames = np.repeat(random_frames(1, 32, 32, 3), 2, axis=0)
    frames[1, 8:16, 16:24] ^= 255  # row 1, column 2 of the grid
    one, other = encoder.encode(frames)
    assert np.abs(one - other).max(1).argmax() == 1 * 4 + 2


def test_preprocessing_is_the_processors_without_its_crop(tmp_path, libraries):
    """Against the library's own image processor (PIL, rounds to whole levels) told to resize to
    the whole square."""
    torch, transformers = libraries
    save_model(tmp_path, libraries, "vit")
    for resample, mode in ((2, "bilinear"), (3, "bicubic")):
        rule = {
            **PROCESSOR,
            "resample": resample,
            "image_processor_type": "ViTImageProcessor",
            "do_rescale": True,
            "do_normalize": True,
            "do_resize": True,
        }
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(rule))
        encoder = open_vision(f"transformers:{tmp_path}", device="cpu")
        assert encoder.preprocessing == model_folder.Preprocessing(
            (32, 32), mode, pytest.approx(1 / 255), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
        )
        frames = random_frames(2, 90, 120, 3)
        ours = encoder._pixels(torch, torch.from_numpy(frames)).numpy()
        theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)(
            list(frames), return_tensors="np"
        )["pixel_values"]
        levels = np.abs(ours - theirs) * 255 * np.array(PROCESSOR["image_std"]).reshape(3, 1, 1)
        assert levels.max() < 1.5 and levels.mean() < 0.5


def test_another_size_gives_another_grid(tmp_path, libraries):
    for kind in ("vit", "clip_vision", "dinov2"):
        save_model(tmp_path / kind, libraries, kind)
        encoder = open_vision(f"transformers:{tmp_path / kind}", size=(32, 48), device="cpu")
        assert encoder.grid == (4, 6) and encoder.encode(random_frames(1, 20, 30, 3)).shape == (
            1,
            24,
            32,
        )


def test_weights_that_lack_tensors_are_not_filled_with_random_numbers(tmp_path, libraries):
    from safetensors.numpy import load_file, save_file

    save_model(tmp_path, libraries, "vit")
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "pooler" not in name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    # the pooler is not needed
    open_vision(f"transformers:{tmp_path}").encode(random_frames(1, 32, 32, 3))
    save_file(
        {name: value for name, value in weights.items() if "position" not in name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(DataError, match="lack 1 tensors of ViTModel, e.g. .*position.*fetch"):
        open_vision(f"transformers:{tmp_path}").encode(random_frames(1, 32, 32, 3))


def test_corrupt_inside_and_unknown_models(tmp_path, libraries):
    save_model(tmp_path / "vit", libraries, "vit")
    path = tmp_path / "vit" / "model.safetensors"
    content = bytearray(path.read_bytes())
    at = content.index(b'"F32"')
    content[at : at + 5] = b'"Q99"'  # a whole header with a type that does not exist
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot load it .*fetch"):
        open_vision(f"transformers:{tmp_path / 'vit'}").encode(random_frames(1, 32, 32, 3))
    write_folder(tmp_path / "unknown", config={"model_type": "never_heard_of", **SMALL})
    with pytest.raises(DataError, match="cannot load it"):
        open_vision(f"transformers:{tmp_path / 'unknown'}").encode(random_frames(1, 32, 32, 3))


def test_a_model_without_patch_tokens(tmp_path, libraries):
    _, transformers = libraries
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=4
    )
    transformers.SwinModel(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    with pytest.raises(
        DataError, match=r"SwinModel gives \[1, 16, 16\], expected \[n, 64 patch tokens"
    ):
        open_vision(f"transformers:{tmp_path}").encode(random_frames(1, 32, 32, 3))


# As published code is (InternViT's): made for transformers 4, it reads numbers while it is built
# and leaves out post_init.
CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

class OwnConfig(PretrainedConfig):
    model_type = "own_vit"

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        rates = [x.item() for x in torch.linspace(0, 0.1, 2)]
        self.embed = torch.nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
    def forward(self, pixel_values):
        units = self.embed(pixel_values).flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=units)
"""


def test_code_of_the_folder_runs_only_when_trusted(tmp_path, libraries, monkeypatch):
    config = {
        "model_type": "own_vit",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"},
        **SMALL,
    }
    weight, bias = (
        np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32),
        np.zeros(32, np.float32),
    )
    folder = write_folder(
        tmp_path / "own", config=config, tensors={"embed.weight": weight, "embed.bias": bias}
    )
    (folder / "own.py").write_text(CODE)
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    with pytest.raises(ConfigError, match="trust"):
        open_vision(f"transformers:{folder}")
    frames = random_frames(1, 32, 32, 3)
    encoder = open_vision(f"transformers:{folder}", trust=True, device="cpu")
    before = encoder.fingerprint
    pixels = (frames[0, :8, 8:16] / 255 - PROCESSOR["image_mean"]) / PROCESSOR["image_std"]
    np.testing.assert_allclose(
        encoder.encode(frames)[0, 1], np.einsum("ochw,hwc->o", weight, pixels), atol=1e-3
    )
    (folder / "own.py").write_text(CODE + "# changed\n")
    assert open_vision(f"transformers:{folder}", trust=True).fingerprint != before


# ---- folders and settings, without torch


def test_specs(tmp_path):
    assert open_vision("patches") is None
    for spec in ("", "vit", "patches:x", "hub:google/vit", "transformers:"):
        with pytest.raises(
            ConfigError, match="expected 'transformers:FOLDER', 'tokens:FOLDER' or 'patches'"
        ):
            open_vision(spec)
    for kind in ("transformers", "tokens"):
        with pytest.raises(DataError, match="found nothing at .*, expected a folder: "):
            open_vision(f"{kind}:{tmp_path / 'none'}")


def test_a_folder_says_what_it_is_without_torch(tmp_path):
    encoder = open_vision(f"transformers:{write_folder(tmp_path / 'vit')}")
    assert (encoder.name, encoder.width, encoder.grid) == ("vit", 32, (4, 4))
    # defaults that config.json leaves out, and a size in the processor
    bare = {"model_type": "clip", "vision_config": {"model_type": "clip_vision_model"}}
    processor = {
        **PROCESSOR,
        "size": {"shortest_edge": 224},
        "crop_size": {"height": 224, "width": 224},
    }
    folder = write_folder(tmp_path / "clip", config=bare, processor={"image_processor": processor})
    encoder = open_vision(f"transformers:{folder}")
    assert (encoder.width, encoder.grid) == (768, (7, 7))


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    encoder = open_vision(f"transformers:{write_folder(tmp_path)}")
    with pytest.raises(DataError, match="package torch not found: run .*requirements-encoders.txt"):
        encoder.encode(random_frames(1, 32, 32, 3))


def broken(name, change, match, error=DataError, **options):
    return pytest.param(change, match, error, options, id=name)


@pytest.mark.parametrize(
    "change, match, error, options",
    [
        broken(
            "empty", lambda f: [p.unlink() for p in f.iterdir()], r"config.json: not found: fetch"
        ),
        broken(
            "config",
            lambda f: (f / "config.json").write_text("{"),
            "config.json, line 1, column 2: not usable JSON",
        ),
        broken(
            "list",
            lambda f: (f / "config.json").write_text("[]"),
            "a JSON list; expected an object",
        ),
        broken(
            "no weights",
            lambda f: (f / "model.safetensors").unlink(),
            r"weights model.safetensors not found \(found config.json, .*fetch",
        ),
        broken(
            "pickle",
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "pickled weights are not loaded",
        ),
        broken(
            "truncated",
            lambda f: cut(f / "model.safetensors"),
            r"found .* bytes, expected .* by its header",
        ),
        broken(
            "pointer",
            lambda f: (f / "model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1"
            ),
            "Git LFS pointer",
        ),
        broken(
            "nothing",
            lambda f: (f / "model.safetensors").write_bytes(b""),
            "0 bytes without a safetensors header",
        ),
        broken("shard", lambda f: shard(f), "weights model-2.safetensors not found"),
        broken(
            "processor",
            lambda f: (f / "preprocessor_config.json").unlink(),
            "preprocessor_config.json: not found: fetch",
        ),
        broken(
            "mean",
            lambda f: write_folder(f, processor={"image_std": [1, 1, 1]}),
            "image_mean is None",
        ),
        broken(
            "deviation",
            lambda f: write_folder(f, processor={**PROCESSOR, "image_std": [1, 0, 1]}),
            "image_std is .* above 0",
        ),
        broken(
            "text model",
            lambda f: write_folder(f, config={"model_type": "bert", "hidden_size": 8}),
            "without a usable patch_size and image_size",
        ),
        broken("size", lambda f: None, "do not divide into patches of 8 x 8", ConfigError, size=20),
        broken("size type", lambda f: None, "size 'big', expected pixels", ConfigError, size="big"),
        broken("batch", lambda f: None, "batch is 0", ConfigError, batch=0),
        broken(
            "remote",
            lambda f: write_folder(f, config=REMOTE),
            "runs code_vit.py from that folder",
            ConfigError,
        ),
        broken(
            "remote file",
            lambda f: write_folder(f, config=REMOTE),
            "code_vit.py not found",
            trust=True,
        ),
    ],
)
def test_folders_that_cannot_work(tmp_path, change, match, error, options):
    folder = write_folder(tmp_path / "model")
    change(folder)
    with pytest.raises(error, match=match):
        open_vision(f"transformers:{folder}", **options)


REMOTE = {
    "model_type": "intern_vit_6b",
    "auto_map": {"AutoModel": "code_vit.InternVisionModel"},
    **SMALL,
}


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def shard(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}})
    )


def test_fingerprint_follows_weights_and_settings(tmp_path):
    def fingerprint(**options):
        return open_vision(f"transformers:{tmp_path}", **options).fingerprint

    first = {write_folder(tmp_path) and fingerprint()}
    assert first == {fingerprint(batch=3)}  # neither the batch nor the device changes a token
    others = [fingerprint(size=64)]
    write_folder(tmp_path, tensors={"x": np.ones(3, np.float32)})
    others.append(fingerprint())
    write_folder(tmp_path, processor={**PROCESSOR, "resample": 2})
    others.append(fingerprint())
    write_folder(tmp_path, config={"model_type": "vit", **SMALL, "layer_norm_eps": 1e-3})
    others.append(fingerprint())
    assert len(first | set(others)) == 5


# ---- the cache


def test_tokens_are_computed_once(tmp_path):
    encoder, lines = FakeEncoder(), []
    store = tokens_of(tmp_path, encoder, say=lines.append)
    assert (
        store.offsets.tolist() == [0, 5, 75]
        and store.lengths.tolist() == [5, 70, 3]
        and store.total == 78
        and store.grid == (2, 3)
        and store.width == 3
        and encoder.frames == 78
    )
    for i, video in enumerate(Store().videos):
        assert store.video(i).dtype == np.float16 and store.video(i).shape == (LENGTHS[i], 6, 3)
        np.testing.assert_array_equal(
            store.video(i), FakeEncoder().encode(video).astype(np.float16)
        )
    assert len(lines) == 1 and "fake, 3 videos, 78 frames" in lines[0]
    np.testing.assert_array_equal(store.clip(1, [69, 0, 0]), store.video(1)[[69, 0, 0]])
    for outside in ([70], [-1]):
        with pytest.raises(IndexError, match="of a video of 70 frames"):
            store.clip(1, outside)
    again = FakeEncoder(fail_after=0)
    np.testing.assert_array_equal(tokens_of(tmp_path, again).video(1), store.video(1))
    assert [p.name for p in (tmp_path / "tokens").iterdir() if not p.name.startswith(".")] == [
        f"fake-{store.fingerprint[:16]}"
    ]


def test_progress_counts_frames(tmp_path, capsys):
    open_tokens(FakeEncoder(), Store(), NAMES, LENGTHS, tmp_path)
    assert "tokens (fake): 78 frames in" in capsys.readouterr().err


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_run_goes_on(tmp_path, torn):
    with pytest.raises(KeyboardInterrupt):
        tokens_of(tmp_path, FakeEncoder(fail_after=75))
    (partial,) = (tmp_path / "tokens").glob(".fake-*.partial")
    assert not list((tmp_path / "tokens").glob("fake-*"))  # absent, not half
    if torn:
        with open(partial / "done.txt", "a") as file:
            file.write("2")  # killed within the line of the third video
    encoder, lines = FakeEncoder(), []
    store = tokens_of(tmp_path, encoder, say=lines.append)
    assert encoder.frames == 3 and "going on with video 3" in lines[0] and not partial.exists()
    for i, video in enumerate(Store().videos):
        np.testing.assert_array_equal(
            store.video(i), FakeEncoder().encode(video).astype(np.float16)
        )


def test_killed_before_the_last_step(tmp_path, monkeypatch):
    """All tokens are there, the rename is not: the next run computes nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "gfvad.data.frames.tokens.os.rename",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            tokens_of(tmp_path)
    encoder = FakeEncoder()
    assert len(tokens_of(tmp_path, encoder)) == 3 and encoder.frames == 0
    prepared_folder.read(next((tmp_path / "tokens").glob("fake-*")))


def test_a_damaged_cache_is_computed_again(tmp_path):
    store = tokens_of(tmp_path)
    expected = [np.array(store.video(i)) for i in range(3)]
    cut(next((tmp_path / "tokens").glob("fake-*")) / "tokens.npy")
    encoder = FakeEncoder()
    again = tokens_of(tmp_path, encoder)
    assert encoder.frames == 78 and all(
        np.array_equal(again.video(i), expected[i]) for i in range(3)
    )


def test_cache_follows_encoder_frames_and_videos(tmp_path):
    open_one = lambda encoder="one", store=None, names=NAMES: (
        open_tokens(FakeEncoder(encoder), store or Store(), names, LENGTHS, tmp_path).fingerprint
    )
    keys = [
        open_one(),
        open_one("two"),
        open_one(store=Store("others")),
        open_one(names=("x", "y", "z")),
    ]
    # hashed, where the store has no fingerprint
    keys += [open_one(store=Store(None)), open_one(store=Store(None, seed=9))]
    assert len(set(keys)) == 6 and open_one(store=Store(None)) == keys[4]


def test_grey_frames_become_three_equal_channels(tmp_path):
    grey = Store("grey", channels=1)
    tokens = tokens_of(tmp_path, frames=grey).video(0)
    np.testing.assert_array_equal(
        tokens, FakeEncoder().encode(np.repeat(grey.video(0), 3, -1)).astype(np.float16)
    )


@pytest.mark.parametrize(
    "value, match",
    [
        (np.nan, "tokens up to NaN, expected finite float16"),
        (1e6, r"tokens up to 1e\+06, expected finite"),
        (None, r"tokens \[5, 6\], expected \[5, 6, 3\]"),
    ],
)
def test_tokens_that_float16_cannot_hold(tmp_path, value, match):
    class Bad(FakeEncoder):
        def encode(self, frames):
            return (
                np.zeros((len(frames), 6))
                if value is None
                else np.full((len(frames), 6, 3), value, np.float32)
            )

    with pytest.raises(DataError, match=f"fake: video 'a', frames from 0: {match}"):
        tokens_of(tmp_path, Bad())


def test_frames_that_do_not_fit(tmp_path):
    with pytest.raises(
        DataError,
        match=r"video 'a': frames uint8 \[4, 4, 6, 3\], expected uint8 \[5, h, w, 1 or 3\]",
    ):
        tokens_of(tmp_path, frames=Store(lengths=(4, 70, 3)))
    with pytest.raises(DataError, match=r"2 names and 3 lengths"):
        open_tokens(FakeEncoder(), Store(), NAMES[:2], LENGTHS, tmp_path)
    with pytest.raises(ConfigError, match="needs the frames"):
        open_tokens(FakeEncoder(), None, NAMES, LENGTHS, tmp_path)
    with pytest.raises(ConfigError, match="trained in the model"):
        open_tokens(open_vision("patches"), Store(), NAMES, LENGTHS, tmp_path)


def test_a_cache_of_nowhere_and_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to .*data.cache_dir"):
        tokens_of(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(
            "gfvad.data.prepared_folder.shutil.disk_usage",
            lambda _: shutil._ntuple_diskusage(1, 1, 0),
        )
        with pytest.raises(DataError, match="GB free, .* GB needed"):
            tokens_of(tmp_path)


def test_a_real_model_fills_the_cache(tmp_path, libraries):
    save_model(tmp_path / "vit", libraries, "vit")
    encoder = open_vision(f"transformers:{tmp_path / 'vit'}", device="cpu")
    store = open_tokens(encoder, Store(), NAMES, LENGTHS, tmp_path / "cache")
    np.testing.assert_array_equal(
        store.video(2), encoder.encode(Store().video(2)).astype(np.float16)
    )
    unloaded = open_vision(f"transformers:{tmp_path / 'vit'}")
    open_tokens(unloaded, Store(), NAMES, LENGTHS, tmp_path / "cache")
    assert "_model" not in vars(unloaded)  # a finished cache needs no torch


# ---- tokens made elsewhere


def token_folder(folder, length=6, dtype=np.float32, grid=(2, 3)):
    for i, (name, frames) in enumerate(zip(NAMES, LENGTHS)):
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(i).normal(size=(frames, length, 4)).astype(dtype))
    if grid:
        (folder / "grid.json").write_text(json.dumps({"grid": grid}))
    return folder


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_token_folder(tmp_path, dtype):
    encoder = open_vision(f"tokens:{token_folder(tmp_path / 'in', dtype=dtype)}")
    assert isinstance(encoder, TokenFolder) and (encoder.width, encoder.grid) == (4, (2, 3))
    lines = []
    store = open_tokens(encoder, None, NAMES, LENGTHS, tmp_path / "cache", lines.append)
    assert [store.video(i).shape for i in range(3)] == [
        (n, 6, 4) for n in LENGTHS
    ] and store.total == 78
    np.testing.assert_array_equal(store.video(1), np.load(tmp_path / "in" / "b/c.npy"))
    assert len(lines) == 1
    open_tokens(encoder, None, NAMES, LENGTHS, tmp_path / "cache", lines.append)
    assert len(lines) == 1  # values are read once
    with pytest.raises(ConfigError, match="cannot encode other frames"):
        encoder.encode(random_frames(1, 4, 6, 3))
    np.save(tmp_path / "in" / "a.npy", np.ones((5, 6, 4), dtype))
    assert open_vision(f"tokens:{tmp_path / 'in'}").fingerprint != encoder.fingerprint


def test_a_square_needs_no_grid_file(tmp_path):
    assert open_vision(f"tokens:{token_folder(tmp_path, 9, grid=None)}").grid == (3, 3)


def spoil(name, change, match):
    return pytest.param(change, match, id=name)


@pytest.mark.parametrize(
    "change, match",
    [
        spoil(
            "wrong T",
            lambda f: np.save(f / "d.npy", np.zeros((4, 6, 4), np.float32)),
            r"d.npy: tokens \[4, 6, 4\], expected \[3, 6, 4\] \(one row a frame\)",
        ),
        spoil(
            "wrong D",
            lambda f: np.save(f / "d.npy", np.zeros((3, 6, 5), np.float32)),
            r"expected \[3, 6, 4\] \(L and D",
        ),
        spoil(
            "wrong rank",
            lambda f: np.save(f / "d.npy", np.zeros((3, 4), np.float32)),
            r"d.npy: float32 \[3, 4\], expected float16 or float32 tokens",
        ),
        spoil(
            "integers",
            lambda f: np.save(f / "a.npy", np.zeros((5, 6, 4), int)),
            r"a.npy: int64 \[5, 6, 4\], expected float16 or float32",
        ),
        spoil("doubles", lambda f: np.save(f / "b/c.npy", np.zeros((70, 6, 4))), "c.npy: float64"),
        spoil(
            "NaN",
            lambda f: np.save(f / "b/c.npy", nan_at(66)),
            "c.npy: NaN or infinity in frame 66",
        ),
        spoil(
            "missing", lambda f: (f / "d.npy").unlink(), "1 of 3 videos have no tokens, e.g. d.npy"
        ),
        spoil("empty", lambda f: shutil.rmtree(f) or f.mkdir(), "found no .npy file"),
        spoil("no array", lambda f: (f / "a.npy").write_text("x"), "a.npy: unreadable"),
        spoil(
            "pickle",
            lambda f: np.save(f / "a.npy", np.array([{}]), allow_pickle=True),
            "a.npy: unreadable|a.npy: object",
        ),
        spoil(
            "grid",
            lambda f: (f / "grid.json").write_text('{"grid": [2, 2]}'),
            r"grid \[2, 2\], expected \[rows, columns\] with rows \* columns = 6",
        ),
        spoil(
            "no grid", lambda f: (f / "grid.json").unlink(), "L = 6 is no square: write .*grid.json"
        ),
    ],
)
def test_token_folders_that_do_not_fit(tmp_path, change, match):
    change(token_folder(tmp_path / "in"))
    with pytest.raises(DataError, match=match):
        open_tokens(
            open_vision(f"tokens:{tmp_path / 'in'}"),
            None,
            NAMES,
            LENGTHS,
            tmp_path / "cache",
        )


def nan_at(frame):
    tokens = np.zeros((70, 6, 4), np.float32)
    tokens[frame, 1, 2] = np.nan
    return tokens
