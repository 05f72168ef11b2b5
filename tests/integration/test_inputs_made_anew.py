"""What users write on a topic that was deleted and made anew, at offsets that were decided before: it is acted on, and `doctor` sees it."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topic_admin import admin_client, ensure_topics

CATALOG = """\
environments: {lab: {actuator: dry-run}}
services:
  shop/cart: {images: [registry.example/shop/cart], environments: {lab: {}}}
  shop/pay: {images: [registry.example/shop/pay], environments: {lab: {}}}
"""
INPUTS = ("artifacts", "catalog", "control")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.timeout(300)
def test_what_is_written_on_inputs_that_were_made_anew_is_acted_on(run: Run, topics: Settings, workers: Workers, tmp_path: Path) -> None:
    """The first records of the new topics stand where others were decided."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG)

    def done(*words: str) -> str:
        said = run(*words, "--wait", "90")
        assert said.returncode == 0, said.stdout + said.stderr + workers.tails()
        return said.stdout

    workers.start(msgspec.structs.replace(topics, window_seconds=1, lateness_seconds=1), "engine", "one")
    done("catalog", "apply", str(catalog))
    done("artifact", "push", f"registry.example/shop/cart@sha256:{'1' * 64}")
    for _ in range(3):
        done("control", "freeze", "lab", "--why", "before")
    workers.children.pop("one").stop()
    asyncio.run(_make_anew(topics, *INPUTS))
    shorter = [found for found in json.loads(run("doctor", "--json").stdout) if found["check"] == "environments"]
    assert [(found["health"], found["what"].split("/")[0]) for found in shorter] == [("note", topic) for topic in INPUTS], shorter

    workers.start(msgspec.structs.replace(topics, window_seconds=1, lateness_seconds=1), "engine", "again")
    catalog.write_text(CATALOG.replace("shop/pay", "shop/till"))
    assert "made anew" in done("catalog", "apply", str(catalog))
    assert "made anew" in done("artifact", "push", f"registry.example/shop/cart@sha256:{'2' * 64}")
    assert "made anew" in done("control", "unfreeze", "lab", "--why", "it is acted on")
    assert "made anew" not in done("control", "freeze", "lab", "--why", "once is enough")
    assert "lab/shop-cart/2" in [rollout["id"] for rollout in json.loads(run("rollouts", "lab", "--json").stdout)]


async def _make_anew(settings: Settings, *topics: str) -> None:
    async with admin_client(settings) as client:
        names = [settings.topic(topic) for topic in topics]
        await client.delete_topics(names)
        while set(names) & set(await client.list_topics()):
            await asyncio.sleep(0.2)
    await ensure_topics(settings)
