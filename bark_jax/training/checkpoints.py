"""Checkpoints of a training run: everything that a run needs to resume bit for bit as if it had never stopped.

checkpoints/<steps taken>/   one of Orbax's folders, which appears under its name when it is complete:
    state                    the TrainState, arrays by dotted path
    progress                 JSON: the feed's position, and what is logged next
    run                      JSON: what the run is; another one cannot resume here
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np

from bark_jax.errors import RunError, TrainingError
from bark_jax.quoting import shorten
from bark_jax.sharding import fetch
from bark_jax.training.step import TrainState


class Checkpoints:
    """The checkpoints in a folder, written in the background; leaving the block waits for the last one.

    keep: how many of the newest remain. run: what the run is, nested dictionaries of JSON. Raises RunError for what
    cannot be written, at the next call; earlier checkpoints stay as they are.
    """

    def __init__(self, folder: Path, *, keep: int, run: Mapping[str, Any]) -> None:
        import orbax.checkpoint as ocp  # of use in training only

        self.folder, self._run, self._orbax = folder.absolute(), dict(run), ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        with _naming(self.folder, "write to"):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with _naming(self.folder, "write to"):
                self._manager.close()
        except RunError:
            if error is None:  # else that error is the one to report
                raise

    @property
    def newest(self) -> int | None:
        """Steps taken before the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, progress: Mapping[str, Any]) -> None:
        """Copy the state and begin to write it; does nothing if that step is there already."""
        if step == self.newest:
            return
        arrays = {name: np.array(fetch(leaf)) for name, leaf in _named(state).items()}
        self._check_room(sum(array.nbytes for array in arrays.values()))
        args = self._orbax.args
        items = args.Composite(
            state=args.StandardSave(arrays), progress=args.JsonSave(dict(progress)), run=args.JsonSave(self._run)
        )
        with _naming(self.folder, "write to"):
            self._manager.save(step, args=items)

    def check(self) -> None:
        """Raise RunError if a checkpoint that was begun could not be written. Does not wait."""
        if not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Until what was begun is written."""
        with _naming(self.folder, "write to"):
            self._manager.wait_until_finished()

    def restore(self, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The newest state, laid out as the given one, which it replaces, and its progress.

        Raises TrainingError naming the first setting in which the run differs from the one that was begun, RunError
        when it cannot be read.
        """
        step, args = self.newest, self._orbax.args
        facts = args.Composite(progress=args.JsonRestore(), run=args.JsonRestore())
        with _naming(self.folder, "read"):
            items = self._manager.restore(step, args=facts)
        self._compare(items.run)
        leaves = _named(state)
        shapes = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
        with _naming(self.folder, "read"):
            arrays = self._manager.restore(step, args=args.Composite(state=args.StandardRestore(shapes))).state
        placed = [jax.device_put(np.array(arrays[name]), leaf.sharding) for name, leaf in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(state), placed), items.progress

    def _compare(self, begun: Mapping[str, Any]) -> None:
        ours, theirs = dict(_flat(self._run)), dict(_flat(begun))
        for name in [*ours, *theirs]:
            if ours.get(name) != theirs.get(name):
                raise TrainingError(
                    f"{name} is {ours.get(name)!r}, but the run in {self.folder.parent} was begun with "
                    f"{theirs.get(name)!r}: set it back, choose another folder for the run, or start again (--restart)"
                )

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise RunError(
                f"cannot write to {self.folder}: a checkpoint takes {size / 1e9:.2f} GB, only {free / 1e9:.2f} GB are "
                "free; earlier checkpoints are whole"
            )


def _named(state: TrainState) -> dict[str, Any]:
    """Dotted path → leaf, in the order of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


@contextmanager
def _naming(folder: Path, what: str) -> Iterator[None]:
    """Errors of Orbax and its file drivers, of which there are a dozen kinds, as RunError."""
    try:
        yield
    except Exception as error:
        raise RunError(f"cannot {what} {folder}: {shorten(error)}; earlier checkpoints are whole") from error
