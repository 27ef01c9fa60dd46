"""``python -m launchers`` and ``accelerate launch -m launchers`` are the command ``tutelage``."""

import sys

from launchers.cli import main

if __name__ == "__main__":  # spawned loader workers import this module too
    sys.exit(main())
