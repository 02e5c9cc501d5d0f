"""`python compiler_outputs.py PRESET FILE`: what programs of ours compute, into an .npz, for tests/test_compiler.py."""

import sys

import jax
import numpy as np

from bark_jax import Bark, BarkConfig, Voice
from bark_jax.models.parameters import parameters
from bark_jax.training import coarse_examples, fine_example, semantic_example, stack
from bark_jax.training.codec import spectral_distance
from bark_jax.training.losses import coarse_loss, fine_loss, semantic_loss

GREEDY = {f"{stage}_temperature": 0.0 for stage in ("semantic", "coarse", "fine")}
SECONDS = 0.8


def gradients(bark: Bark, config: BarkConfig, clip: Voice) -> dict[str, np.ndarray]:
    """Of every network's loss, a vector each."""
    text = np.arange(config.semantic.text_offset, config.semantic.text_offset + 12)
    semantic = stack([semantic_example(config, text, clip.semantic, None)])
    coarse = stack(coarse_examples(config, clip, None))
    fine = stack(
        [fine_example(config, clip.fine, codebook=4, start=0, known=0, beyond=np.tile(clip.fine, 20)[:, :1024])]
    )
    wave = np.random.default_rng(3).standard_normal(9600).astype(np.float32)[None]
    losses = {
        "semantic": (bark.semantic, lambda network: semantic_loss(network, config, semantic).total),
        "coarse": (bark.coarse, lambda network: coarse_loss(network, config, coarse).total),
        "fine": (bark.fine, lambda network: fine_loss(network, config, fine).total),
        "spectra": (wave, lambda x: spectral_distance(x, np.roll(wave, 7), 24_000, (512, 2048), 1e-5).sum()),
    }
    found = {}
    for name, (value, loss) in losses.items():
        leaves = jax.jit(jax.grad(loss))(value)
        arrays = parameters(leaves).values() if name != "spectra" else [leaves]
        found[f"gradient of {name}"] = np.concatenate([np.ravel(np.asarray(x)) for x in arrays])
    return found


def main(preset: str, path: str) -> None:
    bark = Bark.from_pretrained(f"random:{preset}")
    made = bark.generate("Every program once.", seed=1, max_seconds=SECONDS, allow_early_stop=False, **GREEDY)
    codes = bark.encode(made.waveform)
    clip = Voice(semantic=made.semantic, coarse=made.coarse, fine=made.fine)
    outputs = {"semantic": made.semantic, "coarse": made.coarse, "fine": made.fine, "codes": codes}
    np.savez(path, waveform=made.waveform, **outputs, **gradients(bark, bark.config, clip))


if __name__ == "__main__":
    main(*sys.argv[1:])
