"""The actuate role: decisions to the world, and what the world says back to facts."""
