"""Sizes of the nano model: all of them are here, and the token ids follow from them without gaps."""

from bark_jax.config import (
    BarkConfig,
    CoarseConfig,
    EncodecConfig,
    FineConfig,
    FineGPTConfig,
    GPTConfig,
    SemanticConfig,
)
from recipes.nano.tokenizer import TEXT_VOCAB

_SEMANTIC_VOCAB = 384
_MAX_TEXT = 32  # tokens, of a voice too; a sentence of the domain has half as many
_MAX_NEW = 255  # semantic tokens, 5.1 seconds

_CODEC = EncodecConfig(  # 50 frames a second
    sample_rate=16_000, filters=12, width=48, ratios=(5, 4, 4, 4), lstm_layers=1, codebooks=4, codebook_size=512
)
_COARSE_CODEBOOKS = 2
_MAX_SEMANTIC, _MAX_HISTORY, _WINDOW = 128, 180, 40  # 2.6, 1.8 and 0.4 seconds
_FINE_WINDOW = 128  # frames, 2.6 seconds


def nano_config() -> BarkConfig:
    """The model for the tokenizer of `make_tokenizer`."""
    text_offset = _SEMANTIC_VOCAB + 1  # behind `pad`
    text_pad = text_offset + TEXT_VOCAB
    codes = _SEMANTIC_VOCAB + _COARSE_CODEBOOKS * _CODEC.codebook_size
    return BarkConfig(
        semantic=SemanticConfig(
            gpt=GPTConfig(
                layers=4, heads=4, width=160,
                input_vocab=text_pad + 2, output_vocab=text_offset, block_size=_MAX_TEXT + 1 + _MAX_NEW,
            ),
            vocab=_SEMANTIC_VOCAB, pad=_SEMANTIC_VOCAB, text_offset=text_offset, text_pad=text_pad, infer=text_pad + 1,
            max_text=_MAX_TEXT, max_new=_MAX_NEW, temperature=0.3,
        ),
        coarse=CoarseConfig(
            gpt=GPTConfig(
                layers=4, heads=4, width=160,
                input_vocab=codes + 2, output_vocab=codes, block_size=_MAX_SEMANTIC + _MAX_HISTORY + _WINDOW,
            ),
            codebooks=_COARSE_CODEBOOKS, semantic_pad=codes, infer=codes + 1,
            max_semantic=_MAX_SEMANTIC, max_history=_MAX_HISTORY, window=_WINDOW, temperature=0.2,
        ),
        fine=FineConfig(
            gpt=FineGPTConfig(
                layers=2, heads=4, width=128,
                vocab=_CODEC.codebook_size + 1, codebooks=_CODEC.codebooks, block_size=_FINE_WINDOW,
            ),
            pad=_CODEC.codebook_size, max_history=_FINE_WINDOW // 2, hop=_FINE_WINDOW // 2, temperature=0.3,
        ),
        codec=_CODEC,
    )  # fmt: skip
