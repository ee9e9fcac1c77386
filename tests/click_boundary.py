"""A boundary for Click, on nothing but the four calls of a unit of work."""

from typing import Any

import click

from activebase import UnitOfWork


class UnitCommand(click.Command):
    """A command that happens completely or not at all: ``@click.command(cls=UnitCommand)``."""

    def invoke(self, ctx: click.Context) -> Any:
        unit = UnitOfWork.begin(name=ctx.command_path)
        try:
            result = super().invoke(ctx)
            unit.commit()
            return result
        except BaseException:  # ctx.exit() and Ctrl-C, too
            unit.rollback()
            raise
        finally:
            unit.close()
