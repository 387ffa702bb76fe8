"""Options of StyleGAN3's generator (Karras et al. 2021, arXiv 2106.12423). Defaults are those of configuration T."""

from __future__ import annotations

from dataclasses import dataclass

from dnnlib.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleGAN3Config:
    """Mapping network, and a synthesis network of `num_layers` layers and ToRGB. Frequencies are in cycles per unit.

    The unit is the side of a square image of the run's resolution. Configuration R sets conv_kernel=1, channel_factor=2
    and use_radial_filters.
    """

    z_dim: int = 512  # width of the latent z
    w_dim: int = 512  # width of the intermediate latent w
    map_depth: int = 2  # layers of the mapping network
    map_lr_multiplier: float = 0.01  # learning rate of the mapping network, relative to the rest
    w_avg_beta: float = 0.998  # decay of the running mean of w, per update
    channel_base: int = 32768  # a layer with cut-off f has channel_base / (2 f) channels ...
    channel_max: int = 512  # ... but no more than this
    channel_factor: int = 1  # factor on both numbers, so that --cbase and --cmax mean D's (R: 2)
    num_layers: int = 14  # layers without ToRGB
    num_critical: int = 2  # number of last layers whose cut-off is the highest frequency of their grid
    first_cutoff: float = 2.0  # cut-off of the first layer
    first_stopband: float = 2**2.1  # end of the first layer's transition band
    last_stopband_rel: float = 2**0.3  # end of the last layer's transition band, relative to its cut-off
    margin_size: int = 10  # samples outside the image, on each side
    output_scale: float = 0.25  # factor on the result of ToRGB
    num_fp16_res: int = 4  # layers at this number of highest sampling rates compute in the run's lower precision
    conv_kernel: int = 3  # size of the convolutions except that of ToRGB (R: 1)
    filter_size: int = 6  # taps of a filter per factor of its resampling
    lrelu_upsampling: int = 2  # factor by which the rate of a layer is raised for its activation
    use_radial_filters: bool = False  # down-sampling filters without a direction, except in critical layers (R: True)
    conv_clamp: float | None = 256  # largest magnitude of an activation; None: unbounded
    magnitude_ema_beta: float = 0.999  # decay of the running mean square of each layer's input, per update

    def __post_init__(self) -> None:
        at_least_one = ('z_dim', 'w_dim', 'map_depth', 'channel_base', 'channel_max', 'channel_factor', 'num_critical')
        for name in at_least_one:
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        for name in ('map_lr_multiplier', 'output_scale', 'first_cutoff'):
            require(getattr(self, name) > 0, name, getattr(self, name), 'must be positive')
        for name in ('w_avg_beta', 'magnitude_ema_beta'):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), 'must lie in [0, 1)')
        for name in ('margin_size', 'num_fp16_res'):
            require(getattr(self, name) >= 0, name, getattr(self, name), 'must be non-negative')
        require(self.conv_clamp is None or self.conv_clamp > 0, 'conv_clamp', self.conv_clamp, 'positive, or none')
        require(self.conv_kernel in (1, 3, 5, 7), 'conv_kernel', self.conv_kernel, 'one of 1, 3, 5, 7')
        self._check_plan()

    def _check_plan(self) -> None:
        """Raises ConfigError for a plan with a layer without transition band, or with filters that are no filters."""
        few = f'must exceed num_critical={self.num_critical}'
        require(self.num_layers > self.num_critical, 'num_layers', self.num_layers, few)
        stop = max(self.first_cutoff, 1)
        require(self.first_stopband > stop, 'first_stopband', self.first_stopband, f'must exceed {stop:g}')
        require(self.last_stopband_rel > 1, 'last_stopband_rel', self.last_stopband_rel, 'must exceed 1')
        require(self.filter_size >= 1, 'filter_size', self.filter_size, 'must be at least 1')
        powers = (1, 2, 4, 8)  # rates are powers of two, and the factors between them must be whole
        require(self.lrelu_upsampling in powers, 'lrelu_upsampling', self.lrelu_upsampling, 'one of 1, 2, 4, 8')
