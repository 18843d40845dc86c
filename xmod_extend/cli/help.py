"""How a command's help looks: options under headings, readable in a narrow terminal too."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from typer.core import TyperCommand

WIDE = 60
"""Columns from which on an option and its text stand side by side."""
NAME_COLUMNS, NARROW_NAME_COLUMNS = 28, 6
"""An option whose name takes more has its text below it."""


class Command(TyperCommand):
    """A command whose help lists its options by panel, in the order in which they are declared.

    Rich's boxes would cut the options' names in a narrow terminal.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        # It never goes below 50 by itself.
        formatter.width = min(formatter.width, shutil.get_terminal_size().columns - 2)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is None:
                continue
            default = "Arguments" if parameter.param_type_name == "argument" else "Help"
            panel = getattr(parameter, "rich_help_panel", None) or default
            panels.setdefault(panel, []).append(row)
        columns = NAME_COLUMNS if formatter.width >= WIDE else NARROW_NAME_COLUMNS
        for panel, rows in panels.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows, col_max=columns)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        for paragraph in filter(None, (self.epilog or "").strip("\n").split("\n\n")):
            lines = paragraph.splitlines()
            if not paragraph.startswith(" "):
                # An option's name is not cut at a hyphen.
                lines = textwrap.wrap(paragraph, formatter.width, break_on_hyphens=False)
            formatter.write("\n" + "".join(f"{line}\n" for line in lines))
