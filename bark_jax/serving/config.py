"""What a server is started with."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Limits and switches of a server. The defaults are safe on a machine that others can reach."""

    max_characters: int = 4096  # of an input
    max_body: int = 2**21  # bytes of a request
    max_upload: int = 2**22  # bytes of a voice
    queue_limit: int = 256  # texts that are accepted and not finished
    deadline: float = 600.0  # seconds for a request
    body_timeout: float = 20.0  # seconds in which the head and then the body of a request must arrive
    linger: float = 0.005  # seconds that a first row waits for company
    ahead: float = 60.0  # seconds of audio that may wait for a slow listener before the text pauses
    max_batch: int | None = None  # rows; None: by the device, see `batching`
    api_key: str | None = None  # that clients have to send; None: none
    aliases: tuple[str, ...] = ()  # other names of the model that clients may ask for
    cors: tuple[str, ...] = ()  # origins of pages that may use the server
    log_text: bool = False  # whether the log has the texts
