"""Bytes to words and back: what others write is read here, and what is wrong with it becomes a value."""
