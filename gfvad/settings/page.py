"""Settings for reading: the help of a command line, and docs/settings.md.

python -m gfvad.settings.page > docs/settings.md
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ml_collections import ConfigDict

from gfvad.settings import kinds
from gfvad.settings.config import flatten
from gfvad.settings.declared import Setting

COLUMNS = 100
TOP = """# Settings

Every setting is declared once, in `gfvad/settings/`; this page is written from the declarations by
`python -m gfvad.settings.page > docs/settings.md`. A data set's config (`configs/NAME.py`) states
what differs, and `--config.KEY=VALUE` sets one for a run. Marks: **v** settings that differ in it
can be trained in one program by an ablation; **c** a run may be continued although it differs;
**n** it cannot change a result, and stands outside the hash that names a run.
"""
TITLES = {
    "weak": "Fusion of feature sets (kind `weak`)",
    "predictive": "Prediction of frames (kind `predictive`)",
    "novelty": "Graph novelty (kind `novelty`)",
}


def values_text(setting: Setting) -> str:
    """'from 1 to 100', 'adamw, adam or sgd'; '' where the default says it all."""
    if setting.choices:
        *first, last = map(str, setting.valid)
        return f"{', '.join(first)} or {last}" if first else last
    return setting.range.short() if setting.range else ""


def as_text(config: ConfigDict | None) -> str:
    """The settings of a config with its values, or of every kind with the defaults."""
    tables = [kinds.settings_of(config)] if config is not None else list(kinds.KINDS.values())
    values = flatten(config) if config is not None else {}
    indent, lines = " " * 6, []
    for setting in (setting for table in tables for setting in in_order(table.values())):
        allowed = values_text(setting)
        lines.append(f"--config.{setting.key}={values.get(setting.key, setting.default)}")
        lines[-1] += f"  ({allowed})" if allowed else ""
        lines += textwrap.wrap(
            setting.meaning, COLUMNS, initial_indent=indent, subsequent_indent=indent
        )
    return "\n".join(lines)


def as_markdown() -> str:
    """The page of settings: those of every task, then those of each."""
    tables = [list(table.values()) for table in kinds.KINDS.values()]
    alike = [setting for setting in tables[0] if all(setting in table for table in tables)]
    parts = [TOP, f"## Every task\n\n{_table(alike)}"]
    for kind, table in zip(kinds.KINDS, tables):
        own = [setting for setting in table if setting not in alike]
        parts.append(f"## {TITLES.get(kind, kind)}\n\n{_table(own)}")
    return "\n".join(parts)


def in_order(settings: Iterable[Setting]) -> list[Setting]:
    """By group, those of the top first; within a group as declared."""
    settings = list(settings)
    groups = list(dict.fromkeys(s.key.rpartition(".")[0] for s in settings))
    tops = list(dict.fromkeys(group.partition(".")[0] for group in groups))

    def place(setting: Setting) -> tuple[int, int]:
        group = setting.key.rpartition(".")[0]
        return tops.index(group.partition(".")[0]), groups.index(group)

    return sorted(settings, key=place)


def _table(settings: Iterable[Setting]) -> str:
    head = "| setting | default | values | meaning | |\n|---|---|---|---|---|\n"
    return head + "".join(map(_row, in_order(settings)))


def _row(s: Setting) -> str:
    default = f"`{s.default}`" if s.default != "" else ""
    marks = "v" * s.varies + "c" * s.free + "n" * (not s.hashed)
    cells = (f"`{s.key}`", default, values_text(s), s.meaning.replace("|", "\\|"), marks)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
