"""Sweeps: many trainings by one plan, on one machine or on a cluster.

OUT/sweep.yaml                      the plan, to be read and edited
OUT/trials/NAME/run                 a run like any other
OUT/trials/NAME/trial.json          what it found: the trial is done
OUT/trials/NAME/failed.txt          why it failed, until it is tried again
OUT/trials/NAME/data, lock          while it is trained
"""
