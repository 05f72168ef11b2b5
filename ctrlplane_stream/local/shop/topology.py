"""Who is in the shop and who calls whom: the one table that every other module of the shop reads.

Two groups that have nothing to do with each other, ``shop`` and ``blog``. In the shop there are a fan-out (frontend), a
chain of four (frontend, cart, pricing, inventory), a shared dependency (inventory), a retry (checkout to payment), a
database (inventory's) and a consumer behind a topic (fulfilment)::

    shop/frontend ─┬─► catalog ──────────────► inventory ══ sqlite
                   ├─► recommendations ─► catalog      ▲
                   ├─► cart ─► pricing ────────────────┤
                   └─► checkout ─┬─► cart              │
                                 ├─► payment (retried) │
                                 └─ shop-orders ─► fulfilment
    blog/web ─► posts ══ sqlite
"""

import msgspec

from ctrlplane_stream.model.identity import ServiceKind

ENVIRONMENT = "demo"
ORDERS_TOPIC = "shop-orders"
ORDERS_PARTITIONS = 4
FULFILMENT_GROUP = "shop-fulfilment"


class Call(msgspec.Struct, frozen=True):
    """A request to another service's operation. ``attempts`` beyond the first are retries; an ``optional`` one may fail."""

    service: str
    operation: str
    attempts: int = 1
    optional: bool = False


class Query(msgspec.Struct, frozen=True):
    """A statement on the service's own sqlite database."""

    operation: str
    table: str
    statement: str


class Publish(msgspec.Struct, frozen=True):
    """A message on a Kafka topic; nobody waits for who reads it."""

    topic: str


Action = Call | Query | Publish


class Operation(msgspec.Struct, frozen=True):
    """What a service can be asked for: stages one after the other, the actions of a stage together."""

    name: str
    stages: tuple[tuple[Action, ...], ...] = ()
    work_milliseconds: float = 1.0


class Service(msgspec.Struct, frozen=True):
    """A service. ``stray`` is a call that only a version with wrong calls makes; ``configuration`` are its defaults.

    A ROUTED service serves ``GET /<operation>``; a CONSUMER performs its only operation for every message of ``consumes``.
    """

    name: str
    operations: tuple[Operation, ...]
    stray: Call | None = None
    kind: ServiceKind = ServiceKind.ROUTED
    consumes: str | None = None
    configuration: dict[str, str] = {}

    @property
    def image(self) -> str:
        """The made-up image repository of the service."""
        return f"registry.example/{self.name}"

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call of every operation."""
        return tuple(a for o in self.operations for stage in o.stages for a in stage if isinstance(a, Call))

    @property
    def queries(self) -> tuple[Query, ...]:
        """Every statement of every operation."""
        return tuple(a for o in self.operations for stage in o.stages for a in stage if isinstance(a, Query))

    @property
    def publishes(self) -> bool:
        """Whether it writes a topic."""
        return any(isinstance(a, Publish) for o in self.operations for stage in o.stages for a in stage)

    @property
    def uses_kafka(self) -> bool:
        """Whether it reads or writes a topic."""
        return self.consumes is not None or self.publishes

    def operation(self, name: str) -> Operation | None:
        """The operation of that name, or None."""
        return next((o for o in self.operations if o.name == name), None)


class Entry(msgspec.Struct, frozen=True):
    """Where users come in: a service, and the share of its operations in what they ask for."""

    service: str
    mix: dict[str, float]


_STOCK = Call("shop/inventory", "stock")
_TO_PAYMENT = Call("shop/payment", "charge")

SERVICES: tuple[Service, ...] = (
    Service(
        "shop/frontend",
        (
            Operation(
                "browse",
                ((Call("shop/catalog", "list"), Call("shop/cart", "view"), Call("shop/recommendations", "list", optional=True)),),
            ),
            Operation("checkout", ((Call("shop/checkout", "place"),),)),
        ),
        stray=_STOCK,
    ),
    Service("shop/catalog", (Operation("list", ((_STOCK,),)),), stray=_TO_PAYMENT),
    Service("shop/recommendations", (Operation("list", ((Call("shop/catalog", "list"),),)),), stray=_STOCK),
    Service("shop/cart", (Operation("view", ((Call("shop/pricing", "quote"),),)),), stray=_STOCK),
    Service("shop/pricing", (Operation("quote", ((_STOCK,),), work_milliseconds=2.0),), stray=_TO_PAYMENT),
    Service(
        "shop/inventory",
        (
            Operation("stock", ((Query("SELECT", "stock", "SELECT name, quantity FROM stock ORDER BY quantity DESC LIMIT 5"),),)),
            Operation("reserve", ((Query("UPDATE", "stock", "UPDATE stock SET quantity = quantity + 1 WHERE name = 'item 1'"),),)),
        ),
        stray=_TO_PAYMENT,
    ),
    Service(
        "shop/checkout",
        (
            Operation(
                "place",
                ((Call("shop/cart", "view"),), (Call("shop/payment", "charge", attempts=2),), (Publish(ORDERS_TOPIC),)),
            ),
        ),
        stray=_STOCK,
    ),
    # One payment in a hundred fails and is tried again, as payments do: without it no trace would ever show the retry.
    Service("shop/payment", (Operation("charge", work_milliseconds=5.0),), stray=_STOCK, configuration={"ERROR_SHARE": "0.01"}),
    Service(
        "shop/fulfilment",
        (Operation("fulfil", ((Call("shop/inventory", "reserve"),),), work_milliseconds=5.0),),
        stray=_STOCK,
        kind=ServiceKind.CONSUMER,
        consumes=ORDERS_TOPIC,
    ),
    Service("blog/web", (Operation("read", ((Call("blog/posts", "list"),),)),)),
    Service(
        "blog/posts",
        (Operation("list", ((Query("SELECT", "posts", "SELECT name FROM posts ORDER BY name LIMIT 3"),),), work_milliseconds=2.0),),
    ),
)

ENTRIES: tuple[Entry, ...] = (
    Entry("shop/frontend", {"browse": 0.6, "checkout": 0.4}),
    Entry("blog/web", {"read": 1.0}),
)


def service_named(name: str) -> Service | None:
    """The service ``namespace/name``, or None."""
    return next((s for s in SERVICES if s.name == name), None)
