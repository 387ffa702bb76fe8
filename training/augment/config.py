"""Which augmentation stands before D, and how its strength is set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dnnlib.config import require

Kind = Literal['noaug', 'ada', 'fixed', 'diffaug', 'apa']
Pipe = Literal['blit', 'geom', 'color', 'filter', 'noise', 'cutout', 'bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc']
POLICIES = ('color', 'translation', 'cutout')  # DiffAugment's
STILL = ('color', 'filter', 'noise')  # presets and policies that neither move a pixel nor hide one
FILTERED = ('filter', 'bgcf', 'bgcfn', 'bgcfnc')  # presets with the image-space filter ...
FILTERED_SIZE = 22  # ... whose padding of 21 pixels by reflection needs images of this height and width


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """What D is shown in place of an image, real or generated.

    kind: 'noaug' the image itself; 'ada' the pipe of Karras et al. (2020) at a strength p that follows D's overfitting;
    'fixed' the same at one p; 'diffaug' DiffAugment (Zhao et al. 2020), always; 'apa' in D's main phase, with
    probability p, a generated image for a real one (Jiang et al. 2021), p as in 'ada'.
    pipe: preset of 'ada' and 'fixed'. policy: of 'diffaug', names joined by commas.
    p: the strength of 'fixed'; where that of 'ada' and 'apa' begins.
    target: the mean sign of D on real images that p is moved towards. interval: steps between two moves.
    kimg: images, in thousands, over which p moves by 1.
    p_max: where p stops. A transform that is nearly always applied cannot be told from the data, and G learns it; the
    paper finds such leaks unlikely while p stays below about 0.8. Without a bound p was seen to reach 21.8
    (stylegan2-ada-pytorch, issue 175), and samples came out rotated and recoloured. 0.85 is just above what is safe.
    'fixed' is not capped: there the user has chosen.
    """

    kind: Kind = 'noaug'
    pipe: Pipe = 'bgc'
    policy: str = 'color,translation,cutout'
    p: float = 0.0
    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0
    p_max: float = 0.85

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
        names = self.policies
        known = set(names) <= set(POLICIES) and len(set(names)) == len(names)
        require(known, 'aug.policy', self.policy, f'names of {", ".join(POLICIES)}, each once, joined by commas')

    @property
    def adapts(self) -> bool:
        """Whether p follows D."""
        return self.kind in ('ada', 'apa')

    @property
    def policies(self) -> tuple[str, ...]:
        """DiffAugment's names, one by one."""
        return tuple(self.policy.split(','))

    @property
    def is_still(self) -> bool:
        """Whether every pixel of an image stays where it is, and is seen."""
        if self.kind == 'diffaug':
            return set(self.policies) <= set(STILL)
        return self.kind in ('noaug', 'apa') or self.pipe in STILL
