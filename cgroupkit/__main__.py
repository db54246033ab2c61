"""``python -m cgroupkit``."""

import sys

from cgroupkit.cli import main

sys.exit(main())
