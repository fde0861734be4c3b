"""What a command line gives to a model of fused features, brought to it: videos (whose features are
extracted), the features of an earlier extraction, or plain files of features."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfvad.base.errors import EXIT_SOME_FAILED
from gfvad.base.files import read_json, require_regular
from gfvad.base.names import canonical, some
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts import arrays
from gfvad.encoders.registry import settings_of
from gfvad.encoders.units import FRAMES
from gfvad.extraction import provenance
from gfvad.measure.score_result import VideoScores
from gfvad.tasks.fusion import frame_scores
from gfvad.tasks.fusion.standalone import CLOCK
from gfvad.tasks.scoring import Request, VideosToScore, VideoToScore

if TYPE_CHECKING:
    from gfvad.tasks.fusion.scorer import WeakScorer

FEATURES = "features"  # below the folder of scores
Encoders = Mapping[str, dict[str, Any]]  # modality -> what its features were made by
# of a video in the manifest of features
STATED = {"path": str, "fps": (int, float), "frames": int, "files": dict, "missing": list}


def find(
    scorer: WeakScorer, request: Request, claim: Callable[[Iterable[str]], None]
) -> VideosToScore:
    """The videos of a request, their features extracted where that is needed. Raises as `extract`,
    `frame_scores.of_files` and `read_book`."""
    folder, interrupted = given_features(request), 0
    if folder is None and frame_scores.are_given(scorer, request):
        return frame_scores.of_files(scorer, request, claim)
    own = folder is None  # our folder, which may hold those of earlier calls
    if folder is None:
        assert request.out is not None  # a stream comes another way
        folder = request.out / FEATURES
        interrupted = extract(request, required_encoders(scorer), folder, claim)
        if interrupted > EXIT_SOME_FAILED:
            return VideosToScore((), interrupted=interrupted)
    else:
        require_same(folder, scorer.encoders or {})
    book = read_book(folder)
    chosen, lost = (
        {n: record for n, record in book[key].items() if not own or wanted(record, request)}
        for key in ("videos", "failed")
    )
    claim(chosen)
    scores = partial(of_record, scorer, folder, book)
    videos = [VideoToScore(n, path_of(n, r), partial(scores, n, r)) for n, r in chosen.items()]
    default = "it failed when its features were made"
    failed = [(path_of(name, r), str(r.get("reason", default))) for name, r in lost.items()]
    return VideosToScore(videos, failed)


def given_features(request: Request) -> Path | None:
    """The folder of an earlier extraction, where that is the one input. Raises DataError for one
    whose manifest is damaged."""
    path = Path(request.inputs[0]).expanduser()
    if len(request.inputs) != 1 or not path.is_dir():
        return None
    if provenance.stated(path) is not None:
        return path
    # features, whose manifest says nothing
    if (path / provenance.MANIFEST).is_file() and (path / "units.csv").is_file():
        manifest = path / provenance.MANIFEST
        found = read_json(manifest, "the manifest of gfvad extract")
        raise DataError(
            f"{manifest}: kind {found.get('kind')!r}, with{'' if 'encoders' in found else 'out'}"
            " encoders; expected the manifest of gfvad extract: extract the videos again"
        )
    return None


def required_encoders(scorer: WeakScorer) -> Encoders:
    """Raises DataError where a model's features were not made by `gfvad extract`, so
    that those of a new video cannot be made."""
    if scorer.encoders is None:
        raise DataError(
            f"{scorer.path}: its features were not made by `gfvad extract`, so how to"
            " make them of a video is not known; expected such a model. Features of the same kind"
            " can be scored: give their files or folder in the place of videos"
        )
    return scorer.encoders


def extract(
    request: Request, encoders: Encoders, folder: Path, claim: Callable[[Iterable[str]], None]
) -> int:
    """Features of the videos into a folder; the same call goes on where it was stopped. Raises
    DataError where an encoder is not the one of training."""
    from gfvad.extraction import job, planning
    from gfvad.extraction.feature_files import describe_encoder
    from gfvad.extraction.one_video import Spec, open_spec
    from gfvad.extraction.videos import find_videos

    specs = {}
    for m, stated in encoders.items():
        path = request.paths.get(m, request.descriptions if stated["name"] == "text" else "")
        settings = settings_of(m, stated, **({"path": path} if path else {}))
        specs[m] = Spec(m, stated["name"], tuple(sorted(settings.items())))
    described = {m: describe_encoder(open_spec(spec)) for m, spec in specs.items()}
    for m, found in described.items():
        # texts of other videos lie in another file
        if found["id"] != encoders[m]["id"] and found["name"] != "text":
            raise DataError(
                f"{request.model}: its {m} was made by {says(encoders[m])}, here is {says(found)};"
                f" expected the same: give the file of training by --path={m}=FILE, or train again"
            )
    passed: list[Path] = []
    videos = find_videos(request.inputs, passed)
    claim(video.name for video in videos)
    # else what training was described by
    own = bool(request.descriptions or "text" in request.paths)
    plan = planning.Plan(videos, {}, {}, specs, described, passed, own)
    return job.extract(plan, folder, "generic", request.workers)


def says(encoder: Mapping[str, Any]) -> str:
    """An encoder in a message."""
    sha = encoder["settings"].get("sha256")
    digest = f", weights {sha[:12]}" if isinstance(sha, str) else ""
    return f"{encoder['name']} version {encoder['version']} ({encoder['width']} numbers{digest})"


def require_same(folder: Path, encoders: Encoders) -> None:
    """Raises DataError where features are of other encoders than a model was trained on."""
    found = provenance.stated(folder) or {}
    for m, stated in encoders.items():
        if m in found and found[m]["id"] != stated["id"] and stated["name"] != "text":
            raise DataError(
                f"{folder}: its {m} was made by {says(found[m])}, the model was trained on"
                f" {says(stated)}; expected the same: extract the videos again"
            )


def read_book(folder: Path) -> dict[str, Any]:
    """What a folder of features says of its videos: manifest, times of units, labels and spans.
    Raises DataError for damaged tables."""
    path = folder / provenance.MANIFEST
    book = read_json(path, "the manifest of gfvad extract")
    for key in ("videos", "failed"):
        table = book.get(key)
        if not isinstance(table, dict) or not all(isinstance(r, dict) for r in table.values()):
            raise DataError(
                f"{path}: {key!r} is no table of videos; expected the manifest of gfvad"
                " extract: extract the videos again"
            )
    units = annotations.parse_units(folder / "units.csv")
    book["times"] = {units.spelt(n): np.array(times, np.float64) for n, times in units.items()}
    spans = folder / "spans.csv"
    book["spans"] = annotations.parse_spans_csv(spans) if os.path.lexists(spans) else {}
    everyone = {canonical(name) for key in ("videos", "failed") for name in book[key]}
    for file, key in (("units.csv", "times"), ("spans.csv", "spans")):
        if lost := [name for name in book[key] if canonical(name) not in everyone]:
            note = f"{len(lost)} of {len(book[key])} names are of no video in {provenance.MANIFEST}"
            print(f"note: {folder / file}: {note}, and are left out: {some(lost)}", file=sys.stderr)
    return book


def wanted(record: Mapping[str, Any], request: Request) -> bool:
    """Whether a video of the folder of features is among those asked for now."""
    path = Path(str(record.get("path", "")))
    given = [Path(p).expanduser().absolute() for p in request.inputs]
    return any(path == g or g in path.parents for g in given)


def path_of(name: str, record: Mapping[str, Any]) -> str:
    """What a video is called in a list of what failed: its file, or its name where none is
    stated."""
    return str(record.get("path") or name)


def of_record(
    scorer: WeakScorer,
    folder: Path,
    book: Mapping[str, Any],
    name: str,
    record: Mapping[str, Any],
) -> VideoScores:
    """Scores of one video by its features on disk. Raises DataError, MemoryError."""
    wrong = [
        key
        for key, kind in STATED.items()
        if not isinstance(record.get(key), kind) or isinstance(record[key], bool)
    ]
    if wrong or not 0 <= record["fps"] < float("inf"):
        raise DataError(
            f"{folder / provenance.MANIFEST}: video {name!r} lacks {', '.join(wrong or ['fps'])},"
            f" or has it wrong; expected {', '.join(STATED)} as gfvad extract writes"
            " them: extract this video again"
        )
    used = {*scorer.contributors} - {*record["missing"]}
    paths = {m: folder / str(file) for m, file in record["files"].items() if m in used}
    features = {m: read_features(path) for m, path in paths.items()}
    if name not in book["times"]:
        raise DataError(
            f"{folder / 'units.csv'}: no rows of video {name!r}; expected the seconds of each of"
            " its units: extract this video again"
        )
    start, end = book["times"][name].T
    for m, x in features.items():
        if len(x) != len(start):
            raise DataError(
                f"{paths[m]}: {len(x)} units, {folder / 'units.csv'} has {len(start)} of video"
                f" {name!r}; expected as many: extract this video again"
            )
    # of a unit: as `data/features/layouts/generic.py` has it in training
    seconds = (start[-1] - start[0]) / (len(start) - 1) if len(start) > 1 else end[0] - start[0]
    missing = tuple(m for m in scorer.contributors if m not in features)
    found = scorer.score(name, features | {CLOCK: (np.arange(len(start)) + 0.5) * seconds})
    fps, spans = float(record["fps"]), None
    if record.get("split") == "test" and fps:
        spans = tuple((row[0] / fps, row[1] / fps) for row in book["spans"].get(name, []))
    about = name, record["path"], fps, record["frames"]
    return VideoScores(
        *about,
        start,
        end,
        found["scores"],
        found["parts"],
        found["graph"],
        missing=missing,
        spans=spans,
        label=record.get("label"),
        unit_frames=FRAMES,
    )


def read_features(path: Path) -> np.ndarray:
    """[N, D] of one file; its size is held against its header before memory is asked for. Raises
    DataError."""
    require_regular(path, "the features of a video")
    header = arrays.read_header(path)
    arrays.check_header(path, header, (2,))
    return arrays.read_array(path, header)
