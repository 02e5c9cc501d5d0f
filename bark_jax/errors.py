"""Kinds of foreseen errors, which the command line reports without importing the modules that raise them.

Every error class of this package is one of these kinds. The message says what is wrong and what to do.
"""


class BarkError(ValueError):
    """Something that was foreseen. The class says what kind of thing it is, the message the rest."""


class InputError(BarkError):
    """Bad input: a text, a voice, a setting."""


class FileError(BarkError):
    """A file that cannot be read or written."""


class ModelError(BarkError):
    """A model that is not there, or cannot be used."""


class ListenerLeft(BarkError):
    """The reader of a stream, or a player, stopped before the end of the audio."""


class TrainingError(InputError):
    """Training that cannot start or continue."""


class RunError(TrainingError, FileError):
    """What a training run leaves behind cannot be read or written."""


class DivergenceError(TrainingError):
    """A loss or gradients that are not finite have stopped a training run."""
