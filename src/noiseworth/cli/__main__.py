"""`python -m noiseworth.cli`."""

import sys

from noiseworth.cli.parser import main

sys.exit(main())
