"""The endpoint as a deployment of Ray Serve: replicas of the server behind one address.

from ray import serve
from bark_jax.serving.ray import deployment

serve.run(deployment("nano", replicas=2))
"""

import importlib
from pathlib import Path
from typing import Any

from bark_jax.errors import FileError
from bark_jax.serving.config import ServerConfig

_DEFAULTS = ServerConfig()


def deployment(
    model: str | Path, config: ServerConfig = _DEFAULTS, *, replicas: int = 1, dtype: str | None = None, **actor: Any
) -> Any:
    """An application for `ray.serve.run`. Each replica loads the model, and has the bytes of the others.

    actor: options of each replica's actor, such as `num_gpus=1`. Hosts should share the folder of voices, so that all
    know what was uploaded. Raises FileError where Ray Serve is not installed.
    """
    serve = _load_serve()

    def build() -> Any:
        from bark_jax.bark import Bark  # in the replica
        from bark_jax.serving.app import create_app

        return create_app(Bark.from_pretrained(model, dtype=dtype, name=str(model)), config)

    replica = serve.deployment(serve.ingress(build)(), num_replicas=replicas, ray_actor_options=actor)
    return replica.bind()


def _load_serve() -> Any:
    try:
        return importlib.import_module("ray.serve")
    except ImportError as error:
        raise FileError("a deployment needs Ray Serve: pip install 'bark-jax[ray,serve]'") from error
