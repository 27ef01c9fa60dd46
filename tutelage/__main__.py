"""``python -m tutelage`` is the command ``tutelage``, such as under ``accelerate launch -m``."""

from launchers.cli import run

if __name__ == "__main__":
    run()
