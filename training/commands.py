"""What all commands share: an error that a user can act on is one line and status 1, never a traceback."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from emollama_ros.errors import EmollamaError


class Commands(TyperGroup):
    """The group of ``python -m training`` and of ``python -m model_export``."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Files that cannot be opened or written (OSError) name themselves in their text too.
        """
        try:
            return super().invoke(ctx)
        except (EmollamaError, OSError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
