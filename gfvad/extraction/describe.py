"""Descriptions of frames by a vision-language model on this machine, written as the JSON lines that
`encoders/description_lines.py` reads.

The model is any of transformers' image-text-to-text models, in a folder (nothing is downloaded).
Needs torch, transformers (launch/requirements-encoders.txt) and pillow. What was written is kept: a
later call goes on behind it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from gfvad.base import files
from gfvad.base.progress import Progress
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames.cache import say_on_stderr
from gfvad.encoders.captioner import PROMPT, Captioner, load_captioner


def describe_frames(
    store,
    model_path: str | os.PathLike,
    out_jsonl: str | os.PathLike,
    *,
    every: int = 1,
    prompt: str = PROMPT,
    captioner: Captioner | None = None,
) -> Path:
    """Describes frames 1, 1 + every, ... of each video of `store` (`open_frames` with 3 channels,
    or 1 shown as grey) into `out_jsonl`.

    A line is of one frame where every is 1, else of the clip from that frame up to the next
    described one. Lines already there are kept; a last line that was cut off by an interruption is
    written again. `captioner` replaces the model (for tests).
    Raises DataError where the model, its packages or the output folder are missing, or the file is
    of another `every` or set.
    """
    if every < 1:
        raise ConfigError(f"describe: every {every}; expected a whole number of frames, at least 1")
    out = Path(out_jsonl).expanduser()
    done = finished(out)
    wanted = [
        (i, t) for i, length in enumerate(store.lengths) for t in range(0, int(length), every)
    ]
    keys = {(i, t): json.dumps(_where(store, i, t, every)) for i, t in wanted}
    unknown = done - set(keys.values())
    if unknown:
        raise DataError(
            f"{out}: holds {len(unknown)} lines of other frames, e.g. {min(unknown)}; expected"
            f" those of {store!r} with every={every}: give another file"
        )
    rest = [place for place in wanted if keys[place] not in done]
    if not rest:
        say_on_stderr(f"describe: all {len(wanted)} descriptions are in {out}")
        return out
    captioner = load_captioner(model_path) if captioner is None else captioner
    with (
        out.open("a", encoding="utf-8") as file,
        Progress(len(rest), "describe", "descriptions") as progress,
    ):
        for i, t in rest:
            text = " ".join(captioner(rgb(store.clip(i, [t])[0]), prompt).split())
            if not text:
                raise DataError(
                    f"{store.names[i]}, frame {t + 1}: the model gave no text to {prompt!r};"
                    " expected a description: give another prompt or model"
                )
            file.write(
                json.dumps(_where(store, i, t, every) | {"text": text}, ensure_ascii=False) + "\n"
            )
            file.flush()
            progress.advance()
    return out


def finished(path: Path) -> set[str]:
    """What a file already describes, as JSON without the text; cuts off a last line that has no
    end. Empty where there is no file."""
    if not path.parent.is_dir():
        raise DataError(
            f"{path.parent}: no such folder; expected one to write {path.name} to: make it"
        )
    if not path.is_file():
        return set()
    content = files.read_bytes(path, "JSON lines of descriptions")
    whole = content.rfind(b"\n") + 1
    try:
        rows = enumerate(content[:whole].decode().split("\n"), 1)
        what = "a line of descriptions that this command wrote: give another file"
        lines = [
            files.parse_json(line, f"{path}, line {i}", what) for i, line in rows if line.strip()
        ]
        done = {
            json.dumps({key: value for key, value in line.items() if key != "text"})
            for line in lines
        }
        # of a process that was killed, once it is known to be this command's file
        if whole < len(content):
            if not content[whole:].startswith(b"{"):
                raise DataError(
                    f"{path}: its last line begins with {content[whole:][:20]!r}; expected {what}"
                )
            os.truncate(path, whole)
        return done
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not JSON lines of descriptions ({error}); expected a file this command wrote:"
            " give another one"
        ) from None


def rgb(frame: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 1 or 3] -> [h, w, 3]."""
    return np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame


def _where(store, i: int, t: int, every: int) -> dict:
    """Keys of the line for frame t (from 0) of video i."""
    if every == 1:
        return {"video": store.names[i], "frame": t + 1}
    return {"video": store.names[i], "start": t + 1, "end": min(t + every, int(store.lengths[i]))}
