"""README.md and docs/: links that resolve, lines that fit, examples that run, and figures that were
measured.

A page says `<!-- results: NAME, NAME -->` before prose that quotes docs/results/NAME.md; the mark
holds up to the next one or the next heading. Tables are written by `gfvad report --tables`
(tests/reporting/test_result_tables.py).
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gfvad
from gfvad.graphs.relations import RELATIONS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
ALL = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in ALL if RESULTS not in path.parents]
# three decimals and more: metrics, not versions or settings
FIGURE = re.compile(r"(?<![\w.,])[-+]?\d+\.\d{3,}(?![\w]|\.\d)")
MARK = re.compile(r"<!-- results: (.*?) -->")
WRITTEN = re.compile(r"<!-- (?:table|run): \S+ -->\n.*?<!-- end -->", re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
name = lambda path: str(path.relative_to(ROOT))


def figures(text):
    """Figures of a text without its code, links and comments."""
    text = re.sub(r"arXiv \S+", " ", text)
    text = re.sub(
        r"```.*?```|^    .*?$|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)", " ", text, flags=re.S | re.M
    )
    return [figure.lstrip("+-") for figure in FIGURE.findall(text)]


def sections(path):
    """[(names, text)] of a page: what a mark covers, and under () all that none does."""
    parts, names, lines = [], (), []
    for line in WRITTEN.sub("", path.read_text()).splitlines():
        mark = MARK.fullmatch(line.strip())
        if mark or line.startswith("#"):
            parts.append((names, "\n".join(lines)))
            names, lines = (tuple(n.strip() for n in mark[1].split(",")) if mark else ()), []
        lines.append(line)
    return parts + [(names, "\n".join(lines))]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_figure_stands_in_a_stored_result(path):
    for names, text in sections(path):
        known = {f for n in names for f in figures((RESULTS / f"{n}.md").read_text())}
        lost = [figure for figure in figures(text) if figure not in known]
        assert not lost, f"{names or 'no mark'}: {lost[:8]}; renew the results or the page"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_quoted_result_is_linked(path):
    """So that its command and its other figures are one click away."""
    for names, _ in sections(path):
        for quoted in names:
            assert f"results/{quoted}.md" in path.read_text(), quoted


@pytest.mark.parametrize("path", ALL, ids=name)
def test_links_resolve(path):
    """Files and headings inside the project; addresses elsewhere are not tried."""
    text = re.sub(r"```.*?```|`[^`\n]*`", " ", path.read_text(), flags=re.S)
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (path.parent / target).resolve() if target else path
        assert there.exists() and there.is_relative_to(ROOT), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.M)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{link}: {there.name} has {sorted(slugs)}"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_lines_fit(path):
    """At most 100 columns, but for tables, code and links."""
    text = re.sub(r"```.*?```", "", WRITTEN.sub("", path.read_text()), flags=re.S)
    long = [
        line
        for line in text.splitlines()
        if len(line) > 100 and not line.startswith(("|", "    ")) and "](" not in line
    ]
    assert not long


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_examples_of_the_library_run(page):
    """Each block of Python by itself; the model gives scores for features of two widths."""
    registered = dict(RELATIONS)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.S):
        names: dict = {}
        exec(block, names)
        if "Scorer" in names:
            video, sound = jnp.ones((2, 6, 5)), jnp.ones((2, 6, 3))
            scores, _ = names["Scorer"]().init_with_output(jax.random.key(0), video, sound)
            assert scores.shape == (2, 6) and ((scores > 0) & (scores < 1)).all()
    for name in set(RELATIONS) - set(registered):
        del RELATIONS[name]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_tables_render(path):
    """A table has a line of dashes below its first one, with as many columns."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        first, second, *_ = [*table.splitlines(), ""]
        assert re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", second), first
        assert second.count("|") == first.replace("\\|", "").count("|"), first


def test_version_is_one():
    citation, changes = (ROOT / "CITATION.cff").read_text(), (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {gfvad.__version__}\n" in citation
    assert re.search(r"^## (\S+)", changes, flags=re.M)[1] == gfvad.__version__
