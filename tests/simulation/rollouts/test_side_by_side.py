"""Seeds played side by side in processes."""

import json

from click.testing import CliRunner

from ctrlplane_stream.commands.simulate import simulate


def test_seeds_played_side_by_side_sum_up_to_the_same() -> None:
    """However many processes play, every seed is played once and ends as it does alone."""
    told = []
    for processes in ("1", "2"):
        shown = CliRunner().invoke(simulate, ["--seeds", "300..352", "--processes", processes, "--json"])
        assert shown.exit_code == 0, shown.output
        told.append({name: count for name, count in json.loads(shown.stdout).items() if name != "seconds"})
    assert told[0] == told[1]
    assert told[0]["seeds"] == 53
