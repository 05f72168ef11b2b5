"""Pure judgement: facts in, decisions out. No clock, I/O, randomness, logging or framework in here."""
