"""What can be packed: folders, archives, MNIST, CIFAR-10, arrays, scientific files, Hugging Face.

A source is a stream of images, each read only when it is asked for, with raw values exactly as stored.
`open_source` finds the reader.
"""

from noiseworth.data.sources.dispatch import DIGITS, open_source
from noiseworth.data.sources.source import Entry, Source

__all__ = ["DIGITS", "Entry", "Source", "open_source"]
