"""The constants of Suno's `bark.generation`: this project's configuration, under Suno's names.

They describe the published models. Changing them changes nothing: the numbers in use are in the model's `BarkConfig`.
"""

from bark_jax.config import CoarseConfig, EncodecConfig, GPTConfig, SemanticConfig

CONTEXT_WINDOW_SIZE = GPTConfig.block_size  # positions

SEMANTIC_RATE_HZ = SemanticConfig.rate_hz
SEMANTIC_VOCAB_SIZE = SemanticConfig.vocab
SEMANTIC_PAD_TOKEN = SemanticConfig.pad
SEMANTIC_INFER_TOKEN = SemanticConfig.infer
TEXT_ENCODING_OFFSET = SemanticConfig.text_offset
TEXT_PAD_TOKEN = SemanticConfig.text_pad

COARSE_RATE_HZ = int(EncodecConfig().frame_rate_hz)
COARSE_SEMANTIC_PAD_TOKEN = CoarseConfig.semantic_pad
COARSE_INFER_TOKEN = CoarseConfig.infer

CODEBOOK_SIZE = EncodecConfig.codebook_size
N_COARSE_CODEBOOKS = CoarseConfig.codebooks
N_FINE_CODEBOOKS = EncodecConfig.codebooks
SAMPLE_RATE = EncodecConfig.sample_rate  # Hz

SUPPORTED_LANGS = [
    ("English", "en"), ("German", "de"), ("Spanish", "es"), ("French", "fr"), ("Hindi", "hi"), ("Italian", "it"),
    ("Japanese", "ja"), ("Korean", "ko"), ("Polish", "pl"), ("Portuguese", "pt"), ("Russian", "ru"), ("Turkish", "tr"),
    ("Chinese", "zh"),
]  # fmt: skip

ALLOWED_PROMPTS = {
    "announcer",
    *(f"{folder}{code}_speaker_{i}" for folder in ("", "v2/") for _, code in SUPPORTED_LANGS for i in range(10)),
}
"""The published voices that Suno's functions take by name. Here the names of `Bark.voices()` are taken too."""
