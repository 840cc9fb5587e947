"""``python -m circtools``: the same as the command ``circtools``."""

import sys

from circtools.cli import main

sys.exit(main())
