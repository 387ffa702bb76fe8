"""Representative batch normalisation (Gao et al. 2021, "Representative Batch Normalization with Feature Calibration").

Letters: N batch, C channels, H and W height and width; w_m, w_v, w_b as in Eq. (17) to (19) of the GIU-GANs paper.
"""

from __future__ import annotations

import torch


def normalized(norm: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """norm(x) [N, C, H, W] with statistics in float32 at least; the result has x's dtype."""
    return norm(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


class RBN(torch.nn.Module):
    """Batch normalisation that lets every sample's channel means through, by learned amounts. [N, C, H, W] -> same.

    5 C parameters instead of 2 C. It begins as sigmoid(1) = 0.731 times BN. K_s is the mean of the normalised map, not
    of the input: the paper says "statistical features" alone, and the RBN paper's own definition is this one.

    Statistics, running ones included, are those of `BatchNorm2d`, of one micro-batch; float32, the result in x's dtype.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = torch.nn.BatchNorm2d(channels, affine=False)
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
        x_s = self.bn(x_cm)  # [N, C, H, W]
        # Eq. (19): X_cs = X_s sigmoid(w_v K_s + w_b); Y = gamma X_cs + beta
        k_s = x_s.mean(dim=[2, 3], keepdim=True)  # [N, C, 1, 1]
        gain = self.gamma * torch.sigmoid(torch.addcmul(self.w_b, self.w_v, k_s))  # [N, C, 1, 1]
        return torch.addcmul(self.beta, x_s, gain).to(x.dtype)
