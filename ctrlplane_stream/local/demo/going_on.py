"""What a newcomer can paste into another terminal while a demo is kept: a look around, releases, a configuration, a freeze."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ctrlplane_stream.local.shop.images import Behaviour, digest
from ctrlplane_stream.local.shop.topology import ENVIRONMENT, service_named

TRIED, CONFIGURED = "shop/pricing", "shop/recommendations"
"""What is released, and what is configured."""


def commands_to_paste(told: Mapping[str, str], newest: int, builds: int, folder: Path) -> list[str]:
    """One a line, in an order in which all of them can be pasted.

    ``told`` are the variables by which the demo is reached, ``newest`` is the number of the last version of TRIED and ``builds`` how many
    images of it there were; ``folder`` is one that ends with the demo.
    """
    return [
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        f"export {' '.join(f'{name}={value}' for name, value in sorted(told.items()))}   # for this demo alone: unset them afterwards",
        f"ctrlplane-stream rollouts {ENVIRONMENT} --all",
        f"ctrlplane-stream graph --live {ENVIRONMENT}",
        "ctrlplane-stream doctor",
        *_releases(newest, builds),
        *_configuration(shlex.quote(str(folder / "catalog.yaml"))),
        f"ctrlplane-stream control freeze {ENVIRONMENT} --why 'my turn'   # nothing starts or steps, until:",
        f"ctrlplane-stream control unfreeze {ENVIRONMENT} --why 'go on'",
    ]


def _releases(newest: int, builds: int) -> Iterator[str]:
    """A good release and a bad one, and why each is where it is."""
    image = service_named(TRIED)
    assert image is not None
    tried = ((Behaviour.HEALTHY, "a good one: it climbs, and completes"), (Behaviour.ERRORS, "one that fails: it goes back"))
    for number, (behaviour, becomes) in enumerate(tried, start=newest + 1):
        named = f"{image.image}@{digest(TRIED, behaviour, builds + 1)}"
        yield f"ctrlplane-stream artifact push {named} --environment {ENVIRONMENT}   # {becomes}"
        yield f"ctrlplane-stream rollout {ENVIRONMENT}/{TRIED.replace('/', '-')}/{number}   # why it is where it is, and what to type next"


def _configuration(file: str) -> Iterator[str]:
    """A change of configuration, by the catalog that is in force."""
    edit = f"sed 's|^  {CONFIGURED}:|&\\n    configuration: {{GREETING: hello}}|'"
    yield f"ctrlplane-stream catalog show | {edit} > {file}"
    yield f"ctrlplane-stream catalog apply {file} --why 'a greeting'   # a version like any other; with ERROR_SHARE: '0.4' it goes back"
