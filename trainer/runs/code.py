"""Detects changes of the user's own modules that define a run's network, weighting and filters.

The change may be a corrected comment, or another network, so the run continues; but a warning is logged, since its
metrics would otherwise be taken for those of the present file.
"""

from pathlib import Path

from shards.claim import Note
from shards.log import logger
from shards.origin import Origin
from trainer.experiment import Experiment
from trainer.extension import search_working_directory
from trainer.ranks import rank


def note_code(experiment: Experiment) -> None:
    """Store the hashes of the modules that a configuration names as ``my.module:Name`` in ``code.json`` of the run's
    folder, and log a warning for each that has changed since it was stored."""
    note = Note(experiment.folder / "code.json", "delete it")
    stored, files = note.read() or {}, _files(experiment)
    for name, (file, sha256) in files.items():
        if stored.get(name, sha256) != sha256:
            logger.warning(
                f"note: {file} has changed since {experiment.folder} was begun, whose steps so far used the former "
                "version; to train with the new one from the start, give another run.root, or delete that folder"
            )
    new = {name: sha256 for name, (_, sha256) in files.items() if name not in stored}
    if new and rank() == 0:
        note.write(stored | new)


def _files(experiment: Experiment) -> dict[str, tuple[Path, str]]:
    """Return the file and hash of each module, by its name in the configuration."""
    config = experiment.config
    search_working_directory()
    names = [config.model.name, config.loss.weighting, *(str(pseudo.keep) for pseudo in config.pseudo.values())]
    files = {}
    for name in names:
        module, colon, _ = name.partition(":")
        origin = Origin.of_module(module)
        if colon and (sha256 := origin.sha256()):  # a missing module is reported where it is used
            files[name] = Path(origin.path), sha256
    return files
