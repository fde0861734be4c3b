"""Frozen vision encoders: tokens against the model called directly, preprocessing against the
model's own, folders that cannot work, the cache."""

import json

import numpy as np
import pytest
from vision_models import (  # noqa: F401
    PROCESSOR,
    SMALL,
    cut,
    libraries,
    random_frames,
    save_model,
)

from gfvad.base.types import ConfigError, DataError
from gfvad.encoders import model_folder
from gfvad.encoders.registry import open_vision


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
            ConfigError,
            match="expected 'transformers:FOLDER', 'states:FOLDER', 'tokens:FOLDER' or 'patches'",
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


@pytest.mark.parametrize("kind", ["vit", "internvit"])
def test_states_are_the_last_and_the_first_hidden_ones(tmp_path, libraries, kind):
    """With the class token; what the embedding layer gives stands behind."""
    torch = libraries[0]
    model = save_model(tmp_path, libraries, kind)
    encoder = open_vision(f"states:{tmp_path}", batch=2, device="cpu")
    frames = random_frames(3, 32, 32, 3)
    states = encoder.encode(frames)
    assert encoder.grid == (2, 17) and states.shape == (3, 34, 32)
    mean, deviation = (np.array(PROCESSOR[name]) for name in ("image_mean", "image_std"))
    pixels = torch.tensor((frames / 255 - mean) / deviation).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        last = model(pixel_values=pixels).last_hidden_state
        first = model.embeddings(pixels)
    first = first[0] if isinstance(first, tuple) else first
    np.testing.assert_allclose(states[:, :17], last, atol=2e-5)
    np.testing.assert_allclose(states[:, 17:], first, atol=2e-5)
    patches = open_vision(f"transformers:{tmp_path}", device="cpu")
    np.testing.assert_allclose(states[:, 1:17], patches.encode(frames), atol=2e-5)
    assert encoder.fingerprint != patches.fingerprint


def test_states_need_a_class_token_and_nothing_else(tmp_path, libraries):
    save_model(tmp_path, libraries, "registers")
    with pytest.raises(DataError, match="a class token and the patches"):
        open_vision(f"states:{tmp_path}", device="cpu").encode(random_frames(1, 32, 32, 3))
