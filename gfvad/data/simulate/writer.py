"""Writes the simulated set as a folder in XD-Violence's own layout (docs/simulated.md), complete or
not at all.

Beside the published files: captions.json (format of `gfvad/data/text.py`), simulated.json
(manifest) and simulated.npz (the true model and the hidden states, for `bayes.py` and for looking
at; no reader of features opens it).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import read_json
from gfvad.base.progress import Progress
from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError
from gfvad.data import prepared_folder
from gfvad.data.ground_truth import SNIPPET
from gfvad.data.simulate import process, sentences
from gfvad.data.simulate.generator import (
    AUDIO_DIM,
    RGB_DIM,
    SPLITS,
    Sample,
    World,
    draw_scenarios,
    make_world,
    simulate,
    video_stream,
)
from gfvad.data.simulate.process import Settings
from gfvad.measure.frames import spans_of
from gfvad.settings.config import check_values

VERSION = 3  # of the generator: raise it whenever the same seed gives other numbers
MANIFEST, TRUTH = "simulated.json", "simulated.npz"
NOTICE = (
    "SIMULATED data in the layout of XD-Violence: drawn from a random process, not measured on"
    " video. See docs/simulated.md."
)
FPS = 24.0  # of XD-Violence
RGB_FOLDERS = {"train": "i3d-features/RGB", "test": "i3d-features/RGBTest"}
AUDIO_FOLDERS = {"train": "vggish-features/train", "test": "vggish-features/test"}
CODES = {  # cover and its member -> XD's code of a class; relation and unseen events have one each
    (process.ABNORMAL_VISUAL, 0): "B1",
    (process.ABNORMAL_VISUAL, 1): "B4",
    (process.ABNORMAL_AUDIO, 0): "B2",
    (process.ABNORMAL_AUDIO, 1): "G",
    (process.UNSEEN, 0): "B6",
}
RELATION_CODE = "B5"


class Written(NamedTuple):
    """What the text files say of a video that has been written."""

    name: str
    frames: int  # n, as XD counts them: ((n - 1) // 16) * 16 have a label
    spans: np.ndarray  # int [S, 2] abnormal frames, half-open
    sample: Sample
    sentences: list[tuple[int, int, str]]


DEFAULTS = Settings()


def simulated_folder(root: str | os.PathLike, cfg, settings: Settings = DEFAULTS) -> Path:
    """The folder below `root` that holds the simulated set of `cfg` (config.data.simulated:
    train_videos, test_videos, seed, crops).

    Written where it is not there or not complete; the same arguments always give the same bytes.
    Raises ConfigError for impossible numbers, DataError where the disk is full or the folder is in
    use by something else.
    """
    identity = identity_of(cfg, settings)
    videos = f"{cfg.train_videos}+{cfg.test_videos}-crops{cfg.crops}"
    folder = Path(root) / f"xd_violence-simulated-v{VERSION}-seed{cfg.seed}-{videos}"
    if settings != Settings():
        folder = folder.with_name(f"{folder.name}-{lines_hash([json.dumps(identity)])[:8]}")
    if is_complete(folder, identity):
        return folder
    with prepared_folder.locked(folder):
        if is_complete(folder, identity):  # another process wrote it meanwhile
            return folder
        if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
            raise DataError(
                f"{folder} holds files but no {MANIFEST}; expected nothing or an earlier simulated"
                " set. Choose another folder or delete it"
            )
        if (folder / MANIFEST).is_file():
            content = read_manifest(folder)
            if "generator_version" not in content:
                raise DataError(
                    f"{folder / MANIFEST}: not the manifest of a simulated set; expected nothing or"
                    " an earlier one. Choose another folder or delete it"
                )
            prepared_folder.require_own(folder, {*content.get("files", {}), MANIFEST})
        units = (cfg.train_videos + cfg.test_videos) * (settings.shortest + settings.longest) // 2
        with prepared_folder.replacing(folder) as partial:
            prepared_folder.require_space(partial, 2 * units * (cfg.crops * RGB_DIM + AUDIO_DIM))
            write_set(partial, cfg, settings, identity)
    return folder


def identity_of(cfg, settings: Settings) -> dict[str, Any]:
    """What decides the content of a set. Raises ConfigError."""
    numbers = {key: cfg[key] for key in ("train_videos", "test_videos", "seed", "crops")}
    check_values({f"data.simulated.{key}": value for key, value in numbers.items()})
    return {
        "simulated": NOTICE,
        "generator_version": VERSION,
        **numbers,
        "settings": json.loads(json.dumps(settings._asdict())),
    }


def is_complete(folder: Path, identity: dict[str, Any]) -> bool:
    """True where the folder holds exactly this set, every file at its size."""
    try:
        content = read_manifest(folder)
    except DataError:
        return False
    files = {folder / name: size for name, size in content.get("files", {}).items()}
    return {key: content.get(key) for key in identity} == identity and all(
        p.is_file() and p.stat().st_size == size for p, size in files.items()
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a simulated set. Raises DataError where there is none."""
    what = "the manifest of a simulated set: run gfvad.data.simulate.simulated_folder"
    return read_json(folder / MANIFEST, what)


def write_set(folder: Path, cfg, settings: Settings, identity: dict[str, Any]) -> None:
    """Write all files of the set, the manifest last."""
    world, written = make_world(settings, cfg.seed), {}
    counts = {"train": cfg.train_videos, "test": cfg.test_videos}
    with Progress(sum(counts.values()), "simulating") as progress:
        for split in SPLITS:
            (folder / RGB_FOLDERS[split]).mkdir(parents=True)
            (folder / AUDIO_FOLDERS[split]).mkdir(parents=True)
            written[split] = []
            scenarios = draw_scenarios(settings, cfg.seed, split, counts[split])
            for index, scenario in enumerate(scenarios.tolist()):
                rng = video_stream(cfg.seed, split, index)
                sample = simulate(settings, world, rng, scenario, cfg.crops)
                written[split].append(write_video(folder, settings, split, index, sample))
                progress.advance()
    write_texts(folder, written)
    write_truth(folder, world, written)
    files = prepared_folder.file_sizes(folder)
    prepared_folder.write_json(folder / MANIFEST, {**identity, "files": files})


def write_video(
    folder: Path, settings: Settings, split: str, index: int, sample: Sample
) -> Written:
    """Write the features of one video; the rest of it is returned without them."""
    units = len(sample.path.kind)
    frames = SNIPPET * units + 1 + int(sample.rng.integers(SNIPPET))
    seconds = int(frames / FPS)
    length, label = f"{seconds // 60:02d}-{seconds % 60:02d}", label_code(settings, sample.path)
    name = f"Simulated.{split.capitalize()}.{index:04d}__#00-00-00_00-{length}_label_{label}"
    for crop, features in enumerate(sample.rgb):
        np.save(folder / RGB_FOLDERS[split] / f"{name}__{crop}.npy", features)
    np.save(folder / AUDIO_FOLDERS[split] / f"{name}__vggish.npy", sample.audio)
    abnormal = process.kinds(settings).abnormal[sample.path.kind]
    said = sentences.describe_path(sample.rng, settings, sample.path)
    sample = sample._replace(rgb=sample.rgb[:0], audio=sample.audio[:0])
    return Written(name, frames, SNIPPET * spans_of(abnormal), sample, said)


def label_code(settings: Settings, path: process.Path) -> str:
    """XD's label of a video: 'A', or the codes of its first three kinds of abnormal events,
    filled up with zeros ('B2-G-0')."""
    if not path.scenario:
        return "A"
    cover, member, offset = (column[path.kind] for column in process.kinds(settings))
    codes = [RELATION_CODE if o else CODES.get((c, m)) for c, m, o in zip(cover, member, offset)]
    found = list(dict.fromkeys(code for code in codes if code))[:3]
    return "-".join(found + ["0"] * (3 - len(found)))


def write_texts(folder: Path, written: dict[str, list[Written]]) -> None:
    """annotations.txt and frame_counts.txt of the test part, captions.json of both."""
    test = sorted(written["test"], key=lambda video: video.name)
    lines = [" ".join([v.name, *map(str, v.spans.ravel())]) for v in test if len(v.spans)]
    counts = "".join(f"{video.name}@{video.frames}\n" for video in test)
    (folder / "annotations.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "frame_counts.txt").write_text(counts, encoding="utf-8")
    seconds = lambda units: round(units * (SNIPPET / FPS), 2)
    content = {
        video.name: {
            "duration": round(video.frames / FPS, 2),
            "timestamps": [[seconds(start), seconds(end)] for start, end, _ in video.sentences],
            "sentences": [sentence for *_, sentence in video.sentences],
        }
        for split in SPLITS
        for video in written[split]
    }
    (folder / "captions.json").write_text(json.dumps(content, indent=0), encoding="utf-8")


def write_truth(folder: Path, world: World, written: dict[str, list[Written]]) -> None:
    """The true model, and for each split names [V], scenario [V], permutation [V, K], length
    [V], activity and kind (all videos end to end)."""
    arrays = dict(world._asdict())
    for split, videos in written.items():
        paths = [video.sample.path for video in videos]
        arrays |= {
            f"{split}_name": np.array([video.name for video in videos]),
            f"{split}_scenario": np.array([path.scenario for path in paths], np.int8),
            f"{split}_permutation": np.array([path.permutation for path in paths], np.int8),
            f"{split}_length": np.array([len(path.kind) for path in paths], np.int32),
            f"{split}_activity": np.concatenate([path.activity for path in paths]).astype(np.int8),
            f"{split}_kind": np.concatenate([path.kind for path in paths]).astype(np.int8),
        }
    np.savez(folder / TRUTH, **arrays)
