"""The contract that every actuator keeps, as tests that anybody can run against a world of their own.

Subclass ``ActuatorContract`` in a test module, give it ``open_world``, and pytest finds the clauses::

    class TestMine(ActuatorContract):
        def open_world(self):
            return MyWorld()          # an async context manager that yields a World

Each clause uses a target of its own, so one world may serve them all. Nothing here imports pytest. Failures are
AssertionErrors that say what was seen. docs/actuators.md explains the rules behind the clauses.
"""

from ctrlplane_stream.actuators.contract.clauses import ActuatorContract
from ctrlplane_stream.actuators.contract.world import Behaviour, World

__all__ = ["ActuatorContract", "Behaviour", "World"]
