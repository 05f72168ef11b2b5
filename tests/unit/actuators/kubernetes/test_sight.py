"""Everything of a target is read at once: as one thing, that succeeds or fails."""

import asyncio

import pytest

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.sight import read_sight
from ctrlplane_stream.local.control_plane.scene import routed_place
from ctrlplane_stream.model.identity import Target


def test_where_one_read_is_refused_none_of_the_others_goes_on():
    """Whoever asked may close the client once it has heard of the refusal."""

    class Refusing:
        """Answers nothing but that Services may not be listed, and notes what is still asked for."""

        asking = 0

        async def get(self, kind, namespace, name):
            return await self.select(kind, namespace)

        async def select(self, kind, namespace, selector=""):
            self.asking += 1
            try:
                await asyncio.sleep(0)
                if kind is Kind.SERVICE:
                    raise PermissionError(kind.manifest_kind)
                return await asyncio.get_running_loop().create_future()
            finally:
                self.asking -= 1

    async def run() -> int:
        reader, target = Refusing(), Target("staging", "shop/cart")
        reading = read_sight(reader, target, routed_place("shop", target.service))
        with pytest.raises(PermissionError, match="Service"):
            await reading
        return reader.asking

    assert asyncio.run(run()) == 0
