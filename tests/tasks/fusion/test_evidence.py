"""Prose and results cannot drift apart: every figure in README.md, docs/evidence.md and
docs/your_own_video.md stands in a stored result whose command is beside it.

docs/results/NAME.md is what a command printed, after a comment with the command and the date;
NAME.csv, where there is one, holds the value of each seed. A page says `<!-- results: NAME, NAME
-->` before what it quotes from them, up to the next such comment or heading.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "results"
PAGES = ("README.md", "docs/evidence.md", "docs/your_own_video.md")
# three decimals and more: metrics, not versions or settings
FIGURE = re.compile(r"(?<![\w.,])[-+]?\d+\.\d{3,}(?![\w]|\.\d)")
MARK = re.compile(r"<!-- results: (.*?) -->")
COMMAND = re.compile(r"<!-- command: (.*?) -->")


def stored(name):
    path = RESULTS / f"{name}.md"
    assert path.is_file(), f"{path}: not there, but a page quotes it"
    return path.read_text()


def figures(text):
    """Figures of a text without its code, links and comments."""
    text = re.sub(r"arXiv \S+", " ", text)
    text = re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)", " ", text, flags=re.S)
    return [found.lstrip("+-") for found in FIGURE.findall(text)]


def sections(page):
    """[(names, text)] of a page: what a mark covers, and under () all that none does."""
    found, names, lines = [], (), []
    for line in (ROOT / page).read_text().splitlines():
        mark = MARK.fullmatch(line.strip())
        if mark or line.startswith("## "):
            found.append((names, "\n".join(lines)))
            names, lines = (tuple(n.strip() for n in mark[1].split(",")) if mark else ()), []
        lines.append(line)
    return found + [(names, "\n".join(lines))]


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_stands_in_a_stored_result(page):
    for names, text in sections(page):
        known = {figure for name in names for figure in figures(stored(name))}
        lost = [figure for figure in figures(text) if figure not in known]
        assert not lost, (
            f"{page}, section {names or 'without a mark'}: {lost[:8]} stand in none of"
            f" {[f'{n}.md' for n in names]}; renew the results or the page"
        )


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_result_has_its_command_beside_it(page):
    text = re.sub(r"\s+", " ", (ROOT / page).read_text())
    for name in {name for names, _ in sections(page) for name in names}:
        commands = COMMAND.findall(stored(name))
        assert commands, f"{name}.md names no command"
        for command in commands:
            assert re.sub(r"\s+", " ", command) in text, (
                f"{page} quotes {name}.md without its command: {command}"
            )


def test_stored_results_are_used():
    used = {name for page in PAGES for names, _ in sections(page) for name in names}
    assert used == {path.stem for path in RESULTS.glob("*.md")}


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_means_and_deviations_are_those_of_the_seeds(path):
    """Each line of a table of a stored sweep, `setting` | seeds | mean ± sd, against the values
    of its seeds."""
    values = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            values[row["setting"], row["metric"]].append(float(row["value"]))
    page, checked = stored(path.stem), 0
    for title, table in re.findall(
        r"^## (AUC|AP|AUC of whole videos by their peaks)\n(.*?)(?=^## |\Z)",
        page,
        flags=re.S | re.M,
    ):
        metric = "auc_video" if "whole videos" in title else title
        for line in table.splitlines():
            found = re.match(r"\| \**`([^`]+)`\**(?: \(base\))? \| (\d+) \| (\S+) ± (\S+) \|", line)
            if found:
                seeds = np.array(values[found[1], metric.lower()])
                assert (
                    str(len(seeds)),
                    f"{seeds.mean():.4f}",
                    f"{seeds.std(ddof=1):.4f}",
                ) == found.groups()[1:], (path.stem, line)
                checked += 1
    assert checked >= 2 * len({setting for setting, _ in values}) > 0
