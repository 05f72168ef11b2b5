"""The shop's own topic on the broker: made by whoever opens the shop, since no topic is made by use."""

from ctrlplane_stream.local.shop.topology import ORDERS_PARTITIONS, ORDERS_TOPIC
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topic_admin import admin_client, apply_changes
from ctrlplane_stream.wire.topic_plan import Create


async def create_orders_topic(settings: Settings) -> None:
    """Make the topic where it is absent. Raises KafkaError where no broker answers, TopicError where it refuses."""
    async with admin_client(settings) as client:
        await apply_changes(client, [Create(settings.topic(ORDERS_TOPIC), ORDERS_PARTITIONS, settings.replication_factor, {})])
