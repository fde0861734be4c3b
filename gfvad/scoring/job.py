"""Features and scores of videos in one go. Its command line: `gfvad/score.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.errors import EXIT_SOME_FAILED, cannot_read
from gfvad.base.files import read_json, require_regular
from gfvad.base.names import canonical, some
from gfvad.base.progress import Progress
from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError, DataError
from gfvad.data import annotations
from gfvad.data.features.layouts import arrays
from gfvad.data.frames import finding
from gfvad.encoders.registry import settings_of
from gfvad.extraction import provenance
from gfvad.measure import finite
from gfvad.measure.alarms import find_alarms
from gfvad.measure.score_result import VideoScores
from gfvad.scoring import files
from gfvad.settings import config as config_lib
from gfvad.tasks.fusion import standalone
from gfvad.tasks.fusion.standalone import CLOCK

FEATURES = "features"  # below the folder of scores
SHOWN = 20  # alarms on the terminal


class Request(NamedTuple):
    """What a command line asks for."""

    model: Path
    inputs: tuple[str, ...]
    out: Path
    checkpoint: str
    threshold: float | None
    descriptions: str
    workers: int
    paths: Mapping[str, str]  # modality -> where its encoder's file lies now


def kind_of(model: Path) -> str:
    """'weak' or 'predictive', of a run or an artefact. Raises ConfigError, DataError for a
    folder that is neither."""
    if not model.is_dir():
        raise DataError(
            f"{model}: not found; expected the folder of a trained run, or of an export"
        )
    if standalone.is_artefact(model):
        return "weak"
    return config_lib.load(str(model)).get("kind", "weak")


def score(request: Request) -> int:
    """Scores videos and writes the files of `scoring/files.py`; returns the exit code: 0 done, 1
    some files gave no scores, 130 / 143 interrupted."""
    kind = kind_of(request.model)
    with files.owned(request.out).locked("folder of scores", files.NAMES):
        return (score_predictive if kind == "predictive" else score_weak)(request)


def finish(
    request: Request,
    model: Mapping[str, Any],
    threshold: float,
    videos: Sequence[VideoScores],
    failed: Sequence[tuple[str, str]],
) -> int:
    """Writes everything and says what matters."""
    with files.owned(request.out).staged(last=files.SCORES_JSON) as folder:
        files.write_scores(folder, model, threshold, videos, failed)
    alarms = sorted((a for v in videos for a in find_alarms(v, threshold)), key=lambda a: -a.peak)
    print(
        f"scores   {request.out / files.SCORES_CSV}: {len(videos)} videos,"
        f" {sum(len(v.score) for v in videos):,} units"
    )
    print(
        f"alarms   {request.out / files.ALARMS_CSV}: {len(alarms)} at or above {threshold:.4g}"
        f" ({model['threshold_rule']})"
    )
    for a in alarms[:SHOWN]:
        parts = ", ".join(
            f"{name} {value:+.2f}"
            for name, value in sorted(a.contributions.items(), key=lambda item: -item[1])
        )
        print(
            f"  {a.video}: {a.start:.1f} to {a.end:.1f} s, peak {a.peak:.3f} at {a.peak_time:.1f} s"
            f" ({parts})"
        )
    if len(alarms) > SHOWN:
        print(f"  and {len(alarms) - SHOWN} more")
    print(f"report   python -m gfvad.report {request.out}")
    if failed:
        print(
            f"{len(failed)} of {len(failed) + len(videos)} files gave no scores:", file=sys.stderr
        )
        for file, reason in failed:
            print(
                redact(f"  {reason if reason.startswith(str(file)) else f'{file}: {reason}'}"),
                file=sys.stderr,
            )
    return EXIT_SOME_FAILED if failed else 0


# ---- graph fusion models


def score_weak(request: Request) -> int:
    """By a run or an artefact of the graph fusion model: features (extracted, or those of an
    earlier extraction), then scores."""
    from gfvad.tasks.fusion.scorer import open_weak  # imports jax

    scorer = open_weak(request.model, request.checkpoint)
    folder, code = given_features(request), 0
    if folder is None:
        folder = request.out / FEATURES
        code = extract(request, required_encoders(scorer.path, scorer.encoders), folder)
        if code > EXIT_SOME_FAILED:
            return code
    else:
        require_same(folder, scorer.encoders)
    videos, failed = [], []
    book = read_book(folder)
    own = folder == request.out / FEATURES  # which may hold those of earlier calls
    chosen, lost = (
        {name: record for name, record in book[part].items() if not own or wanted(record, request)}
        for part in ("videos", "failed")
    )
    files.owned(request.out).claim(map(files.details_of, chosen))
    with Progress(len(chosen), "scoring", "videos") as progress:
        for name, record in chosen.items():
            try:
                videos.append(score_features(scorer, folder, name, record, book))
            except (standalone.Refused, DataError) as error:
                failed.append((path_of(name, record), str(error)))
            except (OSError, MemoryError) as error:
                failed.append((path_of(name, record), reason_of(error)))
            progress.advance()
    failed += [
        (path_of(name, record), str(record.get("reason", "it failed when its features were made")))
        for name, record in lost.items()
    ]
    threshold = scorer.threshold if request.threshold is None else request.threshold
    rule = scorer.threshold_rule if request.threshold is None else "given"
    model = {
        "kind": "weak",
        "name": scorer.name,
        "path": scorer.path,
        "modalities": list(scorer.modalities),
        "threshold_rule": rule,
    }
    return finish(request, model, threshold, videos, failed)


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
        found = read_json(manifest, "the manifest of python -m gfvad.extract")
        raise DataError(
            f"{manifest}: kind {found.get('kind')!r}, with{'' if 'encoders' in found else 'out'}"
            " encoders; expected the manifest of python -m gfvad.extract: extract the videos again"
        )
    return None


def required_encoders(
    path: str, encoders: Mapping[str, dict[str, Any]] | None
) -> Mapping[str, dict[str, Any]]:
    """Raises DataError where a model's features were not made by `python -m gfvad.extract`, so
    that those of a new video cannot be made."""
    if encoders is None:
        raise DataError(
            f"{path}: its features were not made by `python -m gfvad.extract`, so how to make them"
            " of a video is not known; expected such a model. Features of the same kind can be"
            " scored: python -m gfvad.main --mode=score --workdir=RUN --input=FEATURES"
        )
    return encoders


def extract(request: Request, encoders: Mapping[str, dict[str, Any]], folder: Path) -> int:
    """Features of the videos into a folder; the same call goes on where it was stopped. Raises
    DataError where an encoder is not the one of training."""
    from gfvad.extraction import job
    from gfvad.extraction.manifest import describe_encoder
    from gfvad.extraction.task import Spec, open_spec
    from gfvad.extraction.videos import find_videos

    specs = {}
    for m, stated in encoders.items():
        changed = (
            {"path": request.paths[m]}
            if m in request.paths
            else (
                {"path": request.descriptions}
                if stated["name"] == "text" and request.descriptions
                else {}
            )
        )
        specs[m] = Spec(m, stated["name"], tuple(sorted(settings_of(m, stated, **changed).items())))
    described = {m: describe_encoder(open_spec(spec)) for m, spec in specs.items()}
    for m, found in described.items():
        # texts of other videos lie in another file
        if found["id"] != encoders[m]["id"] and found["name"] != "text":
            raise DataError(
                f"{request.model}: its {m} was made by {says(encoders[m])}, here is {says(found)};"
                f" expected the same: give the file of training by --path={m}=FILE, or train again"
            )
    passed: list[Path] = []
    found = find_videos(request.inputs, passed)
    files.owned(request.out).claim(files.details_of(video.name) for video in found)
    # else what training was described by
    own = bool(request.descriptions or "text" in request.paths)
    plan = job.Plan(found, {}, {}, specs, described, passed, own)
    return job.extract(plan, folder, "generic", request.workers)


def says(encoder: Mapping[str, Any]) -> str:
    """An encoder in a message."""
    digest = (
        f", weights {encoder['settings']['sha256'][:12]}"
        if isinstance(encoder["settings"].get("sha256"), str)
        else ""
    )
    return f"{encoder['name']} version {encoder['version']} ({encoder['width']} numbers{digest})"


def require_same(folder: Path, encoders: Mapping[str, dict[str, Any]] | None) -> None:
    """Raises DataError where features are of other encoders than a model was trained on."""
    found = provenance.stated(folder) or {}
    for m, stated in (encoders or {}).items():
        if m in found and found[m]["id"] != stated["id"] and stated["name"] != "text":
            raise DataError(
                f"{folder}: its {m} was made by {says(found[m])}, the model was trained on"
                f" {says(stated)}; expected the same: extract the videos again"
            )


def read_book(folder: Path) -> dict[str, Any]:
    """What a folder of features says of its videos: manifest, times of units, labels and spans.
    Raises DataError for damaged tables."""
    path = folder / provenance.MANIFEST
    book = read_json(path, "the manifest of python -m gfvad.extract")
    for part in ("videos", "failed"):
        if not isinstance(book.get(part), dict) or not all(
            isinstance(record, dict) for record in book[part].values()
        ):
            raise DataError(
                f"{path}: {part!r} is no table of videos; expected the manifest of python -m"
                " gfvad.extract: extract the videos again"
            )
    units = annotations.parse_units(folder / "units.csv")
    book["times"] = {
        units.spelt(name): np.array(times, np.float64) for name, times in units.items()
    }
    spans = folder / "spans.csv"
    book["spans"] = annotations.parse_spans_csv(spans) if os.path.lexists(spans) else {}
    everyone = {canonical(name) for part in ("videos", "failed") for name in book[part]}
    for file, part in (("units.csv", "times"), ("spans.csv", "spans")):
        if lost := [name for name in book[part] if canonical(name) not in everyone]:
            note = (
                f"{len(lost)} of {len(book[part])} names are of no video in {provenance.MANIFEST}"
            )
            print(f"note: {folder / file}: {note}, and are left out: {some(lost)}", file=sys.stderr)
    return book | {"folder": folder}


def wanted(record: Mapping[str, Any], request: Request) -> bool:
    """Whether a video of the folder of features is among those asked for now."""
    path = Path(str(record.get("path", "")))
    given = [Path(p).expanduser().absolute() for p in request.inputs]
    return any(path == g or g in path.parents for g in given)


def path_of(name: str, record: Mapping[str, Any]) -> str:
    """What a video is called in a list of what failed: its file, or its name where none is
    stated."""
    return str(record.get("path") or name)


def reason_of(error: OSError | MemoryError) -> str:
    """Why a video gave no scores, where the system says so."""
    if isinstance(error, MemoryError):
        return (
            f"too large for the memory of this machine ({error or 'no size given'}); expected a"
            " video that fits: cut it into parts, and extract them"
        )
    return str(cannot_read(error.filename or "a file", error, "its features or its frames"))


# of a video in the manifest
STATED = {"path": str, "fps": (int, float), "frames": int, "files": dict, "missing": list}


def score_features(
    scorer: Any, folder: Path, name: str, record: Mapping[str, Any], book: Mapping[str, Any]
) -> VideoScores:
    """Scores of one video by its features on disk. Raises Refused, DataError, MemoryError."""
    wrong = [
        key
        for key, kind in STATED.items()
        if not isinstance(record.get(key), kind) or isinstance(record[key], bool)
    ]
    if wrong or not 0 <= record["fps"] < float("inf"):
        raise DataError(
            f"{folder / provenance.MANIFEST}: video {name!r} lacks {', '.join(wrong or ['fps'])},"
            f" or has it wrong; expected {', '.join(STATED)} as python -m gfvad.extract writes"
            " them: extract this video again"
        )
    paths = {
        m: folder / str(file)
        for m, file in record["files"].items()
        if m in scorer.modalities and m not in record["missing"]
    }
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
    # of a unit: as `layouts/generic.py` has it in training
    seconds = (start[-1] - start[0]) / (len(start) - 1) if len(start) > 1 else end[0] - start[0]
    features[CLOCK] = (np.arange(len(start)) + 0.5) * seconds
    found = scorer.units.score(name, features, graph=True, parts=True)
    fps, label = float(record["fps"]), record.get("label")
    spans = (
        [(row[0] / fps, row[1] / fps) for row in book["spans"].get(name, [])]
        if record.get("split") == "test" and fps
        else None
    )
    missing = tuple(m for m in scorer.modalities if m not in features)
    return VideoScores(
        name,
        record["path"],
        fps,
        record["frames"],
        start,
        end,
        found["scores"],
        found["parts"],
        found["graph"],
        missing=missing,
        spans=None if spans is None else tuple(spans),
        label=label,
    )


def read_features(path: Path) -> np.ndarray:
    """[N, D] of one file; its size is held against its header before memory is asked for. Raises
    DataError."""
    require_regular(path, "the features of a video")
    header = arrays.read_header(path)
    arrays.check_header(path, header, (2,))
    return arrays.read_array(path, header)


# ---- predictive models


def score_predictive(request: Request) -> int:
    """By a run of the predictive model: a score a frame, with a heat map; bad files are passed
    over and listed."""
    from gfvad.tasks.prediction.score import PredictiveScorer  # imports jax

    if request.workers > 0:
        raise ConfigError(
            "--workers: the predictive model reads one video after the other; leave it out"
        )
    scorer = PredictiveScorer.open(request.model, request.checkpoint)
    videos, failed = [], []
    passed: list[Path] = []
    paths = [
        (name, path)
        for given in request.inputs
        for name, path in predictive_inputs(Path(given).expanduser(), passed)
    ]
    names = [name for name, _ in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{len(twice)} names stand for more than one video, e.g. {twice[0]!r}; expected names"
            " of their own: rename one, or score them into folders of their own"
        )
    files.owned(request.out).claim(map(files.details_of, names))
    if scorer.needs_text and not request.descriptions:
        raise DataError(
            f"{request.model}: the model reads descriptions; give them by --descriptions=FILE (JSON"
            " lines, docs/data.md), or train with the variant no_text"
        )
    with Progress(len(paths), "scoring", "videos") if len(paths) > 1 else nullcontext() as progress:
        for name, path in paths:
            try:
                found = scorer.score_video(
                    path, request.descriptions or None, progress=progress is None
                )._replace(name=name)
                if not np.isfinite(found.score).all():
                    raise DataError(f"{path}: {finite.reason(found.score, {})}")
                videos.append(found)
            except DataError as error:
                failed.append((str(path), str(error)))
            except (OSError, MemoryError) as error:
                failed.append((str(path), reason_of(error)))
            if progress:
                progress.advance()
    threshold = scorer.threshold if request.threshold is None else request.threshold
    rule = scorer.threshold_rule if request.threshold is None else "given"
    model = {
        "kind": "predictive",
        "name": scorer.name,
        "path": str(request.model),
        "modalities": list(scorer.terms),
        "threshold_rule": rule,
    }
    if passed:
        print(finding.passed_over(passed), file=sys.stderr)
    return finish(request, model, threshold, videos, failed)


def predictive_inputs(path: Path, passed: list[Path] | None = None) -> list[tuple[str, Path]]:
    """(name, path) of the videos (files, or folders of frames) that a path means. passed: gets
    what holds no video. Raises DataError."""
    from gfvad.data.frames.layouts import open_layout

    layout = open_layout("any", path)
    videos = [(video.name, video.path) for video in layout.videos("test")]
    if passed is not None:
        passed += layout.passed
    return videos
