from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HalfRecord(_message.Message):
    __slots__ = ("batch", "watermark", "watch")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    batch: HalfBatch
    watermark: Watermark
    watch: Watch
    def __init__(self, batch: _Optional[_Union[HalfBatch, _Mapping]] = ..., watermark: _Optional[_Union[Watermark, _Mapping]] = ..., watch: _Optional[_Union[Watch, _Mapping]] = ...) -> None: ...

class HalfBatch(_message.Message):
    __slots__ = ("source", "through", "offsets", "rows", "tables", "before", "traces_high", "traces_low", "spans", "parents", "ends", "durations", "flags", "origin_rows", "peer_rows", "weight_rows")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    TRACES_HIGH_FIELD_NUMBER: _ClassVar[int]
    TRACES_LOW_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    DURATIONS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_ROWS_FIELD_NUMBER: _ClassVar[int]
    PEER_ROWS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_ROWS_FIELD_NUMBER: _ClassVar[int]
    source: int
    through: int
    offsets: _containers.RepeatedScalarFieldContainer[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    tables: bytes
    before: int
    traces_high: bytes
    traces_low: bytes
    spans: bytes
    parents: bytes
    ends: bytes
    durations: bytes
    flags: bytes
    origin_rows: bytes
    peer_rows: bytes
    weight_rows: bytes
    def __init__(self, source: _Optional[int] = ..., through: _Optional[int] = ..., offsets: _Optional[_Iterable[int]] = ..., rows: _Optional[_Iterable[int]] = ..., tables: _Optional[bytes] = ..., before: _Optional[int] = ..., traces_high: _Optional[bytes] = ..., traces_low: _Optional[bytes] = ..., spans: _Optional[bytes] = ..., parents: _Optional[bytes] = ..., ends: _Optional[bytes] = ..., durations: _Optional[bytes] = ..., flags: _Optional[bytes] = ..., origin_rows: _Optional[bytes] = ..., peer_rows: _Optional[bytes] = ..., weight_rows: _Optional[bytes] = ...) -> None: ...

class Tables(_message.Message):
    __slots__ = ("origins", "peers", "weights")
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    origins: _containers.RepeatedCompositeFieldContainer[Origin]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, origins: _Optional[_Iterable[_Union[Origin, _Mapping]]] = ..., peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("environment", "service", "version")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service: str
    version: str
    def __init__(self, environment: _Optional[str] = ..., service: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("kind", "name", "address", "said", "rpc")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EXTERNAL: _ClassVar[Peer.Kind]
        DATABASE: _ClassVar[Peer.Kind]
        DESTINATION: _ClassVar[Peer.Kind]
    EXTERNAL: Peer.Kind
    DATABASE: Peer.Kind
    DESTINATION: Peer.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    kind: Peer.Kind
    name: str
    address: str
    said: str
    rpc: str
    def __init__(self, kind: _Optional[_Union[Peer.Kind, str]] = ..., name: _Optional[str] = ..., address: _Optional[str] = ..., said: _Optional[str] = ..., rpc: _Optional[str] = ...) -> None: ...

class Watermark(_message.Message):
    __slots__ = ("source", "time_ms", "idle", "written_at_ms", "environments")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    IDLE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    source: int
    time_ms: int
    idle: bool
    written_at_ms: int
    environments: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source: _Optional[int] = ..., time_ms: _Optional[int] = ..., idle: _Optional[bool] = ..., written_at_ms: _Optional[int] = ..., environments: _Optional[_Iterable[str]] = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ("environment", "service", "versions")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service: str
    versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, environment: _Optional[str] = ..., service: _Optional[str] = ..., versions: _Optional[_Iterable[str]] = ...) -> None: ...
