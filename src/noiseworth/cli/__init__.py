"""The command line: thin commands over the library. Heavy imports happen inside the commands, so that `--help` is quick.

Exit codes: 0 done; 1 a training of a sweep failed; 2 bad input or settings, said in one line; 70 a mistake of
noiseworth itself, which `--debug` shows; 128 + number, stopped by a signal with the state saved (141: nobody
reads the output any more).
"""

from noiseworth.cli.parser import main

__all__ = ["main"]
