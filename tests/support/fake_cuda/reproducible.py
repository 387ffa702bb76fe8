"""Operators without a reproducible kernel on CUDA, which raise under --deterministic."""

from __future__ import annotations

import torch

from tests.support.fake_cuda.mode import Call

# torch.use_deterministic_algorithms lists them; those whose result is discarded or that no network can have are absent.
REFUSED = {
    *('reflection_pad1d_backward', 'reflection_pad2d_backward', 'reflection_pad3d_backward'),
    *('grid_sampler_2d_backward', 'grid_sampler_3d_backward'),
    *('upsample_linear1d_backward', 'upsample_bilinear2d_backward', 'upsample_bicubic2d_backward'),
    *('upsample_trilinear3d_backward', '_upsample_bilinear2d_aa_backward', '_upsample_bicubic2d_aa_backward'),
    *('avg_pool3d_backward', '_adaptive_avg_pool2d_backward', '_adaptive_avg_pool3d_backward'),
    *('adaptive_max_pool2d_backward', 'fractional_max_pool2d_backward', 'fractional_max_pool3d_backward'),
    *('max_unpool2d', 'max_unpool3d', 'nll_loss_forward', 'nll_loss2d_forward', '_ctc_loss_backward'),
    *('replication_pad1d_backward', 'replication_pad2d_backward', 'replication_pad3d_backward'),
    *('histc', 'kthvalue', 'put_'),
}


class Reproducible:
    """An observer that raises where CUDA has no reproducible kernel, as PyTorch does."""

    def on_call(self, call: Call) -> None:
        """Raises RuntimeError for an operator without a reproducible kernel."""
        name = call.name.removeprefix('aten.').partition('.')[0]
        floating_sum = name == 'cumsum' and call.outputs[0].is_floating_point()
        if name in REFUSED or floating_sum or (name == 'median' and len(call.outputs) > 1):
            raise RuntimeError(f'{call.name} does not have a deterministic implementation')

    def on_copy(self, name: str, tensor: torch.Tensor, waits: bool) -> None: ...
