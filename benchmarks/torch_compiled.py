"""How fast is the plain PyTorch loop under torch.compile? (On a CPU that needs a C++ compiler.)"""

import torch
from torch import Tensor

from bark_jax import Bark, Settings
from benchmarks.torch_bark import Step, TorchLoop


class CompiledLoop(TorchLoop):
    """The loop with compiled steps and fine passes. On a GPU a step is a CUDA graph, over the whole cache."""

    def __init__(self, bark: Bark, settings: Settings) -> None:
        super().__init__(bark, settings)
        torch._dynamo.config.recompile_limit = 64  # every batch size is a program, and so is every range to draw from
        self.replayed = self.device.type == "cuda"
        options = {"mode": "reduce-overhead"} if self.replayed else {"dynamic": True}
        self.steps = {
            stage: _kept(torch.compile(gpt.step, fullgraph=True, **options)) for stage, gpt in self.gpts.items()
        }
        self.fine_gpt.trunk = torch.compile(self.fine_gpt.trunk, fullgraph=True)
        self.slots = torch.arange(bark.config.semantic.gpt.block_size, device=self.device)

    def _slot(self, slot: int) -> int | Tensor:
        return self.slots[slot : slot + 1] if self.replayed else slot


def _kept(step: Step) -> Step:
    """The step with its token out of the memory that the next replay of its CUDA graph will write to."""

    def run(*arguments: object) -> tuple[Tensor, Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        token, logits = step(*arguments)
        return token.clone(), logits

    return run
