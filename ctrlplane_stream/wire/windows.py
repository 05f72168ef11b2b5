"""A record of ``telemetry-windows``, read in one way by everybody who reads the topic."""

import msgspec

from ctrlplane_stream.model.windows import WindowRecord
from ctrlplane_stream.wire.cloudevents import Unreadable, decode

_decoder: msgspec.json.Decoder[WindowRecord] = msgspec.json.Decoder(WindowRecord)


def read_window(value: bytes | None) -> WindowRecord | Unreadable:
    """The word that a record holds, or why it holds none. Never raises."""
    return decode(value or b"", _decoder, "window record")
