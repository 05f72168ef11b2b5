"""Why a span made no edge of its own: every span that makes none is counted under one of these, once.

A span has an edge of its own where it is the caller half or the callee half of one. The last reasons count something else than
spans: span links, since a consumer span may have many and each is a message of its own, and addresses.
"""

from enum import StrEnum


class Skip(StrEnum):
    """A reason, with the sentence that explains it."""

    sentence: str
    counts: str

    def __new__(cls, value: str, sentence: str, counts: str = "spans") -> "Skip":
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        member.counts = counts
        return member

    LOCAL = "local", "it is work inside one service, neither a call nor an arrival"
    ROOT = "root", "it has no parent: traffic from outside"
    NESTED_SERVER = "nested-server", "its parent serves the same request in the same service: two instrumentations, one arrival"
    WRAPPED_CLIENT = "wrapped-client", "another client span of the same service lies inside it and makes the call"
    MISSING_PARENT = "missing-parent", "its parent was never received"
    PARENT_LOOP = "parent-loop", "its parents form a loop, or a chain of more than 256 local spans"
    NO_PEER = "no-peer", "no server answered it and its attributes name nobody"
    UNCONSUMED = "unconsumed", "nobody consumed the message within the pairing time, though the destination has consumers"
    RECEIVE = "receive", "it only fetched or settled messages; its links, or the spans that process them, make the edges"
    LINKED = "linked", "its edges are made by its span links, message by message"
    DUPLICATE = "duplicate", "a span of this trace, id and side was received before, and its trace is still held"
    REDELIVERED = "redelivered", "its record was read before: the source redelivered it"
    NO_TRACE_ID = "no-trace-id", "its trace id is not 16 bytes, or zero"
    NO_SPAN_ID = "no-span-id", "its span id is not 8 bytes, or zero"
    NO_END_TIME = "no-end-time", "it has no end time"
    TRACE_TOO_LARGE = "trace-too-large", "its trace already holds the most halves that one trace may"
    EVICTED = "evicted", "the cap on memory was reached before it was paired"
    UNLINKED = (
        "unlinked",
        "a span link of a consumer led to no message: its producer was never received, or the message is counted",
        "links",
    )
    TOO_MANY_LINKS = "too-many-links", "a consumer has more span links than are followed", "links"
    PEER_FORGOTTEN = (
        "peer-forgotten",
        "more addresses of services were in use than are remembered: the longest unseen was given up",
        "addresses",
    )
    TOO_MANY_ENVIRONMENTS = (
        "too-many-environments",
        "more environments were spoken of at once than windows are closed of: nobody would ever take it",
        "parts of windows",
    )
