"""A set of short videos and a configuration of the predictive model small enough to train in
seconds; and batches of clips for its parts."""

import json

import numpy as np
import video_files

from configs import predictive
from configs.predictive_variants import VARIANTS
from gfvad.base.types import ClipBatch

HEIGHT, WIDTH, PATCH, CELL, CLIP = 24, 36, 12, 4, 4
TOKENS = (HEIGHT // PATCH) * (WIDTH // PATCH)
TEXT = 6  # width of the made-up embeddings in `batch`
# frames; 03 is held out: long enough for a synthetic event; 04 is too short for a clip
TRAIN, TEST = (12, 9, 64, 3), (14, 11, 1)
SPANS = {"01": (6, 10), "02": (4, 5)}  # from 1, both in
SETTINGS = {
    "data.height": HEIGHT,
    "data.width": WIDTH,
    "data.eval_batch_size": 8,
    "data.validation_fraction": 0.3,
    "data.workers": 1,
    "data.text_encoder": "hash",
    "model.patch": PATCH,
    "model.cell": CELL,
    "model.width": 16,
    "model.pace_width": 4,
    "model.text_hidden": 8,
    "model.vision_layers": 0,
    "model.motion_layers": 0,
    "model.joint_layers": 1,
    "model.decoder_layers": 1,
    "model.filter.experts": 5,
    "model.filter.topk": 2,
    "model.filter.bottleneck": 4,
    "train.steps": 4,
    "train.batch_size": 4,
    "train.log_every": 1,
    "train.eval_every": 2,
    "train.checkpoint_every": 2,
    "eval.bootstrap": 10,
    "parallel.devices": 1,
    "score.clip_seconds": 0.4,
}


def flags(**more):
    """The settings as command-line flags; further ones as train__steps=8, and None takes one
    out."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in more.items()}
    return [f"--config.{key}={value}" for key, value in settings.items() if value is not None]


def config(variant="", **more):
    """The default configuration of the predictive model with a variant and these sizes."""
    c = predictive.get_config()
    for name in filter(None, variant.split("+")):
        VARIANTS[name](c)
    with c.unlocked():
        c.update_from_flattened_dict(
            SETTINGS | {key.replace("__", "."): value for key, value in more.items()}
        )
    c.model.filter.topk = min(c.model.filter.topk, c.model.filter.experts)
    return c


def write_set(root, *, captions=True, truth=True):
    """Layout 'frames' with the videos of TRAIN and TEST, named 01, 02, ..., spans, masks and
    descriptions; one frame of test 02 has none."""
    video_files.write_set(root, train=TRAIN, test=TEST)
    if truth:
        (root / "test_spans.txt").write_text(
            "".join(f"{name} {first} {last}\n" for name, (first, last) in SPANS.items())
        )
        masks = {}
        for name, count in zip(("01", "02", "03"), TEST):
            mask = np.zeros((count, *video_files.SIZE), bool)
            first, last = SPANS.get(name, (1, 0))
            mask[first - 1 : last, 10:22, 8:30] = True
            masks[name] = np.packbits(mask, axis=-1)
        np.savez(root / "test_masks_packed.npz", **masks)
    if captions:
        for part, lengths in (("train", TRAIN), ("test", TEST)):
            rows = [
                {"video": f"{k:02d}", "frame": t, "text": f"A square walks, {t % 3} of three."}
                for k, n in enumerate(lengths, 1)
                for t in range(1, n + 1)
            ]
            rows = [row for row in rows if (part, row["video"], row["frame"]) != ("test", "02", 3)]
            write_lines(root / f"captions_gpt4o_{part}.jsonl", rows)
    return root


def write_lines(path, rows):
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def batch(size=4, seed=0, *, flow=True, text=TEXT, fast=True, channels=1, tokens=0):
    """A training batch of clips: a square that moves over noise, its faster copy, flow,
    embeddings; the last clip is padding where size > 2."""
    rng = np.random.default_rng(seed)

    def clip(speed):
        frames = (
            rng.integers(60, 120, (1, HEIGHT, WIDTH, channels)).repeat(CLIP + 1, 0).astype(np.uint8)
        )
        for t in range(CLIP + 1):
            frames[t, 6:14, 3 + speed * t : 11 + speed * t] = 230
        return frames

    grid = (HEIGHT // CELL, WIDTH // CELL)
    features = {"frames": np.stack([clip(1) for _ in range(size)])}
    if fast:
        features["fast"] = np.stack([clip(4) for _ in range(size)])
    if flow:
        features["flow"] = rng.normal(size=(size, CLIP + 1, *grid, 3)).astype(np.float32)
        if fast:
            features["fast_flow"] = 4 * features["flow"][:, -1]
    if text:
        features |= {
            name: rng.normal(size=(size, text)).astype(np.float32) for name in ("text", "text_next")
        }
    if tokens:
        features["tokens"] = rng.normal(size=(size, CLIP, TOKENS, tokens)).astype(np.float16)
    valid = np.arange(size) < max(size - 1, 2)
    zeros = np.zeros(size, np.int32)
    return ClipBatch(
        features, valid, zeros, zeros + CLIP, (seed * size + np.arange(size)).astype(np.int32)
    )
