"""``python -m launchers`` and ``accelerate launch -m launchers`` are the command ``tutelage``."""

from launchers.cli import run

if __name__ == "__main__":
    run()
