"""Fixtures that several tests of data sets and folders share."""

from experiments import write_labels  # noqa: F401
from warehouse import root  # noqa: F401
