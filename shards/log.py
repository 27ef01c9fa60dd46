"""The logger of all packages, through which only the first rank reports. The commands print its messages."""

import logging
import os

logger = logging.getLogger("tutelage")


def _on_first_rank(record: logging.LogRecord) -> bool:
    return os.environ.get("RANK", "0") == "0"


logger.addFilter(_on_first_rank)
