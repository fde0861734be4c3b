"""The extraction as a Beam pipeline on the local runner: the same files as the job's."""

import importlib.util
import json

import pytest
from extracting import call, tree
from media_files import open_fake, tone, write_media

pytest.importorskip(
    "apache_beam",
    reason=(
        "Apache Beam is not installed (launch/requirements-beam.txt, in an environment of its own)"
    ),
)


def test_pipeline_writes_the_same_files(tmp_path, repository, capsys):
    spec = importlib.util.spec_from_file_location(
        "extract_beam", repository / "launch" / "extract_beam.py"
    )
    pipeline = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["extract_beam"] = pipeline
    spec.loader.exec_module(pipeline)
    for k in range(5):
        write_media(
            tmp_path / "clips" / "ab"[k % 2] / f"v {k}.mp4",
            20 + k,
            sound=tone(1.0) if k else None,
            seed=k,
        )
    arguments = [str(tmp_path / "clips"), "--modalities=motion,audio", "--normal=a", "--abnormal=b"]
    assert (
        pipeline.main(
            [
                *arguments,
                f"--out={tmp_path / 'beam'}",
                "--files-per-pipeline=3",
                "--",
                "--direct_num_workers=1",
            ],
            open_fake,
        )
        == 0
    )
    assert call(*arguments, f"--out={tmp_path / 'job'}") == 0
    assert tree(tmp_path / "beam") == tree(tmp_path / "job")
    one, other = (
        json.loads((tmp_path / f / "manifest.json").read_text())["videos"] for f in ("beam", "job")
    )
    assert {n: {**r, "seconds": 0} for n, r in one.items()} == {
        n: {**r, "seconds": 0} for n, r in other.items()
    }
    # a bad file, and those that are done
    (tmp_path / "clips" / "a" / "bad.mp4").write_bytes(b"no video")
    capsys.readouterr()
    assert pipeline.main([*arguments, f"--out={tmp_path / 'beam'}"], open_fake) == 1
    said = capsys.readouterr()
    assert (
        "5 were done before" in said.out
        and "bad.mp4: not a readable video" in said.err
        and not list((tmp_path / "beam").glob(".beam*"))
    )
