"""Train image GANs, draw with them and measure them.

    import ganfoundry as gf
    G = gf.load('runs/00003-ffhq256-squeeze')
    images = G.images(seeds=range(16), psi=0.7)                        # uint8 [N, H, W, C]
    estimates = gf.measure(G, ['fid50k_full'], data='ffhq256.zip')     # {'fid50k_full': Estimate(...)}
    run = gf.train(cfg='squeeze', data='ffhq256.zip', kimg=1000)       # path of the run folder

A plug-in imports `register_generator`, `register_recipe` and so on from here. A name is imported when it is first used,
so that `import ganfoundry` loads no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnnlib.torch_defaults import set_torch_defaults

if TYPE_CHECKING:
    from ganfoundry.api import measure, train
    from ganfoundry.network import Network, load
    from ganfoundry.projection.api import project
    from ganfoundry.projection.project import Projection
    from metrics.detectors.interface import Detector, Features
    from metrics.detectors.table import register_detector
    from metrics.registry import Metric, register_metric
    from metrics.uncertainty import Estimate
    from torch_utils.ops.registry import Op, register_op
    from training import recipes
    from training.interface import ImageSpec
    from training.objective.losses import register_loss
    from training.objective.term import Draw, Micro, Scored, Summand, Term, TermConfig, register_term
    from training.registry import register_discriminator, register_generator, register_recipe

__version__ = '0.2.0.dev0'
__all__ = [
    'Detector',
    'Draw',
    'Estimate',
    'Features',
    'ImageSpec',
    'Metric',
    'Micro',
    'Network',
    'Op',
    'Projection',
    'Scored',
    'Summand',
    'Term',
    'TermConfig',
    '__version__',
    'load',
    'measure',
    'project',
    'recipes',
    'register_detector',
    'register_discriminator',
    'register_generator',
    'register_loss',
    'register_metric',
    'register_op',
    'register_recipe',
    'register_term',
    'train',
]

_NAMES = {
    'ganfoundry.api': ('measure', 'train'),
    'ganfoundry.network': ('Network', 'load'),
    'ganfoundry.projection.api': ('project',),
    'ganfoundry.projection.project': ('Projection',),
    'metrics.detectors.interface': ('Detector', 'Features'),
    'metrics.detectors.table': ('register_detector',),
    'metrics.registry': ('Metric', 'register_metric'),
    'metrics.uncertainty': ('Estimate',),
    'torch_utils.ops.registry': ('Op', 'register_op'),
    'training.interface': ('ImageSpec',),
    'training.objective.losses': ('register_loss',),
    'training.objective.term': ('Draw', 'Micro', 'Scored', 'Summand', 'Term', 'TermConfig', 'register_term'),
    'training.registry': ('register_discriminator', 'register_generator', 'register_recipe'),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562); most of them import PyTorch."""
    if name != 'recipes' and name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    set_torch_defaults()
    if name == 'recipes':
        value: Any = importlib.import_module('training.recipes')
    else:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_sibling() -> None:
    """Refuses another package named `training`, such as that of a StyleGAN checkout in the current folder."""
    expected = Path(__file__).resolve().parent.with_name('training')
    spec = importlib.util.find_spec('training')
    found = [Path(place).resolve() for place in spec.submodule_search_locations or ()] if spec is not None else []
    if expected not in found:
        where = ', '.join(str(path) for path in found) or (spec.origin if spec is not None else None) or 'nowhere'
        raise ImportError(
            f'ganfoundry needs its own package `training` in {expected}, but Python finds {where} first; start Python '
            f'in another folder, or remove that folder from PYTHONPATH'
        )


_check_sibling()
