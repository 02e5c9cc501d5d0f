"""`bark-jax serve`: an endpoint like OpenAI's, with a page, for one model."""

import argparse
import importlib.util
import os
from pathlib import Path

from bark_jax.cli.models import DEFAULT_MODEL, find_model
from bark_jax.cli.options import add_machine, use_compile_cache
from bark_jax.errors import FileError, InputError
from bark_jax.layouts import NANO

KEY_VARIABLE = "BARK_JAX_API_KEY"
_PACKAGES = ("fastapi", "uvicorn", "prometheus_client", "multipart")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.description = "An HTTP endpoint with OpenAI's /v1/audio/speech. Needs: pip install 'bark-jax[serve]'."
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"as for say, such as {NANO} (default: {DEFAULT_MODEL})")
    parser.add_argument("--alias", action="append", default=[], metavar="NAME",
                        help="another name of the model for clients, such as tts-1; may be repeated")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (default: 8000)")
    _add_access(parser)
    _add_limits(parser)
    add_machine(parser)


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access")
    group.add_argument("--api-key-file", type=Path, metavar="FILE",
                       help=f"a file with the key clients must send (default: ${KEY_VARIABLE}, else none)")  # fmt: skip
    group.add_argument("--cors", action="append", default=[], metavar="ORIGIN",
                       help="let pages of this origin use the server; may be repeated (default: none)")  # fmt: skip
    group.add_argument("--log-text", action="store_true", help="write the texts into the log, too")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument("--max-batch", type=int, metavar="N",
                       help="rows made side by side (default: 16; on a CPU as far as a row gets cheaper)")  # fmt: skip
    group.add_argument("--max-characters", type=int, default=4096, metavar="N", help="of an input (default: 4096)")
    group.add_argument("--queue-limit", type=int, default=256, metavar="N",
                       help="texts accepted and not finished; more get 429 (default: 256)")  # fmt: skip
    group.add_argument("--deadline", type=float, default=600, metavar="S", help="seconds for a request (default: 600)")
    group.add_argument("--grace", type=float, default=60, metavar="S",
                       help="seconds that running requests have after SIGTERM (default: 60)")  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    _check(options)
    key = read_key(options.api_key_file)
    model = find_model(options.model)
    use_compile_cache(options)
    from bark_jax.bark import Bark  # with JAX
    from bark_jax.serving.config import ServerConfig
    from bark_jax.serving.server import serve

    config = ServerConfig(
        max_characters=options.max_characters, queue_limit=options.queue_limit, deadline=options.deadline,
        max_batch=options.max_batch, api_key=key, aliases=tuple(options.alias), cors=tuple(options.cors),
        log_text=options.log_text,
    )  # fmt: skip
    bark = Bark.from_pretrained(model.source, dtype=options.dtype, name=options.model)
    return serve(bark, config, host=options.host, port=options.port, grace=options.grace)


def _check(options: argparse.Namespace) -> None:
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise FileError(f"serving needs {', '.join(missing)}: pip install 'bark-jax[serve]'")
    if not 0 <= options.port < 2**16:
        raise InputError(f"--port must be in 0 … 65535, not {options.port}")
    least = {"max_batch": 1, "max_characters": 1, "queue_limit": 1, "deadline": 1, "grace": 0}
    for name, value in least.items():
        if (given := getattr(options, name)) is not None and not value <= given < float("inf"):
            raise InputError(f"--{name.replace('_', '-')} must be {value} or more, not {given:g}")


def read_key(path: Path | None) -> str | None:
    """The key in a file, else that of the environment. Raises InputError."""
    try:
        key = os.environ.get(KEY_VARIABLE) if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the key file {path}: {getattr(error, 'strerror', None) or error}") from error
    if key is None:
        return None
    if not (key := key.strip()) or not key.isascii() or not key.isprintable():
        raise InputError(f"the key in {path or f'${KEY_VARIABLE}'} must be one line of ASCII")
    return key
