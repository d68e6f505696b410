"""Studies of the theory, one per file. A study lists cells to measure, and summarises their results."""
