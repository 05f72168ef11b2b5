"""Words to world: the actuator port and what stands behind it."""
