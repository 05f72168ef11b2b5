"""How good version sets are: harm that stays inside the guards, how small sets are, how much faster releases go than one by one."""
