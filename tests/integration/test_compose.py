"""``docker-compose.yml`` against the Compose schema, our settings, topics, ports and commands, and a real broker's settings.

There is no Docker engine to start it with, so everything that can be wrong in it is held against whoever knows: the schema that
Docker Compose itself is built with, click's commands, the example configuration, and the broker.
"""

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from click import Command, Group

from ctrlplane_stream.cli import main
from ctrlplane_stream.decision import native
from ctrlplane_stream.local.collector import COLLECTOR_VERSION
from ctrlplane_stream.local.kafka import KAFKA_VERSION, EmbeddedKafka, NamedKafka
from ctrlplane_stream.settings import SETTINGS, Settings, load
from ctrlplane_stream.telemetry.native.library import LIBRARY
from ctrlplane_stream.wire.topic_admin import admin_client

_ROOT = Path(__file__).parents[2]
_COMPOSE = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_OURS = {name: service for name, service in _SERVICES.items() if service["image"].startswith("ctrlplane-stream:")}
_SCHEMA = ("github.com/compose-spec/compose-go/v2@v2.9.1", "h1:8UwI+ujNU+9Ffkf/YgAm/qM9/eU7Jn8nHzWG721W4rs=")


@pytest.fixture(scope="module")
def compose_schema(require: Callable[[list[str]], None]) -> dict[str, Any]:
    """The schema inside the module that reads Compose files, by its checksum."""
    require([] if shutil.which("go") else ["go is missing: install Go 1.25 or newer to get the Compose schema"])
    module, checksum = _SCHEMA
    got = json.loads(subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, check=True, cwd="/").stdout)
    assert got["Sum"] == checksum
    schema: dict[str, Any] = json.loads((Path(got["Dir"]) / "schema" / "compose-spec.json").read_text())
    return schema


def test_it_is_a_compose_file(compose_schema: dict[str, Any]) -> None:
    """No error by the schema; and a misspelt key would be one."""
    validator = jsonschema.Draft7Validator(compose_schema)
    assert [error.message for error in validator.iter_errors(_COMPOSE)] == []
    misspelt = {"services": {"kafka": {"image": "x", "enviroment": {}}}}
    assert list(validator.iter_errors(misspelt))


@pytest.mark.parametrize("name", _SERVICES)
def test_every_image_is_pinned_to_a_whole_version_and_what_others_built_to_its_digest(name: str) -> None:
    """major.minor.patch, never a moving tag; ours is built here and has no digest before that."""
    digest = "" if name in _OURS else "@sha256:[0-9a-f]{64}"
    assert re.search(rf":\d+\.\d+\.\d+(-[a-z]+)?{digest}$", _SERVICES[name]["image"])


def test_our_image_stands_on_images_of_one_content() -> None:
    """Each stage of the Dockerfile begins at a digest."""
    begun = re.findall(r"^FROM (\S+)", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(begun) == 2
    assert all(re.search(r":\d+\.\d+\.\d+[a-z-]*@sha256:[0-9a-f]{64}$", image) for image in begun)


def test_our_image_copies_only_what_is_sent_to_its_build() -> None:
    """What ``.dockerignore`` does not allow is not there to be copied; the first line of it shuts everything out."""
    ignored, *allowed = [line for line in (_ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignored == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    for source in sources:
        assert (_ROOT / source).exists()
        assert any(f"!{part}" in allowed for part in [source, *map(str, Path(source).parents)]), source


@pytest.mark.parametrize(
    ("folder", "made", "library"),
    [("/native", "/spans.so", LIBRARY), ("/judging", "/judging", Path(native.__file__))],
    ids=["spans", "judging"],
)
def test_our_image_compiles_the_libraries_that_the_program_takes(folder: str, made: str, library: Path, tmp_path: Path) -> None:
    """The lines that compile in the image, here, by this Python's configuration: each library is of the sources that are here."""
    (line,) = re.findall(rf"^RUN (cd {folder} && cc .*)$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    config = f"{sys.base_prefix}/bin/python3-config"
    sources, target = str(library.parent), f"{tmp_path}/{made.strip('/')}"
    here = line.replace(f"cd {folder}", f"cd {sources}").replace(f"-o {made}", f"-o {target}").replace(f'-o "{made}', f'-o "{target}')
    subprocess.run(["sh", "-c", here.replace("python3-config", config)], check=True)
    (found,) = tmp_path.iterdir()
    hashed = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(library.parent.glob("*.[ch]")))).hexdigest()[:16]
    assert hashed.encode() in found.read_bytes()


def test_the_parts_are_of_the_versions_that_the_tests_run() -> None:
    """The broker and the Collector of Compose are the ones tried here."""
    assert f":{KAFKA_VERSION}@" in _SERVICES["kafka"]["image"]
    assert f":{COLLECTOR_VERSION}@" in _SERVICES["collector"]["image"]


def test_nothing_is_reachable_from_another_machine_and_no_port_twice() -> None:
    """Every published port is bound to loopback."""
    published = [port for service in _SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


@pytest.mark.parametrize("name", _OURS)
def test_our_services_are_told_only_what_they_understand(name: str) -> None:
    """Every variable is a setting, or an option of the command that is run, and has a value that it can have."""
    environ = {key: str(value) for key, value in _OURS[name]["environment"].items()}
    options = {str(option.envvar) for command in _OURS for option in _command(_OURS[command]["command"]).params if option.envvar}
    assert set(environ) <= {setting.variable for setting in SETTINGS} | options
    assert load(environ).kafka_bootstrap_servers == "kafka:9092"


@pytest.mark.parametrize("name", _OURS)
def test_our_services_run_commands_that_exist(name: str) -> None:
    """The command line parses: the command is there and takes these flags."""
    words = _OURS[name]["command"]
    command = _command(words)
    flags = {flag for option in command.params for flag in option.opts}
    assert {word for word in words if word.startswith("--")} <= flags


def test_the_collector_listens_where_its_ports_are_published_and_writes_where_we_read() -> None:
    """The endpoints are the example's variables, and nobody renames the topic."""
    collector = _SERVICES["collector"]
    example = (_ROOT / "examples" / "otel-collector.yaml").read_text()
    known = set(re.findall(r"\$\{env:(\w+)", example))
    assert set(collector["environment"]) <= known
    inside = {port.rsplit(":", 1)[1] for port in collector["ports"]}
    assert inside == {collector["environment"][f"OTLP_{way}_ENDPOINT"].rsplit(":", 1)[1] for way in ("GRPC", "HTTP")}
    assert "OTLP_SPANS_TOPIC:-otlp_spans}" in example
    assert "OTLP_SPANS_TOPIC" not in collector["environment"]


def test_the_intake_listens_where_its_ports_are_published() -> None:
    """The container side of each port is the default of an option."""
    defaults = {str(option.default) for option in _command(["intake"]).params}
    assert {port.rsplit(":", 1)[1] for port in _SERVICES["intake"]["ports"]} <= defaults


def test_whoever_needs_topics_waits_for_them() -> None:
    """Topics are made after the broker answers and before anybody writes or reads."""
    assert _SERVICES["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    for name in ("collector", "intake", "worker"):
        assert _SERVICES[name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_the_broker_knows_every_setting_that_it_is_given(kafka: EmbeddedKafka | NamedKafka) -> None:
    """Each KAFKA_… variable is, in lower case with dots, the name of a broker setting."""
    known = asyncio.run(_broker_settings(kafka.bootstrap))
    given = {key.removeprefix("KAFKA_").lower().replace("_", ".") for key in _SERVICES["kafka"]["environment"]}
    assert given <= known
    assert len(given) >= 10


def _command(words: list[str]) -> Command:
    """The command that a command line names."""
    command: Command = main
    for word in words:
        if not isinstance(command, Group):
            break
        found = command.get_command(None, word)  # type: ignore[arg-type]
        assert found is not None, word
        command = found
    return command


async def _broker_settings(bootstrap: str) -> set[str]:
    async with admin_client(Settings(kafka_bootstrap_servers=bootstrap)) as client:
        brokers = (await client.describe_cluster())["brokers"]
        (response,) = await client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(brokers[0]["node_id"]))])
        return {entry[0] for _, _, _, _, entries in response.resources for entry in entries}
