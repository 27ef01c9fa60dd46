"""``python -m tutelage`` and ``accelerate launch -m tutelage`` are the command ``tutelage``."""

from launchers.cli import run

if __name__ == "__main__":
    run()
