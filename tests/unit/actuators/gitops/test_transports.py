"""Every way to a repository, against git's own servers: HTTP with a token or git's helper, SSH, a path; and none at all."""

import logging
from pathlib import Path

import pytest

from ctrlplane_stream.actuators.gitops.placement import GitPlace, Repository
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.facts import OutcomeStatus
from tests.contract.actuators.git_repositories import git
from tests.unit.actuators.gitops.scene import FILE, Scene, digest, version, wanted
from tests.unit.actuators.gitops.smart_http import served

TOKEN = "t0ken-of-nobody"


def _at(scene: Scene, url: str) -> Scene:
    scene.place = GitPlace(Repository(url), scene.place.fields, scene.place.weights)
    scene.fresh()
    return scene


def test_http_with_the_token_of_the_settings_which_is_logged_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene(tmp_path, token=TOKEN)
    git(scene.bare.path, "config", "http.receivepack", "true")
    with served(scene.bare.path.parent, "x-access-token", TOKEN) as url:
        outcome = _at(scene, f"{url}/origin.git").apply(wanted(version(1, 100)), 1)
        scene.bare.hook("pre-receive", "echo frozen; exit 1")
        refused = scene.apply(wanted(version(1, 100), version(2, 0)), 2)
    assert (outcome.status, digest(1) in scene.bare.text(FILE)) == (OutcomeStatus.APPLIED, True)
    assert "frozen" in refused.reason
    assert TOKEN not in caplog.text + outcome.reason + refused.reason + "".join(scene.bare.log("%B"))


def test_http_with_what_gits_credential_helper_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text(f'[credential]\n  helper = "!f() {{ echo username=bob; echo password={TOKEN}; }}; f"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    scene = Scene(tmp_path)
    with served(scene.bare.path.parent, "bob", TOKEN) as url:
        assert _at(scene, f"{url}/origin.git").apply(wanted(version(1, 100)), 1).status is OutcomeStatus.APPLIED


def test_http_that_does_not_let_us_in_says_what_to_set(tmp_path: Path) -> None:
    scene = Scene(tmp_path, token="another")
    with (
        served(scene.bare.path.parent, "x-access-token", TOKEN) as url,
        pytest.raises(WorldUnreachable, match="set CTRLPLANE_GITOPS_TOKEN"),
    ):
        _at(scene, f"{url}/origin.git").observe()


def test_a_token_never_crosses_the_network_unencrypted(tmp_path: Path) -> None:
    with pytest.raises(WorldUnreachable, match="use https://"):
        _at(Scene(tmp_path, token=TOKEN), "http://git.example/shop.git").observe()


def test_ssh_by_the_command_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    scene = Scene(tmp_path)
    for number, url in enumerate((f"ssh://git@git.example{scene.bare.path}", f"git@git.example:{scene.bare.path}"), start=1):
        assert _at(scene, url).apply(wanted(version(1, 100)), number).status is OutcomeStatus.APPLIED
    assert digest(1) in scene.bare.text(FILE)


@pytest.mark.parametrize("url", ["/nowhere/at/all.git", "http://127.0.0.1:9/shop.git", "ssh://nobody@127.0.0.1:9/shop.git"])
def test_nobody_there_is_unreachable_with_the_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(WorldUnreachable, match="cannot be reached") as error:
        _at(Scene(tmp_path), url).observe()
    assert url in str(error.value)


def test_a_branch_that_is_not_there_is_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.place = GitPlace(Repository(str(scene.bare.path), branch="release"), scene.place.fields, scene.place.weights)
    scene.fresh()
    with pytest.raises(WorldUnreachable, match="has no branch release"):
        scene.observe()
