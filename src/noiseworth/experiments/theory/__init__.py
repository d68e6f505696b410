"""Studies of the theory: one a file, each a list of cells that are measured, and a summary of them."""
