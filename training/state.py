"""What a run holds: everything that resuming needs, and nothing else.

Randomness, the data order and every schedule are functions of `nimg`, so no generator state is among it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from dnnlib.errors import CheckpointError
from torch_utils.stats import Collector
from training.augment.controller import Controller
from training.objective.lecam import LeCam
from training.optimize.guardian import Guardian
from training.optimize.loss_scale import LossScale

NETWORKS = ('G', 'D', 'G_ema')
OPTIMIZERS = {'opt_G': 'G', 'opt_D': 'D'}
RETRY_STRIDE = 10**6  # images further on in the data for every rollback: more than any stretch that is repeated

Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True)
class TrainState:
    """Networks, optimisers and counters. `G_ema` is the moving average of `G`, the network that is kept."""

    G: Any  # torch.nn.Module with the contract of interface.Generator
    D: Any  # torch.nn.Module with the contract of interface.Discriminator
    G_ema: Any  # as G
    opt_G: torch.optim.Optimizer
    opt_D: torch.optim.Optimizer
    pl_mean: torch.Tensor  # [], running mean of the path lengths
    controller: Controller | None = None  # of an augmentation's strength, where that adapts
    lecam: LeCam | None = None  # where D is so regularised
    scale_G: LossScale | None = None  # in float16
    scale_D: LossScale | None = None
    guardian: Guardian | None = None  # where it is on
    nimg: int = 0  # real images shown
    step: int = 0  # iterations done; the lazy intervals count these
    tick: int = 0  # status lines printed
    retry: int = 0  # rollbacks so far; other draws and other images follow each
    tick_start_nimg: int = 0  # where the present tick began
    stats: Collector = field(default_factory=Collector)  # of the present tick

    @property
    def data_position(self) -> int:
        """Where in the order of the data the next image stands: `nimg`, and after a rollback elsewhere."""
        return self.nimg + self.retry * RETRY_STRIDE

    def purpose(self, name: str) -> str:
        """The purpose of a draw, another one after every rollback."""
        return f'{name}, retry {self.retry}' if self.retry else name

    def loss_scale(self, net: str) -> LossScale | None:
        """Of the losses of 'G' or 'D'."""
        return self.scale_G if net == 'G' else self.scale_D

    def tensors(self) -> Tensors:
        """Every tensor of the state by name: 'G.mapping.fc0.weight', 'opt_G.exp_avg.mapping.fc0.weight', 'pl_mean'."""
        tensors: Tensors = {'pl_mean': self.pl_mean}
        for name in NETWORKS:
            tensors |= {f'{name}.{key}': value for key, value in getattr(self, name).state_dict().items()}
        for name, network in OPTIMIZERS.items():
            tensors |= _optimizer_tensors(name, getattr(self, name), getattr(self, network))
        return tensors

    def scalars(self) -> dict[str, Any]:
        """Every number of the state that is no tensor."""
        return {
            'nimg': self.nimg,
            'step': self.step,
            'tick': self.tick,
            'tick_start_nimg': self.tick_start_nimg,
            'retry': self.retry,
            'stats': self.stats.state_dict(),
            **{name: part.state_dict() for name, part in self._followers().items()},
        }

    def load(self, tensors: Tensors, scalars: dict[str, Any], where: str) -> None:
        """Takes over a saved state. Strict: CheckpointError names `where` and the first tensors that do not fit."""
        _check_names(expected=self._expected_shapes(), tensors=tensors, where=where)
        for name in NETWORKS:
            getattr(self, name).load_state_dict(_strip(tensors, f'{name}.'))
        for name, network in OPTIMIZERS.items():
            _load_optimizer(getattr(self, name), getattr(self, network), _strip(tensors, f'{name}.'))
        self.pl_mean = tensors['pl_mean'].to(self.pl_mean.device)
        self.nimg, self.step, self.tick = scalars['nimg'], scalars['step'], scalars['tick']
        self.tick_start_nimg = scalars['tick_start_nimg']
        self.retry = scalars.get('retry', 0)  # states from before rollbacks were known have none
        self.stats.load_state_dict(scalars['stats'])
        for name, part in self._followers().items():
            if name in scalars:  # a state from before this part was switched on, or known, leaves it where it begins
                part.load_state_dict(scalars[name])

    def _followers(self) -> dict[str, Controller | LeCam | LossScale | Guardian]:
        """What follows the training, where it is on."""
        names = ('controller', 'lecam', 'scale_G', 'scale_D', 'guardian')
        parts = {name: getattr(self, name) for name in names}
        return {name: part for name, part in parts.items() if part is not None}

    def _expected_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {'pl_mean': ()}
        for name in NETWORKS:
            shapes |= {f'{name}.{key}': tuple(value.shape) for key, value in getattr(self, name).state_dict().items()}
        return shapes


def _optimizer_tensors(name: str, optimizer: torch.optim.Optimizer, net: torch.nn.Module) -> Tensors:
    """The optimiser's tensors by parameter name. A parameter that has had no gradient yet may have none."""
    names = {id(p): key for key, p in net.named_parameters()}
    return {
        f'{name}.{slot}.{names[id(p)]}': value for p, slots in optimizer.state.items() for slot, value in slots.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, net: torch.nn.Module, tensors: Tensors) -> None:
    params = dict(net.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        slot, _, name = key.partition('.')
        param = params[name]
        optimizer.state[param][slot] = value.to(param.device)  # fused Adam has its step counts there too


def _strip(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_names(expected: dict[str, tuple[int, ...]], tensors: Tensors, where: str) -> None:
    networks = {name: t for name, t in tensors.items() if name.partition('.')[0] not in OPTIMIZERS}
    missing = [name for name in expected if name not in networks]
    extra = [name for name in networks if name not in expected]
    shapes = [
        f'{name} is {list(networks[name].shape)} there and {list(expected[name])} here'
        for name in expected
        if name in networks and tuple(networks[name].shape) != expected[name]
    ]
    problems = [f'lacks {name}' for name in missing] + [f'has {name}, unknown here' for name in extra] + shapes
    if problems:
        more = f' and {len(problems) - 3} more' if len(problems) > 3 else ''
        raise CheckpointError(f'{where}: a state of another architecture: {"; ".join(problems[:3])}{more}')
