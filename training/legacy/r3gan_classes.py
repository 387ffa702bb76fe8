"""Classes in R3GAN's snapshots, whose modules are pickled by reference: an empty object and its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnnlib.pickles.inert_pickle import Handler, Handlers, Pending
from training.legacy.module import Module

WRAPPERS = ('training.networks', 'training.networks_baseline')  # the second in files of earlier versions
PACKAGES = ('R3GAN', 'BaselineGAN')
NETWORKS = ('Generator', 'Discriminator')
_OWN = {
    'Networks': (*NETWORKS, 'GeneratorStage', 'DiscriminatorStage', 'ResidualBlock', 'UpsampleLayer', 'DownsampleLayer',
                 'GenerativeBasis', 'DiscriminativeBasis', 'Convolution'),
    'FusedOperators': ('BiasedActivationCUDA',),
    'Resamplers': ('InterpolativeUpsamplerCUDA', 'InterpolativeDownsamplerCUDA'),
}  # fmt: skip
_TORCH = {'container': 'ModuleList', 'conv': 'Conv2d', 'linear': 'Linear'}
DTYPES = ('float32', 'bfloat16')


class _ModuleWithoutState(Pending):
    """A module pickled by reference whose attributes have not been read yet."""

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name

    def build(self, state: Any) -> Module:
        """Returns the module with its attributes."""
        if type(state) is not dict:
            raise ValueError('expected its attributes')
        return Module(self.class_name, '', state)


def _by_reference(class_name: str) -> Handler:
    def handle(args: tuple[Any, ...]) -> _ModuleWithoutState:
        if args:
            raise ValueError('expected no argument')
        return _ModuleWithoutState(class_name)

    return handle


def _classes() -> Iterator[tuple[str, str]]:
    """Yields module and name of every class in R3GAN's files."""
    yield from ((module, name) for module in WRAPPERS for name in NETWORKS)
    yield from ((f'{package}.{file}', name) for package in PACKAGES for file in _OWN for name in _OWN[file])
    yield from ((f'torch.nn.modules.{file}', name) for file, name in _TORCH.items())


HANDLERS: Handlers = {
    **{(module, name): _by_reference(f'{module}.{name}') for module, name in _classes()},
    **{('torch', name): None for name in DTYPES},
}
