"""What the folder of a pretrained vision model says, read from its JSON files and the headers of
its weights: no torch, no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.files import read_json as read_object
from gfvad.base.files import require_regular
from gfvad.base.types import ConfigError, DataError

LONGEST_HEADER = 100 << 20  # bytes, of safetensors: as its own reader has it
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
# Model types of transformers that need no code from the folder -> (width, patch, image size) where
# config.json leaves out its defaults.
KNOWN = {
    "vit": (768, 16, 224),
    "deit": (768, 16, 224),
    "dinov2": (768, 14, 224),
    "dinov2_with_registers": (768, 14, 224),
    "clip": (768, 32, 224),
    "clip_vision_model": (768, 32, 224),
    "siglip": (768, 16, 224),
    "siglip_vision_model": (768, 16, 224),
    "internvl_vision": (1024, 14, 448),
}
FETCH = (
    f"fetch {CONFIG}, {PROCESSORS[0]} and {WEIGHTS} (or its shards and {INDEX}) of the model on a"
    " machine with access and put them there"
)


class Preprocessing(NamedTuple):
    """Frames -> model input: the WHOLE frame is resized (no crop, so that the grid covers it),
    clipped to 0..255, scaled, normalised.

    Resampling, scale, mean and deviation are the model's own, from its processor file; only its
    centre crop is not taken over.
    """

    size: tuple[int, int]  # rows, columns in pixels
    resample: str  # 'bilinear' or 'bicubic', antialiased
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def require_folder(folder: Path, kind: str, fetch: str) -> None:
    """Raises DataError that says what to fetch where there is no folder."""
    if not folder.is_dir():
        raise DataError(
            f"vision encoder '{kind}:{folder}': found {'a file' if folder.exists() else 'nothing'}"
            f" at {folder}, expected a folder: {fetch}"
        )


def read_json(path: Path, redo: str) -> dict:
    """A JSON object from a file; DataError that ends in `redo`."""
    if not path.exists():
        raise DataError(f"{path}: not found: {redo}")
    return read_object(path, f"an object of a model ({redo})", finite=False)


def remote_code(folder: Path, config: dict, trust: bool) -> bool:
    """Whether the model is built by Python files in its folder. ConfigError where that is not
    allowed, DataError where they are not there."""
    names = config.get("auto_map") or {}
    if "AutoModel" not in names or config.get("model_type") in KNOWN:
        return False
    modules = [name.split("--")[-1] for name in names.values() if isinstance(name, str)]
    files = sorted({f"{module.rpartition('.')[0]}.py" for module in modules})
    if not trust:
        raise ConfigError(
            f"{folder}: its model type {config.get('model_type')!r} runs {', '.join(files)} from"
            " that folder: read them, then set trust"
        )
    missing = [file for file in files if not (folder / file).is_file()]
    foreign = [name for name in names.values() if "--" in str(name)]
    if missing or foreign:
        found = f"{', '.join(missing)} not found"
        if not missing:
            found = f"auto_map names code of another repository ({foreign[0]})"
        raise DataError(
            f"{folder}: {found}, expected the model's code beside {CONFIG}: put it there, without"
            " 'REPOSITORY--' in auto_map"
        )
    return True


def pair(value: Any) -> tuple[int, int] | None:
    """(rows, columns) of the ways a size is written: n, [n, n], {"height": n, "width": n},
    {"shortest_edge": n}; None for anything else."""
    if isinstance(value, dict):
        sides = [value.get("height"), value.get("width")]
        value = sides if "height" in value else value.get("shortest_edge")
    both = list(value) if isinstance(value, (list, tuple)) else [value, value]
    usable = len(both) == 2 and all(type(n) is int and n > 0 for n in both)
    return (both[0], both[1]) if usable else None


def geometry(folder: Path, config: dict) -> tuple[dict, int, tuple[int, int], tuple[int, int]]:
    """(configuration of the part that sees, width, patch, image size) by config.json. DataError
    where the model has no patches."""
    vision = config["vision_config"] if isinstance(config.get("vision_config"), dict) else config
    names, kind = ("hidden_size", "patch_size", "image_size"), config.get("model_type")
    known = dict(zip(names, KNOWN.get(str(vision.get("model_type", kind)), ())))
    width, *sizes = (vision.get(name, known.get(name)) for name in names)
    patch, image = map(pair, sizes)
    if type(width) is not int or patch is None or image is None:
        lacking = [name for name, x in zip(names, (width, patch, image)) if not x]
        found = f"model type {kind!r} without a usable {' and '.join(lacking)}"
        raise DataError(
            f"{folder / CONFIG}: {found}, so it has no patch tokens: choose a vision transformer"
            " (ViT, CLIP, DINOv2, InternViT)"
        )
    return vision, width, patch, image


def preprocessing(
    folder: Path, size: int | tuple[int, int] | None, image: tuple[int, int]
) -> Preprocessing:
    """The rule of the processor file. Size: the argument, else the processor's crop or size,
    else the model's image size."""
    paths = [folder / name for name in PROCESSORS]
    path = next((path for path in paths if path.is_file()), paths[0])
    content = read_json(path, FETCH)
    content = content.get("image_processor", content)
    stated = (content.get("crop_size"), content.get("size"), image) if size is None else (size,)
    target = next(filter(None, map(pair, stated)), None)
    if target is None:
        raise ConfigError(f"{folder}: size {size!r}, expected pixels or (rows, columns) of them")
    mean, deviation = content.get("image_mean"), content.get("image_std")
    if content.get("do_normalize", True) is False:
        mean, deviation = [0.0] * 3, [1.0] * 3
    for key, part in (("image_mean", mean), ("image_std", deviation)):
        usable = lambda v, key=key: isinstance(v, (int, float)) and (v > 0 or key == "image_mean")
        if not isinstance(part, list) or len(part) != 3 or not all(map(usable, part)):
            raise DataError(
                f"{path}: {key} is {part!r}, expected three numbers (red, green, blue; deviations"
                f" above 0): {FETCH}"
            )
    resample = "bilinear" if content.get("resample") == 2 else "bicubic"
    factor = float(content.get("rescale_factor") or 1 / 255)
    scale = factor if content.get("do_rescale", True) else 1.0
    return Preprocessing(target, resample, scale, tuple(mean), tuple(deviation))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, each whole by its header. DataError names what is
    missing, truncated or only a pointer."""
    files = [folder / WEIGHTS]
    if not files[0].is_file() and (folder / INDEX).is_file():
        shards = read_json(folder / INDEX, FETCH).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise DataError(
                f"{folder / INDEX}: no weight_map, expected the list of shards: {FETCH}"
            )
        files = [folder / str(name) for name in sorted(set(shards.values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        held = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        hint = "; pickled weights are not loaded, save them with save_pretrained"
        hint = hint if list(folder.glob("*.bin")) else ""
        raise DataError(f"{folder}: weights {missing[0]} not found (found {held}){hint}: {FETCH}")
    for file in files:
        size = require_regular(file, "weights")
        with open(file, "rb") as content:
            length = int.from_bytes(content.read(8), "little")
            try:
                if 8 + length > min(size, LONGEST_HEADER):
                    raise ValueError("no header")
                header = json.loads(content.read(length))
                header.pop("__metadata__", None)
                end = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
                raise DataError(
                    f"{file}: {size:,} bytes without a safetensors header (a cut download or a Git"
                    " LFS pointer?): fetch it again"
                ) from None
        if end != size:
            raise DataError(
                f"{file}: found {size:,} bytes, expected {end:,} by its header (a cut download?):"
                " fetch it again"
            )
    return files
