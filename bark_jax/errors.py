"""Errors of training, by themselves: the command line tells them without importing what raises them."""


class TrainingError(ValueError):
    """Training that cannot start or go on; the message says what is wrong and what to do."""


class RunError(TrainingError):
    """What a training run leaves behind cannot be read or written."""


class DivergenceError(TrainingError):
    """A loss or gradients that are not finite have stopped a training run."""
