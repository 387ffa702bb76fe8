"""Representative batch normalization (Gao et al. 2021, "Representative Batch Normalization with Feature Calibration").

Letters: N batch, C channels, H and W height and width; w_m, w_v, w_b as in Eq. (17) to (19) of the GIU-GANs paper.
"""

from __future__ import annotations

import torch

from extensions.layers.batch_norm import BatchNorm2d, normalized


class RBN(torch.nn.Module):
    """Batch normalization that passes each sample's channel means, weighted by learned factors, [N, C, H, W] -> same.

    It has 5 C parameters instead of 2 C and starts as sigmoid(1) = 0.731 times BN. K_s is the mean of the normalized
    map, not of the input: the GIU-GANs paper only has "statistical features", and this is the RBN paper's definition.

    Statistics, including running ones, are those of `BatchNorm2d` over one micro-batch, in float32; the result has the
    input's dtype.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = BatchNorm2d(channels, affine=False)
        shape = [1, channels, 1, 1]
        self.w_m = torch.nn.Parameter(torch.zeros(shape))
        self.w_v = torch.nn.Parameter(torch.zeros(shape))
        self.w_b = torch.nn.Parameter(torch.ones(shape))
        self.gamma = torch.nn.Parameter(torch.ones(shape))
        self.beta = torch.nn.Parameter(torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        full = x.to(torch.promote_types(x.dtype, torch.float32))  # [N, C, H, W]
        # Eq. (17): X_cm = X + w_m K_m
        k_m = full.mean(dim=[2, 3], keepdim=True)  # [N, C, 1, 1]
        x_cm = torch.addcmul(full, self.w_m, k_m)  # [N, C, H, W]
        # Eq. (15), (18): X_s = (X_cm - E(X_cm)) / sqrt(Var(X_cm) + eps)
        x_s = normalized(self.bn, x_cm)  # [N, C, H, W]
        # Eq. (19): X_cs = X_s sigmoid(w_v K_s + w_b); Y = gamma X_cs + beta
        k_s = x_s.mean(dim=[2, 3], keepdim=True)  # [N, C, 1, 1]
        gain = self.gamma * torch.sigmoid(torch.addcmul(self.w_b, self.w_v, k_s))  # [N, C, 1, 1]
        return torch.addcmul(self.beta, x_s, gain).to(x.dtype)
