"""Mean and spread over seeds."""
import json

import numpy as np
import pytest

from gfvad.eval import summary
from gfvad.types import DataError


def _run(folder, seed, value, group="g"):
    folder.mkdir(parents=True)
    record = {"aggregation": "micro", "normalisation": "none", "smoothing": "none", "checkpoint": "last"}
    records = [record | {"metric": "auc", "value": value}, record | {"metric": "auc", "value": 0.99, "checkpoint": "best-on-test"},
               record | {"metric": "ap", "value": value / 2}]  # fmt: skip
    content = {"records": records, "seed": seed, "dataset": "d", "headline": {}, "group": group, "label": f"label {group}"}
    (folder / "results.json").write_text(json.dumps(content))


def test_mean_and_spread(tmp_path, capsys):
    values = np.array([0.8, 0.9, 0.85])
    for seed, value in enumerate(values):
        _run(tmp_path / f"seed{seed}", seed, value)
    _run(tmp_path / "other", 0, 0.7, group="h")
    rows = summary.summarise(summary.find(tmp_path))
    row = next(r for r in rows if len(r.seeds) == 3)
    np.testing.assert_allclose(row.values["auc"], values)
    assert summary.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"{values.mean():.4f} ± {values.std(ddof=1):.4f} (0.8000 to 0.9000)" in printed and "| 0.7000 |" in printed


def test_bad_folders(tmp_path, capsys):
    assert summary.main([str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert summary.main([str(tmp_path)]) == 2
    _run(tmp_path / "a", 0, 0.5)
    _run(tmp_path / "b", 0, 0.5)
    with pytest.raises(DataError, match="repeat"):
        summary.summarise(summary.find(tmp_path))
    (tmp_path / "a" / "results.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        summary.summarise(summary.find(tmp_path))
