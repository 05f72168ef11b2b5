"""How commands and groups of them show themselves: settings apart from a command's own options, and what a mistyped one was meant to be."""

from difflib import get_close_matches

import click


class SettingOption(click.Option):
    """A flag for a setting, which many commands have alike."""


class Command(click.Command):
    """As click's, with the flags for settings below its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Two lists; the second only where it has something in it."""
        found = [(isinstance(p, SettingOption), record) for p in self.get_params(ctx) if (record := p.get_help_record(ctx)) is not None]
        for title, are_settings in (("Options", False), ("Settings (docs/settings.md says more)", True)):
            if rows := [record for is_setting, record in found if is_setting is are_settings]:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Group(click.Group):
    """As click's, but for what it says of a command that is none."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; a usage error that names what was meant, where that can be told."""
        typed = args[0] if args else ""
        known = self.list_commands(ctx)
        near = get_close_matches(typed, known) if typed not in known and not typed.startswith("-") else []
        if near:
            raise click.UsageError(f"no such command {typed!r}; did you mean {' or '.join(near)}?", ctx)
        return super().resolve_command(ctx, args)
