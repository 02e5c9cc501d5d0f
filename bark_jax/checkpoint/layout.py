"""The converted checkpoint: a folder that is written once, whole, and read without PyTorch or pickle.

config.json                 "format": "bark_jax", "version" and the fields of BarkConfig
semantic.safetensors        one file per network, tensors under their dotted NNX paths;
coarse.safetensors          the codec's in float32 unless the writer is given another dtype
fine.safetensors
codec.safetensors
tokenizer.json              of the `tokenizers` library
voices/**/*.npz             named after their path: `en_speaker_3`, `v2/en_speaker_6`
voices/default.txt          the name of the one that the model speaks with when none is asked for, if there is one
"""

from bark_jax.errors import ModelError

DTYPES = ("float32", "bfloat16", "int8")  # of stored parameters; int8: see bark_jax.models.quantised
CODEC_DTYPES = ("float32", "bfloat16")
FORMAT, VERSION = "bark_jax", 1  # raised with every change to the layout that old readers would not understand
CONVERSION = 3  # raised with every change to what conversion makes of a source: kept conversions are made again


class CheckpointError(ModelError):
    """A checkpoint that cannot be found, read or written; the message says what is wrong and what to do."""


class HubUnreachableError(CheckpointError):
    """The hub does not answer, and what is wanted has not been downloaded before."""
