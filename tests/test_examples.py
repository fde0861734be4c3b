"""Every script of docs/examples: it runs as it is, says what its page says, and is short."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from registered import leave_no_trace

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
SCRIPTS = sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem != "made_up")


@pytest.fixture(autouse=True)
def examples_beside(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    with leave_no_trace():
        yield
    sys.modules.pop("made_up", None)


@pytest.mark.parametrize("name", SCRIPTS)
def test_example(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    page = (EXAMPLES / "README.md").read_text()
    assert said.strip() and "nan" not in said
    for line in said.splitlines():  # as on the page, but for the numbers
        label = re.split(r"\s{2,}|\s\d", line)[0]
        assert label in page, f"docs/examples/README.md does not show {line!r}"
    assert f"[{name}.py]({name}.py)" in page
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60
