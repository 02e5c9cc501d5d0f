"""The chunks on Ray: an actor for each accelerator, on one machine or a cluster that shares the folder.

`ChunkSpeaker` is also for pipelines of your own: a class for Ray Data's `map_batches`.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from bark_jax.bulk.engines import Chunk, Work, Worker
from bark_jax.errors import FileError
from bark_jax.quoting import shorten


class ChunkSpeaker:
    """Holds a model, and makes the chunks it is given."""

    def __init__(self, work: Work) -> None:
        self._worker = Worker(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """{"chunk": chunks} → {"rows": how many rows each has}; the audio is in the folder. Raises FileError."""
        return {"rows": [self._worker.make(chunk) for chunk in batch["chunk"]]}


def run_ray(work: Work, chunks: Sequence[Chunk], workers: int, **resources: Any) -> Iterator[int]:
    """On the cluster that Ray is connected to, else on this machine: the rows of each chunk, as it is done.

    resources: of each actor, such as `num_gpus=1`. Raises FileError where Ray is not installed.
    """
    if not chunks:
        return
    data = load_ray()
    data.DataContext.get_current().enable_progress_bars = False  # ours is there
    # Chunks keep their Python types in a column of objects; one a block, so that each is a task of its own.
    table = data.from_items([{"chunk": chunk} for chunk in chunks], override_num_blocks=len(chunks))
    made = table.map_batches(
        ChunkSpeaker, fn_constructor_args=(work,), batch_size=1, batch_format="numpy",
        compute=data.ActorPoolStrategy(size=min(workers, len(chunks))), **resources,
    )  # fmt: skip
    try:
        for row in made.iter_rows():
            yield int(row["rows"])
    except Exception as error:  # of several kinds of Ray's, with the worker's inside
        last = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise FileError(f"a worker failed: {shorten(last)}; start the same command again to continue") from error


def load_ray() -> Any:
    """`ray.data`. Raises FileError."""
    try:
        return importlib.import_module("ray.data")
    except ImportError as error:
        raise FileError("the engine ray needs Ray: pip install 'bark-jax[ray]'") from error
