"""What each act of a plan does to the system that is played: pushes, words of operators, and everything that goes wrong."""

from ctrlplane_stream.simulation.deeds.people import PEOPLE
from ctrlplane_stream.simulation.deeds.stage import Doing
from ctrlplane_stream.simulation.deeds.targets import TARGETS
from ctrlplane_stream.simulation.deeds.telemetry import TELEMETRY
from ctrlplane_stream.simulation.plans import Deed

DEEDS: dict[Deed, Doing] = {**PEOPLE, **TARGETS, **TELEMETRY}
"""Every deed has a row."""
