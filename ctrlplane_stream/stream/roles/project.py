"""The project role: decisions to what people and tools read, and to the people who must know."""
