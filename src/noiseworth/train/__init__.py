"""Training: the loop, EMA, checkpoints, run directories."""
