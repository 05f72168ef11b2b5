"""`make gates`: the gates measured against drawn traffic whose truth is known, and against an oracle that knows it too."""
