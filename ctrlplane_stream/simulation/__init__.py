"""A world, a judge and people to play against the decision core: seeded, in memory, as hostile as the seed wants."""
