"""How many spans a sampled span stands for.

OpenTelemetry's consistent probability sampling writes the rejection threshold ``th`` (up to 14 hexadecimal digits,
padded on the right with zeros) into the ``ot`` member of the W3C trace state; a kept span stands for
``2**56 / (2**56 - th)`` spans (OpenTelemetry specification, "TraceState: Probability Sampling").
"""

_SPACE = 1 << 56
_DIGITS = 14
_MOST = 1 << 20
"""Spans that one may stand for. Nobody samples one in a million: what says so is broken, and would outweigh a day of traffic by itself."""


def weight(trace_state: bytes, default: float) -> float:
    """The adjusted count that a trace state gives, or ``default`` where it has no threshold that is well-formed and can be meant."""
    if b"ot=" not in trace_state:
        return default
    for member in trace_state.split(b","):
        key, _, value = member.strip().partition(b"=")
        if key == b"ot":
            return _adjusted(value, default)
    return default


def _adjusted(value: bytes, default: float) -> float:
    for field in value.split(b";"):
        if field.startswith(b"th:"):
            digits = field[3:]
            if not 1 <= len(digits) <= _DIGITS or not all(c in b"0123456789abcdef" for c in digits):
                return default
            stands_for = _SPACE / (_SPACE - int(digits.ljust(_DIGITS, b"0"), 16))
            return stands_for if stands_for <= _MOST else default
    return default
