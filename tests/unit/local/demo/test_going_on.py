"""What a kept demo prints can be pasted: images that there are, a catalog that is valid, commands that there are."""

import shlex
import subprocess
from pathlib import Path

from ctrlplane_stream.cli import COMMANDS
from ctrlplane_stream.local.demo.going_on import CONFIGURED, TRIED, commands_to_paste
from ctrlplane_stream.local.demo.setting import demo_catalog
from ctrlplane_stream.local.shop.images import Behaviour, behaviour_of
from ctrlplane_stream.wire.catalog_file import read_catalog_file, write_catalog_file


def _pasted(folder: Path) -> list[str]:
    return commands_to_paste({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}, 4, 3, folder)


def test_there_is_a_good_release_and_a_bad_one_and_a_look_at_what_becomes_of_each(tmp_path: Path) -> None:
    """The digests are of images that the shop has, which nobody pushed yet, and the rollouts have the numbers that come next."""
    lines = [shlex.split(line, comments=True) for line in _pasted(tmp_path)]
    pushed = [words[3].partition("@")[2] for words in lines if words[1:3] == ["artifact", "push"]]
    assert [behaviour_of(TRIED, digest) for digest in pushed] == [Behaviour.HEALTHY, Behaviour.ERRORS]
    assert [words[2] for words in lines if words[1] == "rollout"] == ["demo/shop-pricing/5", "demo/shop-pricing/6"]
    assert all(words[1] in COMMANDS for words in lines if words[0] == "ctrlplane-stream")


def test_the_catalog_that_is_pasted_changes_one_configuration_and_nothing_else(tmp_path: Path) -> None:
    """The edit, done by the shell as it is printed, on what `catalog show` prints of the demo's catalog."""
    (edit,) = (line for line in _pasted(tmp_path) if "catalog show" in line)
    shown = tmp_path / "shown.yaml"
    shown.write_text(write_catalog_file(demo_catalog()))
    subprocess.run(["sh", "-c", edit.replace("ctrlplane-stream catalog show", f"cat {shlex.quote(str(shown))}")], check=True)
    assert read_catalog_file((tmp_path / "catalog.yaml").read_text()) == demo_catalog({CONFIGURED: {"GREETING": "hello"}})
