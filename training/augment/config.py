"""Config of the augmentation of D's inputs and of its strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dnnlib.config import require

Kind = Literal['noaug', 'ada', 'fixed', 'diffaug', 'apa']
Pipe = Literal['blit', 'geom', 'color', 'filter', 'noise', 'cutout', 'bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc', 'r3gan']
POLICIES = ('color', 'translation', 'cutout')  # DiffAugment's
STILL = ('color', 'filter', 'noise')  # presets and policies that neither move nor hide pixels
FILTERED = ('filter', 'bgcf', 'bgcfn', 'bgcfnc')  # presets with the image-space filter ...
FILTERED_SIZE = 22  # ... which pads by 21 reflected pixels and needs images of this height and width


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Augmentation of D's inputs, real and generated.

    Attributes:
        kind: 'noaug': none. 'ada': the pipe of Karras et al. (2020) at a strength p that follows D's overfitting.
            'fixed': the same pipe at a constant p. 'diffaug': DiffAugment (Zhao et al. 2020), always on. 'apa': in D's
            main phase, replaces real images by generated ones with probability p (Jiang et al. 2021), p as in 'ada'.
        pipe: preset of 'ada' and 'fixed'.
        policy: policies of 'diffaug', separated by commas.
        p: strength of 'fixed'; initial strength of 'ada' and 'apa'.
        target: mean sign of D on real images toward which p is controlled.
        interval: number of steps between two changes of p.
        kimg: thousands of images over which p changes by 1.
        p_max: upper limit of p for 'ada' and 'apa'. G learns a transform that is nearly always applied, since the data
            do not show it as one; the paper finds such leaks unlikely while p is below about 0.8. Without a limit, p
            was seen to reach 21.8 (stylegan2-ada-pytorch, issue 175), with rotated and recolored samples. 0.85 is
            slightly above the safe range.
        blur_sigma: sigma of the blur of D's first images, in pixels, before any augmentation (StyleGAN3's R); 0: none.
        blur_fade_kimg: thousands of images over which the blur fades.
    """

    kind: Kind = 'noaug'
    pipe: Pipe = 'bgc'
    policy: str = 'color,translation,cutout'
    p: float = 0.0
    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0
    p_max: float = 0.85
    blur_sigma: float = 0.0
    blur_fade_kimg: float = 200.0

    def __post_init__(self) -> None:
        for name, choices in (('kind', get_args(Kind)), ('pipe', get_args(Pipe))):
            value = getattr(self, name)
            require(value in choices, f'aug.{name}', value, f'one of {", ".join(choices)}')
        require(0 <= self.p <= 1, 'aug.p', self.p, '--p must be between 0 and 1')
        require(0 <= self.target <= 1, 'aug.target', self.target, '--target must be between 0 and 1')
        require(self.interval >= 1, 'aug.interval', self.interval, 'must be at least 1')
        require(self.kimg > 0, 'aug.kimg', self.kimg, 'must be positive')
        require(0 < self.p_max <= 1, 'aug.p_max', self.p_max, 'must lie in (0, 1]')
        require(not self.adapts or self.p <= self.p_max, 'aug.p', self.p, f'must not exceed aug.p_max={self.p_max}')
        require(self.blur_sigma >= 0, 'aug.blur_sigma', self.blur_sigma, 'must be non-negative')
        require(self.blur_fade_kimg > 0, 'aug.blur_fade_kimg', self.blur_fade_kimg, 'must be positive')
        names = self.policies
        known = set(names) <= set(POLICIES) and len(set(names)) == len(names)
        require(known, 'aug.policy', self.policy, f'names of {", ".join(POLICIES)}, each at most once, by commas')

    @property
    def adapts(self) -> bool:
        """Whether p follows D's signs."""
        return self.kind in ('ada', 'apa')

    @property
    def policies(self) -> tuple[str, ...]:
        """DiffAugment's policies as a tuple."""
        return tuple(self.policy.split(','))

    @property
    def is_still(self) -> bool:
        """Whether the augmentation neither moves nor hides pixels."""
        if self.kind == 'diffaug':
            return set(self.policies) <= set(STILL)
        return self.kind in ('noaug', 'apa') or self.pipe in STILL
