"""The whole loop on one machine, played through: a real broker, the worker, the sample shop, and acts that end in a report."""
