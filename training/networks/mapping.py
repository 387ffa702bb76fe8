"""Mapping network from z and label to w, of generators and, without z, of conditional discriminators.

Letters: N batch, L number of ws.
"""

from __future__ import annotations

import torch

from training.networks.layers import FullyConnected, normalize_2nd_moment
from training.networks.lowering import prepared


class MappingNetwork(torch.nn.Module):
    """Mapping network: normalized z and normalized label embedding, then fully connected layers, then w.

    Args:
        z_dim: width of z, 0 without z.
        c_dim: width of a label, 0 without labels.
        w_dim: width of w.
        num_ws: L, number of copies of w; None returns w itself and keeps no running mean.
        num_layers: number of fully connected layers.
        lr_multiplier: learning rate of these layers relative to the rest.
        w_avg_beta: decay of the running mean of w, per update.
    """

    w_avg: torch.Tensor  # [w_dim], running mean of w

    def __init__(
        self,
        *,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int,
        lr_multiplier: float = 0.01,
        w_avg_beta: float = 0.995,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.num_ws, self.num_layers = z_dim, c_dim, num_ws, num_layers
        self.w_avg_beta = w_avg_beta
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, w_dim)
        in_features = z_dim + (w_dim if c_dim > 0 else 0)
        for i in range(num_layers):
            layer = FullyConnected(in_features if i == 0 else w_dim, w_dim, act='lrelu', lr_multiplier=lr_multiplier)
            setattr(self, f'fc{i}', layer)
        if num_ws is not None:
            self.register_buffer('w_avg', torch.zeros([w_dim]))

    def forward(
        self,
        z: torch.Tensor | None,
        c: torch.Tensor | None,
        *,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> torch.Tensor:
        """Returns the ws [N, L, w_dim] of latents, or w [N, w_dim] if num_ws is None.

        Args:
            z: [N, z_dim], standard normal; None if z_dim is 0.
            c: [N, c_dim]; ignored if c_dim is 0.
            truncation_psi: psi of the truncation w' = w_avg + psi (w - w_avg).
            truncation_cutoff: number of leading ws that are truncated; None: all.
            update_w_avg: whether the running mean moves toward the mean of this batch.
        """
        layers = [module for module in self.children() if isinstance(module, FullyConnected)]
        with prepared(request for layer in layers for request in layer.requests()):
            w = self._inputs(z, c)
            for i in range(self.num_layers):
                w = getattr(self, f'fc{i}')(w)
        if self.num_ws is None:
            return w
        if update_w_avg:
            torch.lerp(w.detach().mean(dim=0), self.w_avg, self.w_avg_beta, out=self.w_avg)
        ws = w.unsqueeze(1).repeat(1, self.num_ws, 1)  # [N, L, w_dim]
        if truncation_psi == 1:
            return ws
        truncated = self.w_avg.lerp(ws[:, :truncation_cutoff], truncation_psi)
        return torch.cat([truncated, ws[:, truncated.shape[1] :]], dim=1)

    def _inputs(self, z: torch.Tensor | None, c: torch.Tensor | None) -> torch.Tensor:
        inputs = []
        if self.z_dim > 0:
            inputs.append(normalize_2nd_moment(_of_width(z, self.z_dim)))
        if self.c_dim > 0:
            inputs.append(normalize_2nd_moment(self.embed(_of_width(c, self.c_dim))))
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)


def _of_width(x: torch.Tensor | None, width: int) -> torch.Tensor:
    assert x is not None, f'an input [N, {width}] is needed, got None'
    assert x.shape[1:] == (width,), f'an input [N, {width}] is needed, got {list(x.shape)}'
    return x.float()
