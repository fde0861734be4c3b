"""Small vision models written to disk, and random frames."""

import importlib.util
import json

import numpy as np
import pytest

from gfvad.encoders.registry import INSTALL

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


def random_frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])
