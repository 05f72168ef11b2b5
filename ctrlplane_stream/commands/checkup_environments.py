"""The check of ``doctor`` for environments that stand still: what waits there is no lag, since it was read."""

from ctrlplane_stream.commands.findings import Finding, ok, wrong
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import look_for_standstills


async def check_environments(settings: Settings) -> list[Finding]:
    """One finding for each that stands still, or that none does. Raises as ``look_for_standstills`` does."""
    found = [wrong("environments", still.text, still.remedy) for still in await look_for_standstills(settings)]
    return found or [ok("environments", "none stands still")]
