"""Videos for a model of graph novelty that reads features: those of a folder, or made first, by the
encoders of the normal videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gfvad.base.types import DataError
from gfvad.data.units.clips import MANIFEST
from gfvad.tasks.fusion import score_videos
from gfvad.tasks.scoring import Request


def features_of_videos(
    request: Request, encoders: Mapping[str, Any] | None, claim: Callable[[Iterable[str]], None]
) -> tuple[Path, int]:
    """(folder of features below that of the scores, exit code of the extraction). Raises DataError
    where it is not known how the model's features are made."""
    if encoders is None:
        raise DataError(
            f"{request.model}: how its features are made of a video is not known here; expected a"
            " folder of features: gfvad extract VIDEOS --out=FOLDER, and give that one"
        )
    assert request.out is not None  # a stream comes another way
    folder = request.out / score_videos.FEATURES
    return folder, score_videos.extract(request, encoders, folder, claim)


def asked_for(folder: Path, request: Request) -> tuple[list[str], list[tuple[str, str]]]:
    """(names of the videos asked for now that have features; (path, reason) of those that failed)
    of a folder that may hold earlier ones."""
    book = score_videos.read_book(folder)
    chosen, lost = (
        {n: r for n, r in book[key].items() if score_videos.wanted(r, request)}
        for key in ("videos", "failed")
    )
    default = f"it failed when its features were made ({folder / MANIFEST})"
    failed = [(str(r.get("path", n)), str(r.get("reason", default))) for n, r in lost.items()]
    return list(chosen), failed
