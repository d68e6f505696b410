"""What can be packed: folders, archives, MNIST, CIFAR-10, arrays, scientific files, Hugging Face.

A source is a stream of images, each read only when it is asked for, with its values exactly as stored, or as
the file says they are to be scaled. `open_source` finds the reader.
"""

from noiseworth.data.sources.dispatch import DIGITS, open_source
from noiseworth.data.sources.source import Entry, Picture, Reading, Source

__all__ = ["DIGITS", "Entry", "Picture", "Reading", "Source", "open_source"]
