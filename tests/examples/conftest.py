"""The fixtures of experiments, which tests of several packages share."""

from experiments import *  # noqa: F403
