"""OTLP/JSON that is none is told in its own words."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.wire.otlp import Unreadable, request_bytes

BROKEN: list[tuple[Any, str]] = [
    ({"resourceSpans": 5}, "resourceSpans cannot be 5"),
    ({"resourceSpans": [1]}, "what would hold resource cannot be 1"),
    ({"resourceSpans": [{"resource": {"attributes": [{"key": 3}]}}]}, 'an attribute cannot be {"key":3}'),
    ({"resourceSpans": [{"resource": {"attributes": [{"value": "x"}]}}]}, 'an attribute cannot be {"value":"x"}'),
    ({"resourceSpans": [{"resource": {"attributes": [{"value": {"intValue": "x"}}]}}]}, 'intValue cannot be "x"'),
    ({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}, 'traceId cannot be "zz"'),
    ({"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": 5}]}]}]}, "spanId cannot be 5"),
    ({"resourceSpans": [{"scopeSpans": [{"spans": [{"endTimeUnixNano": "now"}]}]}]}, 'endTimeUnixNano cannot be "now"'),
    ({"resourceSpans": [{"scopeSpans": [{"spans": [{"status": 7}]}]}]}, "what would hold code cannot be 7"),
]


@pytest.mark.parametrize(("document", "wrong"), BROKEN)
def test_what_is_wrong_with_a_document_is_said_by_its_name(document: Any, wrong: str) -> None:
    assert request_bytes(msgspec.json.encode(document)) == Unreadable(f"not an OTLP/JSON trace request: {wrong}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
NAMES = ("traceId", "parentSpanId", "traceState", "kind", "startTimeUnixNano", "attributes", "links", "status")
ATTRIBUTES = st.sampled_from(("stringValue", "intValue", "boolValue", "doubleValue", "arrayValue"))


@given(span=st.dictionaries(st.sampled_from(NAMES), VALUES), key=VALUES, kind=ATTRIBUTES, value=VALUES, code=VALUES, link=VALUES)
def test_no_document_raises(span: dict[str, Any], key: Any, kind: str, value: Any, code: Any, link: Any) -> None:
    usual = {"attributes": [{"key": key, "value": {kind: value}}], "links": [link], "status": {"code": code}}
    for spans in ([span], [usual | span], [usual], span):
        document = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
        assert isinstance(request_bytes(msgspec.json.encode(document)), (bytes, Unreadable))
