"""``python -m launchers`` and ``accelerate launch -m launchers`` are the command ``tutelage``."""

import os
import sys

from launchers.cli import main

if __name__ == "__main__":  # spawned loader workers import this module too
    status = main()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # a backend's threads may abort a rank in Python's orderly end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
