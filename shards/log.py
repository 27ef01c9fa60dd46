"""The logger through which all packages report to users, on the first rank for all. Only the commands print."""

import logging
import os

logger = logging.getLogger("tutelage")


def _on_first_rank(record: logging.LogRecord) -> bool:
    return os.environ.get("RANK", "0") == "0"


logger.addFilter(_on_first_rank)
