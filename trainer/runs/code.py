"""The user's own modules that a run's network, weighting and filters come from: whether they have changed since.

A changed module may be a corrected comment, or another network, so a run goes on with it; but it says so, since its
figures would otherwise pass for those of the file that is there now.
"""

from pathlib import Path

from shards.claim import Note
from shards.origin import Origin
from trainer.experiment import Experiment
from trainer.progress import say
from trainer.ranks import rank


def note_code(experiment: Experiment) -> None:
    """Note the files of the modules that a configuration names as ``my.module:Name``, in ``code.json`` of the run's
    folder, or say which of them have changed since that was done."""
    note = Note(experiment.folder / "code.json", "delete it")
    known, found = note.read() or {}, _files(experiment)
    for name, (file, sha256) in found.items():
        if known.get(name, sha256) != sha256:
            say(
                f"note: {file} has changed since {experiment.folder} was begun, whose steps until now are those of the "
                "former one; to train with it from the start, give another run.root, or delete that folder"
            )
    new = {name: sha256 for name, (_, sha256) in found.items() if name not in known}
    if new and rank() == 0:
        note.write(known | new)


def _files(experiment: Experiment) -> dict[str, tuple[Path, str]]:
    """By the name in the configuration, a module's file and its hash."""
    config = experiment.config
    named = [config.model.name, config.loss.weighting, *(str(pseudo.keep) for pseudo in config.pseudo.values())]
    found = {}
    for name in named:
        module, colon, _ = name.partition(":")
        origin = Origin.of_module(module)
        if colon and (sha256 := origin.sha256()):  # a module that is not there is told when it is used
            found[name] = Path(origin.path), sha256
    return found
