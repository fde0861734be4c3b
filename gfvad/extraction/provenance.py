"""What a run's features were made by: the encoders of `gfvad extract`, kept in the
run's folder, so that new videos are turned into the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfvad.base.files import lies_at, read_json
from gfvad.base.seals import read_sealed, write_sealed
from gfvad.base.types import DataError
from gfvad.data.features.layouts.feature_files import EXTRACTED

MANIFEST = "manifest.json"  # of a folder of features
FEATURES = "features.json"  # of a run


def keep_encoders(root: Path | None, workdir: Path) -> None:
    """Copies what a folder of features says of its encoders into a run's folder; nothing where
    it says nothing."""
    found = stated(root)
    if found is not None:
        write_sealed(workdir / FEATURES, {"encoders": found})


def stated(root: Path | None) -> dict[str, dict[str, Any]] | None:
    """Encoders by a folder's manifest, {modality: {"name", "width", "version", "settings", "id"}};
    None where there is no such manifest.

    Raises DataError for a damaged one.
    """
    path = Path(root) / MANIFEST if root is not None else None
    if path is None or not path.is_file():
        return None
    try:
        found = read_json(path, "the manifest of features")
        return found["encoders"] if found["kind"] == EXTRACTED else None
    except KeyError as error:
        if found.get("kind") == EXTRACTED:
            raise DataError(
                f"{path}: lacks {error}; expected the manifest of features: extract the videos"
                " again"
            ) from None
        return None  # somebody else's
    except DataError:
        # of an extraction: it is damaged, and not somebody else's
        if lies_at(path.with_name("units.csv")):
            raise
        return None


def kept(workdir: Path) -> dict[str, dict[str, Any]] | None:
    """Encoders of a run's features; None where they were not made by `gfvad extract`.
    Raises DataError for a damaged file."""
    path = workdir / FEATURES
    if not lies_at(path):
        return None
    try:
        return dict(read_sealed(path, "a table of encoders")["encoders"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a table of encoders ({error}); expected what training writes: copy it"
            f" from the features' {MANIFEST}"
        ) from None
