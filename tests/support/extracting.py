"""Calls of the extraction job in the tests, and what they leave."""

import json

from media_files import open_fake

from gfvad.extraction import feature_folder, job, planning


def call(*arguments, opener=open_fake, workers=0):
    """The exit code of one call with encoders that need nothing, in this process."""
    parsed = planning.argument_parser("extract", "")
    parsed.add_argument("--workers", type=int, default=workers)
    return job.run_extraction(parsed.parse_args([str(a) for a in arguments]), opener)


def tree(folder):
    """{file: content} of what a call leaves but for dates and durations."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in (feature_folder.MANIFEST, feature_folder.LOCK)
    }


def read_manifest(folder):
    return json.loads((folder / feature_folder.MANIFEST).read_text())
