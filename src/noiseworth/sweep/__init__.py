"""Sweeps: many trainings by one plan, on one machine or on a cluster.

OUT/sweep.yaml                      the plan, to be read and edited
OUT/trials/NAME/run                 an ordinary run
OUT/trials/NAME/trial.json          its results; if this exists, the trial is done
OUT/trials/NAME/failed.txt          why it failed, until it is tried again
OUT/trials/NAME/data, lock          used while it is trained
"""
