"""How good version sets are: harm that stays inside the guards, how small the sets are, and how much faster releases go than one at a time."""
