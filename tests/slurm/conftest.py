"""A clone for job scripts, without a cluster."""

from pathlib import Path

import pytest
from fakeslurm import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "clone"
    folder.mkdir()
    return Site(folder)
