"""The published score files give the known figures through our own evaluation, to five digits."""

import numpy as np
import pytest

from gfvad.base.types import DataError
from gfvad.bench import published
from gfvad.commands import compare


@pytest.fixture(scope="module")
def rows(shared_data):
    return published.check_all(shared_data)


@pytest.mark.parametrize(
    "i",
    range(len(published.CHECKS)),
    ids=[f"{c.source}-{c.quantity}-{c.normalisation}" for c in published.CHECKS],
)
def test_known_figures(rows, i):
    check, value = rows[i]
    assert check is published.CHECKS[i]
    assert value == pytest.approx(check.expected, abs=published.TOLERANCE)


def test_numbers_of_videos(shared_data):
    assert len(published.xd_hlnet(shared_data)) == 800 and len(published.tevad(shared_data)) == 199
    assert [len(published.memae(shared_data, d)) for d in ("ped2", "avenue")] == [12, 21]


def test_command(shared_data, capsys):
    assert compare.main(["published", f"--root={shared_data}"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("agrees") == len(published.CHECKS) and "DIFFERS" not in printed


def test_command_without_files(tmp_path, capsys):
    assert compare.main(["published", f"--root={tmp_path}"]) == 2
    assert "holds none of" in capsys.readouterr().err


def test_a_wrong_figure_is_told(tmp_path, capsys):
    folder = tmp_path / "published_scores"
    folder.mkdir()
    np.savez(
        folder / "tevad_shanghaitech.npz",
        **{"scores/a": np.arange(4.0), "labels/a": np.array([0, 1, 0, 1], np.uint8)},
    )
    assert compare.main(["published", f"--root={tmp_path}"]) == 1
    assert "DIFFERS" in capsys.readouterr().out
    (folder / "tevad_shanghaitech.npz").write_text("broken")
    with pytest.raises(DataError, match="not an .npz archive"):
        published.check_all(tmp_path)
