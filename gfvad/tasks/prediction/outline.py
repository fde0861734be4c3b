"""The steps of the prediction task without data: shapes alone, for `gfvad plan`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ClipBatch
from gfvad.tasks.prediction import registry, step
from gfvad.train.run import Outline, array_shapes

TEXT, TOKENS = "text", "tokens"
# of sentences: by data.text_encoder; of a frozen vision encoder's tokens
SENTENCES, VISION = {"simcse": 768}, {"sib_vad": 1024}
USUAL_SENTENCES = 384


def outline(config: ConfigDict, widths: Mapping[str, int]) -> Outline:
    """As gfvad/tasks/task.py says; widths: {'text': V, 'tokens': D}, 0 for none."""
    data, m = config.data, config.model
    text = widths.get(TEXT, SENTENCES.get(data.text_encoder, USUAL_SENTENCES))
    vision = widths.get(TOKENS, VISION.get(m.name, 0))
    model: Any = registry.build_model(config, text)
    clip = int(data.clip_frames)
    shapes = clip_shapes(config, text, vision)

    def batch(size: int) -> ClipBatch:
        whole = {n: ((size, *shape), kind) for n, (shape, kind) in shapes.items()}
        numbers = [((size,), kind) for kind in (bool, np.int32, np.int32, np.int32)]
        return array_shapes(ClipBatch(whole, *numbers))

    def seen(size: int) -> ClipBatch:
        found = batch(size)
        kept = {n: x for n, x in found.features.items() if not n.startswith("fast")}
        return found._replace(features=kept)

    example = {n: np.zeros(shape, kind) for n, (shape, kind) in shapes.items()}
    example = {n: x for n, x in example.items() if not n.startswith("fast")}
    size = f"{data.height} x {data.width} x {data.channels}"
    return Outline(
        model=model,
        inputs=(example,),
        batch=batch,
        train_step=step.train_step,
        eval_step=partial(step.eval_step, model=model, cell=int(m.cell)),
        eval_batch=seen,
        about=f"clips of {clip} and one frames of {size}, descriptions {text}, tokens {vision}",
    )


def clip_shapes(config: ConfigDict, text: int, vision: int) -> dict[str, tuple[tuple, Any]]:
    """Array of a clip -> (shape, type), as `ClipBatch` says; text, vision: their widths, 0 for
    none."""
    data, m, clip = config.data, config.model, int(config.data.clip_frames)
    picture = (clip + 1, int(data.height), int(data.width), int(data.channels))
    rows, columns = data.height // m.cell, data.width // m.cell
    shapes: dict[str, tuple[tuple, Any]] = {"frames": (picture, np.uint8)}
    if data.flow:
        shapes["flow"] = ((clip + 1, rows, columns, 3), np.float32)
    if text:
        shapes |= {"text": ((text,), np.float32), "text_next": ((text,), np.float32)}
    if vision:
        patches = 1 + (data.height // m.patch) * (data.width // m.patch)
        # the authors' model reads the class token and what the embedding layer gave, too
        count = 2 * patches if m.name in VISION else patches - 1
        shapes[TOKENS] = ((clip, count, vision), np.float16)
    if m.pace and config.loss.pace > 0:
        shapes["fast"] = (picture, np.uint8)
        if data.flow:
            shapes["fast_flow"] = ((rows, columns, 3), np.float32)
    return shapes
