"""How one version conducts itself: what its image and its configuration make of the service it is a version of."""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.local.shop.images import Behaviour

_ERROR_SHARE = 0.3
_LATENCY_MILLISECONDS = 300.0
_DIES_AT_REQUEST = 20


class BadConfiguration(ValueError):
    """A configuration value that cannot be used; the text names key and value."""


class Conduct(msgspec.Struct, frozen=True):
    """The faults of a version; the default has none.

    ``error_share`` of the requests (0 to 1) fail; each takes ``delay_milliseconds`` longer; every call is made
    ``calls_each`` times; ``strays`` makes the call that it should not; ``dies_at_request`` is the one it does not survive.
    """

    error_share: float = 0.0
    delay_milliseconds: float = 0.0
    calls_each: int = 1
    strays: bool = False
    dies_at_request: int | None = None
    crashes: bool = False
    becomes_ready: bool = True


def conduct(behaviour: Behaviour, configuration: Mapping[str, str]) -> Conduct:
    """The conduct of a version. Raises BadConfiguration.

    Of the configuration, ``ERROR_SHARE`` (0 to 1) and ``DELAY_MILLISECONDS`` matter, the worse of image and
    configuration prevailing; every other key is harmless.
    """
    wrong = behaviour is Behaviour.WRONG_CALLS
    return Conduct(
        error_share=max(_ERROR_SHARE if behaviour is Behaviour.ERRORS else 0.0, _number(configuration, "ERROR_SHARE", 1.0)),
        delay_milliseconds=max(
            _LATENCY_MILLISECONDS if behaviour is Behaviour.LATENCY else 0.0, _number(configuration, "DELAY_MILLISECONDS", 60_000.0)
        ),
        calls_each=2 if wrong else 1,
        strays=wrong,
        dies_at_request=_DIES_AT_REQUEST if behaviour is Behaviour.DIES else None,
        crashes=behaviour is Behaviour.CRASH,
        becomes_ready=behaviour is not Behaviour.NEVER_READY,
    )


def _number(configuration: Mapping[str, str], key: str, most: float) -> float:
    text = configuration.get(key, "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= most:
        raise BadConfiguration(f"{key}={text!r}: give a number from 0 to {most:g}")
    return value
