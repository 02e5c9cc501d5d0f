"""What users call the tokenizers of recordings, and who made them."""

from pathlib import Path

from bark_jax.errors import InputError
from bark_jax.quoting import did_you_mean, quote

HUBERT = "hubert"  # as users call it; "hubert:polish" for another language
QUANTIZERS = {  # language → repository of the hub and file, as their authors list them
    "english": ("GitMylo/bark-voice-cloning", "quantifier_V1_hubert_base_ls960_23.pth"),
    "polish": ("Hobis/bark-voice-cloning-polish-HuBERT-quantizer", "polish-HuBERT-quantizer_8_epoch.pth"),
    "german": ("CountFloyd/bark-voice-cloning-german-HuBERT-quantizer", "german-HuBERT-quantizer_14_epoch.pth"),
    "spanish": ("Lancer1408/bark-es-tokenizer", "es_tokenizer.pth"),
    "portuguese": (
        "MadVoyager/bark-voice-cloning-portuguese-HuBERT-quantizer", "portuguese-HuBERT-quantizer_24_epoch.pth",
    ),
    "japanese": ("junwchina/bark-voice-cloning-japanese-HuBERT-quantizer", "japanese-HuBERT-quantizer_24_epoch.pth"),
    "turkish": ("egeadam/bark-voice-cloning-turkish-HuBERT-quantizer", "turkish_model_epoch_14.pth"),
}  # fmt: skip
TAGS = {
    "en": "english", "pl": "polish", "de": "german", "es": "spanish", "pt": "portuguese", "ja": "japanese",
    "tr": "turkish",
}  # fmt: skip


def is_hubert(spec: str | Path) -> bool:
    """Whether a user means HuBERT by its name, or a folder that may hold one, and not a file of clusters."""
    return str(spec).partition(":")[0] == HUBERT or Path(spec).expanduser().is_dir()


def language_of(spec: str) -> str:
    """The language in "hubert:polish" or "hubert:pl", English by default. Raises InputError naming those there are."""
    name, _, language = spec.partition(":")
    language = TAGS.get(language.lower(), language.lower()) or "english"
    if name != HUBERT or language not in QUANTIZERS:
        near = did_you_mean(language, QUANTIZERS)
        raise InputError(f"there is no quantiser for {quote(language)}{near}: they are {', '.join(QUANTIZERS)}")
    return language
