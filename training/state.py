"""The state of a run: everything that resuming needs, and nothing else.

Randomness, the data order and every schedule are functions of `nimg`, so that no state of a random generator is kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from dnnlib.errors import CheckpointError
from torch_utils.stats import Collector
from training.augment.controller import Controller
from training.interface import Stateful
from training.objective.term import Term
from training.optimize.guardian import Guardian
from training.optimize.loss_scale import LossScale

NETWORKS = ('G', 'D', 'G_ema')
OPTIMIZERS = {'opt_G': 'G', 'opt_D': 'D'}
RETRY_STRIDE = 10**6  # images that every rollback skips in the data: more than any stretch that is repeated

Tensors = dict[str, torch.Tensor]
P = TypeVar('P')


@dataclass(kw_only=True)
class TrainState:
    """Networks, optimizers, counters, and the parts that follow the training.

    G, D: networks with the contracts of `training.interface`.
    G_ema: moving average of G, the network that is kept.
    pl_mean: running mean of the path lengths, [].
    terms: active loss and regularization terms by name, in the order in which they run.
    parts: parts with a state of their own, by the name under which it is saved.
    nimg: real images shown.
    step: iterations done; the lazy intervals count these.
    tick: status lines printed.
    batches_per_step: batches of real images that a step reads; a fact of the config, not saved.
    retry: rollbacks so far; each is followed by other draws and other images.
    tick_start_nimg: images at which the present tick began.
    stats: statistics of the present tick.
    """

    G: Any
    D: Any
    G_ema: Any
    opt_G: torch.optim.Optimizer
    opt_D: torch.optim.Optimizer
    pl_mean: torch.Tensor
    terms: dict[str, Term] = field(default_factory=dict)
    parts: dict[str, Stateful] = field(default_factory=dict)
    batches_per_step: int = 1
    nimg: int = 0
    step: int = 0
    tick: int = 0
    retry: int = 0
    tick_start_nimg: int = 0
    stats: Collector = field(default_factory=Collector)

    @property
    def controller(self) -> Controller | None:
        """The controller of an augmentation's strength; None if that does not adapt."""
        return self._part('controller', Controller)

    @property
    def guardian(self) -> Guardian | None:
        """The guardian of the run; None if it is off."""
        return self._part('guardian', Guardian)

    def loss_scale(self, net: str) -> LossScale | None:
        """Returns the scale of the losses of 'G' or 'D'; None unless the run computes in float16."""
        return self._part(f'scale_{net}', LossScale)

    def _part(self, name: str, kind: type[P]) -> P | None:
        part = self.parts.get(name)
        assert part is None or isinstance(part, kind)
        return part

    @property
    def moving(self) -> list[torch.Tensor]:
        """The tensors besides the networks' buffers that phases change in place."""
        tensors = [tensor for term in self.terms.values() for tensor in term.moving]
        return tensors if any(tensor is self.pl_mean for tensor in tensors) else [self.pl_mean, *tensors]

    @property
    def data_position(self) -> int:
        """The position of the next image in the order of the data: that of `nimg`, and after a rollback elsewhere."""
        return self.nimg * self.batches_per_step + self.retry * RETRY_STRIDE

    def purpose(self, name: str) -> str:
        """Returns the purpose of a draw, which differs after every rollback."""
        return f'{name}, retry {self.retry}' if self.retry else name

    def tensors(self) -> Tensors:
        """Returns every tensor by name: 'G.mapping.fc0.weight', 'opt_G.exp_avg.mapping.fc0.weight', 'pl_mean'."""
        tensors: Tensors = {'pl_mean': self.pl_mean}
        for name in NETWORKS:
            tensors |= {f'{name}.{key}': value for key, value in getattr(self, name).state_dict().items()}
        for name, network in OPTIMIZERS.items():
            tensors |= _optimizer_tensors(name, getattr(self, name), getattr(self, network))
        return tensors

    def scalars(self) -> dict[str, Any]:
        """Returns everything else, in a form that JSON holds exactly."""
        return {
            'nimg': self.nimg,
            'step': self.step,
            'tick': self.tick,
            'tick_start_nimg': self.tick_start_nimg,
            'retry': self.retry,
            'stats': self.stats.state_dict(),
            **{name: _in_json(name, part.state_dict()) for name, part in self.parts.items()},
        }

    def load(self, tensors: Tensors, scalars: dict[str, Any], where: str) -> None:
        """Loads a saved state.

        A part that the saved state does not know, because it was switched on since, keeps its initial state.

        Args:
            tensors: Tensors as `tensors` returns them.
            scalars: Everything else, as `scalars` returns it.
            where: Path of the state, for messages.

        Raises:
            CheckpointError: If tensors are missing, unknown or of another shape; names the first of them.
        """
        _check_names(expected=self._expected_shapes(), tensors=tensors, where=where)
        for name in NETWORKS:
            getattr(self, name).load_state_dict(_strip(tensors, f'{name}.'))
        for name, network in OPTIMIZERS.items():
            _load_optimizer(getattr(self, name), getattr(self, network), _strip(tensors, f'{name}.'))
        self.pl_mean.copy_(tensors['pl_mean'])  # the term holds the same tensor
        self.nimg, self.step, self.tick = scalars['nimg'], scalars['step'], scalars['tick']
        self.tick_start_nimg = scalars['tick_start_nimg']
        self.retry = scalars.get('retry', 0)  # absent in states of versions without rollback
        self.stats.load_state_dict(scalars['stats'])
        for name, part in self.parts.items():
            if name in scalars:
                part.load_state_dict(scalars[name])

    def _expected_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {'pl_mean': ()}
        for name in NETWORKS:
            shapes |= {f'{name}.{key}': tuple(value.shape) for key, value in getattr(self, name).state_dict().items()}
        return shapes


def _in_json(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state of a part. Raises TypeError that names the part if JSON cannot hold it."""
    try:
        json.dumps(state)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"state_dict of '{name}': {error}; return numbers, texts and lists, and a tensor as tensor.tolist()"
        ) from None
    return state


def _optimizer_tensors(name: str, optimizer: torch.optim.Optimizer, net: torch.nn.Module) -> Tensors:
    """Returns an optimizer's tensors by slot and parameter.

    A parameter that has had no gradient yet may have none.

    Args:
        name: Name of the optimizer in the state.
        optimizer: Optimizer.
        net: Network whose parameters it steps.
    """
    names = {id(p): key for key, p in net.named_parameters()}
    return {
        f'{name}.{slot}.{names[id(p)]}': value for p, slots in optimizer.state.items() for slot, value in slots.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, net: torch.nn.Module, tensors: Tensors) -> None:
    """Replaces an optimizer's tensors.

    Args:
        optimizer: Optimizer.
        net: Network whose parameters it steps.
        tensors: Tensors by 'SLOT.PARAMETER'.
    """
    params = dict(net.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        slot, _, name = key.partition('.')
        param = params[name]
        optimizer.state[param][slot] = value.to(param.device)  # fused Adam has its step counts there too


def _strip(tensors: Tensors, prefix: str) -> Tensors:
    """Returns the tensors whose names have the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_names(expected: dict[str, tuple[int, ...]], tensors: Tensors, where: str) -> None:
    """Raises CheckpointError unless names and shapes of the networks' tensors are as expected.

    Args:
        expected: Shapes by name.
        tensors: Tensors of the saved state, optimizers included.
        where: Path of the state, for the message.
    """
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
