"""Which tokenizer of recordings a user means, and which one a model speaks: own, in a folder, or downloaded once."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from bark_jax.checkpoint import CheckpointError
from bark_jax.config import BarkConfig
from bark_jax.errors import InputError
from bark_jax.hearing.names import HUBERT, QUANTIZERS, language_of
from bark_jax.layouts import SEMANTIC_CLUSTERS
from bark_jax.loading import converter

if TYPE_CHECKING:
    from bark_jax.hearing.layout import Ears
    from bark_jax.hearing.tokenizer import HubertTokenizer
    from bark_jax.training.semantic_tokens import SemanticTokenizer

HUBERT_REPOSITORY = "facebook/hubert-base-ls960"


def find_hubert(spec: str | Path, *, progress: bool = True) -> "HubertTokenizer":
    """The tokenizer of the published Bark's tokens: of a converted folder, or "hubert", downloaded if need be.

    What is downloaded is converted into the user's cache. Raises InputError for a language that nobody made a quantiser
    for, CheckpointError, of which HubUnreachableError.
    """
    from bark_jax.hearing.tokenizer import HubertTokenizer  # with JAX

    return HubertTokenizer(ears=find_ears(spec, progress=progress))


def find_ears(spec: str | Path, *, progress: bool = True) -> "Ears":
    """HuBERT, with or without a quantiser; otherwise as `find_hubert`."""
    from bark_jax.hearing.layout import is_ears, read_ears  # with JAX

    folder = Path(spec).expanduser()
    if not folder.is_dir():
        language = language_of(str(spec))
        folder = user_cache_path("bark-jax", appauthor=False) / HUBERT / language
        if not is_ears(folder):
            _fetch(language, folder, progress=progress)
    return read_ears(folder)


def _fetch(language: str, folder: Path, *, progress: bool) -> None:
    from bark_jax.hub import download  # slow to import, and mostly not needed

    repository, file = QUANTIZERS[language]
    hubert = download(HUBERT_REPOSITORY, weights=("pytorch_model.bin",), progress=progress)
    quantizer = download(repository, weights=(file,), progress=progress) / file
    conversion = importlib.import_module(f"{converter().__name__}.hubert")
    folder.parent.mkdir(parents=True, exist_ok=True)
    conversion.convert_hubert(hubert, folder, quantizer=quantizer, language=language)


def find_tokenizer(model: Path | None, config: BarkConfig, hubert: str | Path = HUBERT) -> "SemanticTokenizer":
    """What makes the semantic tokens that a model speaks: its own clusters, else HuBERT and a quantiser.

    model: its folder, if it has one. hubert: as for `find_hubert`. Raises InputError for a model of other tokens than
    these make, and as `find_hubert`.
    """
    from bark_jax.training.semantic_tokens import KMeansTokenizer

    if model is not None and (model / SEMANTIC_CLUSTERS).is_file():
        return KMeansTokenizer.load(model / SEMANTIC_CLUSTERS)
    published = BarkConfig.small().semantic
    if (config.semantic.vocab, config.semantic.rate_hz) != (published.vocab, published.rate_hz):
        raise InputError(
            f"this model has {config.semantic.vocab} semantic tokens and no {SEMANTIC_CLUSTERS}: nothing is known of "
            "how they come from recordings"
        )
    try:
        return find_hubert(hubert)
    except CheckpointError as error:
        error.add_note(
            f"The published models need HuBERT and a quantiser once: convert {HUBERT_REPOSITORY} with --quantizer, and "
            "give the folder as --hubert FOLDER; or use --model nano, which needs neither."
        )
        raise
