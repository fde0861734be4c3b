"""What a folder to report on holds: scores of videos, a run, an ablation, or several runs."""

from __future__ import annotations

import os
from pathlib import Path

from gfvad.base.files import lies_at
from gfvad.base.types import DataError
from gfvad.data.frames.finding import is_video, suffix_of
from gfvad.data.frames.video_folders import IMAGES
from gfvad.measure.results import find_results, left_out
from gfvad.reporting.contents import Contents
from gfvad.reporting.runs import ABLATION, RESULTS, ablation, one_run, several_runs
from gfvad.reporting.scored import scored
from gfvad.scoring.files import SCORES_JSON


def read_folder(folder: Path, video_root: Path | None = None) -> Contents:
    """Raises DataError where the folder holds nothing to report on, or what it holds is damaged."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: {'not a' if folder.exists() else 'no such'} folder; expected one"
            f" with scores ({SCORES_JSON}), a run ({RESULTS}), an ablation ({ABLATION}) or several"
            " runs"
        )
    found = names_below(video_root) if video_root else {}
    if lies_at(folder / SCORES_JSON):
        return scored(folder, found)
    if lies_at(folder / RESULTS):
        return one_run(folder, found)
    if lies_at(folder / ABLATION):
        return ablation(folder)
    paths, without = find_results(folder)
    if paths:
        several = several_runs(folder, paths)
        more = [("left out", left_out(without))] if without else []
        return several._replace(facts=[*several.facts, *more])
    inside = sorted(path.name for path in folder.iterdir())
    raise DataError(
        f"{folder}: no {SCORES_JSON} (of gfvad score), no {RESULTS} (of a run) and none"
        " in its folders; found"
        f" {', '.join(inside[:8]) + (' ...' if len(inside) > 8 else '') or 'nothing'}: give the"
        " folder of one of them"
    )


def names_below(root: Path) -> dict[str, Path | None]:
    """Name -> video file or folder of frames below `root`: by its path with '__' for '/', and by
    its own name (None: several have it)."""
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; expected the one that holds the videos: give another"
            " --video-root"
        )
    paths = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        shown = (Path(place, f) for f in sorted(files) if not f.startswith("."))
        paths += filter(is_video, shown)
        if any(Path(f).suffix.lower() in IMAGES for f in files):
            paths.append(Path(place))
    found: dict[str, Path | None] = {}
    for path in paths:
        name = path.name.removesuffix(suffix_of(path.name)) if path.is_file() else path.name
        found[name] = None if name in found else path
    for path in paths:
        text = str(path.relative_to(root))
        inside = text.removesuffix(suffix_of(text)) if path.is_file() else text
        found["__".join(Path(inside).parts)] = path
    return found
