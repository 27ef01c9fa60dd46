"""``python -m tutelage`` runs the command ``tutelage``, for example under ``accelerate launch -m``."""

from launchers.cli import run

if __name__ == "__main__":
    run()
