"""One video of a job: decoded, encoded and written by whatever process does it; the same on one
machine and in a Beam pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames.flow import one_thread_each
from gfvad.encoders.registry import UnitEncoder, open_encoder
from gfvad.encoders.units import Unit
from gfvad.extraction import feature_files, feature_folder, workers
from gfvad.extraction.media import MediaInfo
from gfvad.extraction.scenes import Scene
from gfvad.extraction.videos import extract_video


class Spec(NamedTuple):
    """An encoder to open; picklable."""

    modality: str
    name: str
    settings: tuple[tuple[str, Any], ...]  # sorted
    opener: Callable[..., UnitEncoder] = open_encoder


class Task(NamedTuple):
    """What to do with one file; picklable."""

    name: str
    path: str
    out: str
    files: Mapping[str, str]  # modality -> its file below `out`, of those to be extracted
    specs: tuple[Spec, ...]  # of the same modalities
    threads: int  # of the decoder


class Failure(NamedTuple):
    """Why there is nothing of a file. kind: 'bad' (the file), 'full' (the disk; `needed` bytes
    did not fit), 'stopped'."""

    kind: str
    reason: str
    needed: int = 0


class Stopped(Exception):
    """A signal came while a file was in work."""


_OPENED = threading.local()  # encoders may hold state


def open_spec(spec: Spec) -> UnitEncoder:
    """The encoder, opened once a thread. Raises ConfigError, also where it is of another
    modality than asked for."""
    opened = _OPENED.__dict__.setdefault("encoders", {})
    if spec not in opened:
        encoder = spec.opener(spec.name, **dict(spec.settings))
        if encoder.modality != spec.modality:
            raise ConfigError(
                f"--encoder={spec.modality}={spec.name}: that encoder gives {encoder.modality};"
                f" expected --encoder={encoder.modality}={spec.name}"
            )
        opened[spec] = encoder
    return opened[spec]


def notes_on(specs: Iterable[Spec], videos: Sequence[str], own: bool) -> list[str]:
    """What encoders look up that is of none of the videos.

    Raises DataError where all of it is and `own`: where it was given for these videos.
    """
    notes = []
    for spec in specs:
        try:
            notes.append(open_spec(spec).about(videos))
        except DataError as error:
            if own:
                raise
            notes.append(str(error))
    return [note for note in notes if note]


def work(task: Task) -> dict[str, Any] | Failure:
    """Extracts and writes; returns the record of the manifest (with the times of units), or why
    there is none. Raises nothing."""
    began, told = time.monotonic(), 0.0
    path = Path(task.path)
    size = 0
    try:
        known = feature_files.stamp(path)
        size, scene = known.size, Scene()

        def watch(unit: Unit, info: MediaInfo) -> None:
            nonlocal told
            if workers.stopped():
                raise Stopped
            scene.see(unit)
            share = min(1.0, unit.end / info.duration) if info.duration else 0.0
            workers.report(max(0.0, share * size - told))
            told = max(told, share * size)

        with one_thread_each():
            encoders = [open_spec(spec) for spec in task.specs]
            found = extract_video(path, encoders, name=task.name, threads=task.threads, watch=watch)
        record = feature_files.record_of(
            found, path, known, feature_folder.sha256(path), time.monotonic() - began
        )
        record["scene"] = scene.text()
        if feature_files.stamp(path) != known:
            raise DataError(
                f"{path}: changed while it was read; expected a finished file: run the same command"
                " again when it is"
            )
        hashes = {
            m: feature_files.save_features(Path(task.out, file), found.features[m])
            for m, file in task.files.items()
        }
        ids = {spec.modality: feature_files.encoder_id(open_spec(spec)) for spec in task.specs}
        return {**record, "encoders": ids, "files": dict(task.files), "hashes": hashes}
    except Stopped:
        return Failure("stopped", "interrupted")
    except feature_files.NoRoom as full:
        return Failure("full", full.path, full.needed)
    except (DataError, ConfigError) as error:
        return Failure("bad", str(error))
    except OSError as error:
        return Failure(
            "bad",
            f"{path}: cannot be read ({error.strerror or error}); expected a video file: check it"
            " and its rights",
        )
    except Exception as error:  # a library's, of whatever kind: this file fails, the others go on
        return Failure("bad", f"{path}: {type(error).__name__}: {error}")
    finally:
        workers.report(size - told)


def merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """A video's record after further modalities: those of before stay where the file is the
    same, its label in any case."""
    own = ("label", "split", "classes", "source")
    kept = {key: old[key] for key in own if key in old} if old else {}
    if old is None or old["sha256"] != new["sha256"]:
        return {**new, **kept}
    missing = [m for m in old["missing"] if m not in new["encoders"]] + list(new["missing"])
    both = {
        key: {**old.get(key, {}), **new.get(key, {})} for key in ("encoders", "files", "hashes")
    }
    return {**new, **both, **kept, "missing": sorted(missing)}
