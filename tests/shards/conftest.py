"""A fixture that several tests of folders share."""

from warehouse import root  # noqa: F401
