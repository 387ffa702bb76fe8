"""CUDA graphs of the passes of Gmain, Dmain and Greg (`--graphs=auto`).

The phases are cut at the image: G's pass, D's pass, D's gradient and G's gradient are graphs, and augmentation, losses
and statistics between them run operation by operation, because their shapes and numbers vary. Greg is a pass from
latents to the penalty, and its gradient. Dreg, which is rare, has no graph.

A phase runs without graphs the first time, which shows which parameters have a gradient. From then on inputs are copied
to fixed addresses, and gradients accumulate at fixed addresses, in the packed buffer of the network. The host draws
style mixing before a pass and gives it as tensors. On a device without CUDA the same functions run without graphs
(`record=False`); tests compare their bits with the ordinary step.

Letters: N images, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from torch_utils.distributed import World
from torch_utils.graphs import NotRecorded, Tape
from training.config import RunConfig
from training.fakes import Fakes, Mixing
from training.objective.losses import Separable
from training.objective.pl import PathLengthRegularization
from training.objective.term import Draw, Micro, Summand, Term, has_hook
from training.optimize.optimizers import GradientBuffer
from training.passes import Passes
from training.state import TrainState

OWN = ('training', 'extensions')  # packages whose networks depend on nothing of the host that changes

Result = tuple[torch.Tensor, dict[str, torch.Tensor]]  # result of a pass, and statistics by name


class NetworkPass:
    """A pass through a network and its gradient, on tensors at fixed addresses."""

    def __init__(
        self,
        function: Callable[..., Result],
        inputs: Sequence[torch.Tensor],
        shape: Sequence[int],
        params: Sequence[torch.nn.Parameter],
        changed: Sequence[torch.Tensor],
    ) -> None:
        """Allocates the tensors.

        Args:
            function: Function of the inputs that returns the result, float32, and statistics.
            inputs: Tensors like those of every call. Those that require a gradient receive one.
            shape: Shape of the result.
            params: Parameters whose gradients the pass adds to `grad`, which has a fixed address.
            changed: Further tensors that the pass may change in place.
        """
        self.function = function
        self.inputs = [torch.empty_like(x, requires_grad=x.requires_grad) for x in inputs]
        self.wanted = [x for x in self.inputs if x.requires_grad]
        for x in self.wanted:
            x.grad = torch.zeros_like(x)
        self.gradient = torch.ones(list(shape), device=self.inputs[0].device)
        self.params = list(params)
        self.differentiable = bool(self.wanted or self.params)
        gradients = [p.grad for p in (*self.wanted, *self.params) if p.grad is not None]
        functions = (self._forward, self._backward) if self.differentiable else (self._forward,)
        self.tape = Tape(functions, (*changed, *gradients), lambda: [self.result, *self.statistics.values()])
        self._awaits = False

    def __call__(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the result, whose gradient runs the other half."""
        assert not self._awaits, 'a second pass would overwrite what the gradient of the first one reads'
        if not (self.differentiable and torch.is_grad_enabled()):
            return self.forward(inputs)
        anchor = torch.zeros([], device=self.gradient.device, requires_grad=True)
        result: torch.Tensor = _Halves.apply(self, anchor, *inputs)  # type: ignore[no-untyped-call]
        return result

    def fill(self, inputs: Sequence[torch.Tensor]) -> None:
        """Copies the inputs to their addresses."""
        with torch.no_grad():
            for own, x in zip(self.inputs, inputs, strict=True):
                own.copy_(x)

    def forward(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns a copy of the result."""
        self.fill(inputs)
        self.tape.run(0)
        self._awaits = self.differentiable
        return self.result.detach().clone()

    def backward(self, gradient: torch.Tensor) -> list[torch.Tensor | None]:
        """Adds the parameters' gradients, and returns those of the inputs."""
        self.gradient.copy_(gradient)
        self.tape.run(1)
        self._awaits = False
        return [None if x.grad is None else x.grad.clone() for x in self.inputs]

    def _forward(self) -> None:
        with torch.set_grad_enabled(self.differentiable):
            self.result, self.statistics = self.function(*self.inputs)

    def _backward(self) -> None:
        for x in self.wanted:
            assert x.grad is not None
            x.grad.zero_()
        torch.autograd.backward(self.result, self.gradient, inputs=[*self.wanted, *self.params])
        # Nodes of autograd belong to a stream: those of a warm-up must not outlive it.
        self.result = self.result.detach()


class _Halves(torch.autograd.Function):
    """The two halves of a `NetworkPass` in an ordinary graph of autograd."""

    @staticmethod
    def forward(ctx: Any, network_pass: NetworkPass, anchor: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.network_pass = network_pass
        return network_pass.forward(inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (None, None, *ctx.network_pass.backward(gradient))


class GraphPasses(Passes):
    """Passes as CUDA graphs in the phases that can be recorded, and ordinary ones in the others."""

    def __init__(self, cfg: RunConfig, state: TrainState, fakes: Fakes, world: World, *, record: bool) -> None:
        """Keeps its arguments.

        Args:
            cfg: Config of the run.
            state: State of the run.
            fakes: Source of generated images.
            world: Processes of the run.
            record: Whether the passes are recorded; otherwise their functions run without graphs.
        """
        super().__init__(state, fakes)
        self.cfg, self.world, self.record = cfg, world, record
        self.refused: dict[str, str | None] = {}  # reason by phase; None for a phase with graphs
        self._params: dict[str, list[torch.nn.Parameter]] = {}  # those with a gradient, by phase
        self._passes: dict[tuple[str, str], NetworkPass] = {}
        self._pools: dict[str, Any] = {}  # G's graphs share memory, and so do D's
        self._phase = ''
        self._active = False
        self._has_new_graphs = False  # whether passes were recorded since the phase began

    def begin(self, phase: str, buffer: GradientBuffer) -> None:
        self._phase = phase
        self._has_new_graphs = False
        if phase not in self.refused:
            self.refused[phase] = None
            if (reason := why_not(phase, self.cfg, self.state, self.world)) is not None:
                self._refuse(phase, reason)
        self._active = phase in self._params and self.refused[phase] is None
        if self._active:
            buffer.open(self._params[phase])

    def end(self, buffer: GradientBuffer) -> None:
        self._params.setdefault(self._phase, [p for p in buffer.params if p.grad is not None])
        if self._has_new_graphs and self.refused[self._phase] is None:
            self._report(self._phase, 'its passes are CUDA graphs')
        self._active = False

    def draw(self, z: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if not self._active:
            return super().draw(z, c)
        return self._images(z, c, update_w_avg=not self.fakes.tracks), None

    def generate(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        if not self._active:
            return super().generate(z, c)
        return self._images(z, c, update_w_avg=self.fakes.tracks)

    def score(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        if not self._active:
            return super().score(img, c)
        return self._run('D', lambda img, c: (self.state.D(img, c), {}), (img, c), [len(img), 1])

    def regularize(self, term: Term, micro: Micro, draw: Draw) -> Summand | None:
        if not self._active or type(term) is not PathLengthRegularization:
            return super().regularize(term, micro, draw)
        z, c = draw.latents(term.num_images(micro))

        def penalty(z: torch.Tensor, c: torch.Tensor, *second: torch.Tensor) -> Result:
            summand = term.penalize(self.fakes.map(z, c, Mixing(*second) if second else None))
            return summand.mean(), {name: values.detach() for name, values in summand.statistics.items()}

        loss = self._run('pl', penalty, (z, c, *self._second(z)), [])
        return Summand(loss=loss, statistics=self._passes[self._phase, 'pl'].statistics)

    def _images(self, z: torch.Tensor, c: torch.Tensor, *, update_w_avg: bool) -> torch.Tensor:
        """Generates images, [N, C, H, W].

        Args:
            z: Latents, [N, z_dim].
            c: Labels, [N, label_dim].
            update_w_avg: Whether the latents move G's running mean of w, and the images those of a `TrackingGenerator`.
        """

        def images(z: torch.Tensor, c: torch.Tensor, *second: torch.Tensor) -> Result:
            G = self.state.G
            if not self.fakes.has_w_space:
                return G(z, c), {}
            ws = self.fakes.map(z, c, Mixing(*second) if second else None, update_w_avg)
            return (G.track if update_w_avg and self.fakes.tracks else G.synthesis)(ws), {}

        spec = self.fakes.dataset.spec
        return self._run('G', images, (z, c, *self._second(z)), [len(z), spec.channels, spec.height, spec.width])

    def _second(self, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns the fields of style mixing for a batch of latents `z`; none if the run does not mix."""
        if not self.fakes.has_w_space or self.cfg.style_mixing_prob == 0:
            return ()
        mixing = self.fakes.mixing(z)
        first = torch.ones([self.state.G.num_ws], dtype=torch.bool, device=z.device)
        return mixing or (torch.zeros_like(z), first)

    def _run(
        self, name: str, function: Callable[..., Result], inputs: Sequence[torch.Tensor], shape: Sequence[int]
    ) -> torch.Tensor:
        """Runs a pass of the present phase, and records it the first time.

        Args:
            name: 'G', 'D' or 'pl', once per phase.
            function: See `NetworkPass`; used the first time.
            inputs: See `NetworkPass`.
            shape: See `NetworkPass`.
        """
        state, key = self.state, (self._phase, name)
        if key not in self._passes:
            net = state.D if name == 'D' else state.G
            trained = {id(p) for p in net.parameters() if p.requires_grad}
            params = [p for p in self._params[self._phase] if id(p) in trained]
            changed = [*state.G.buffers(), *state.D.buffers(), *state.moving]
            self._passes[key] = NetworkPass(function, inputs, shape, params, changed)
            if self.record:
                self._passes[key].fill(inputs)
                self._record(self._passes[key], 'D' if name == 'D' else 'G')
        return self._passes[key](inputs)

    def _record(self, network_pass: NetworkPass, net: str) -> None:
        """Records a pass. If that fails, it runs without graphs, and so does the phase from the next step on."""
        device = network_pass.gradient.device
        if net not in self._pools:
            self._pools[net] = torch.cuda.graph_pool_handle()
        try:
            network_pass.tape.record(device, self._pools[net])
            self._has_new_graphs = True
        except NotRecorded as error:
            self._refuse(self._phase, f'{net}: {error}')

    def _refuse(self, phase: str, reason: str) -> None:
        self.refused[phase] = reason
        self._report(phase, f'no CUDA graphs; {reason}')

    def _report(self, phase: str, text: str) -> None:
        if self.record and self.world.leads:
            print(f'graphs: {phase}: {text}', file=sys.stderr, flush=True)


def why_not(phase: str, cfg: RunConfig, state: TrainState, world: World) -> str | None:
    """Returns why the passes of a phase cannot be recorded, None if they can.

    Args:
        phase: Name of the phase.
        cfg: Config of the run.
        state: State of the run.
        world: Processes of the run.
    """
    if cfg.deterministic:
        return '--deterministic sums the gradients of micro-batches one by one'
    if world.size > 1:
        return 'only runs of one process are recorded'
    for net in (state.G, state.D):
        if type(net).__module__.partition('.')[0] not in OWN and not getattr(net, 'capturable', False):
            return f'{type(net).__name__} of a plug-in does not declare `capturable = True`'
    if phase == 'Dreg':
        return 'it is rare, and takes second derivatives of its own'
    if phase == 'Greg':
        return None if isinstance(state.terms.get('pl'), PathLengthRegularization) else 'only path lengths are recorded'
    if not isinstance(cfg.loss.build(), Separable):
        return f'loss.kind={cfg.loss.kind} compares two passes of D'
    hook = 'on_generated' if phase.startswith('G') else 'on_logits'
    for name, term in state.terms.items():
        if has_hook(term, hook) and (phase.startswith('G') or term.needs_features or term.shares_main):
            return f'{name} reads more of a pass than its result'
    return None


def make_passes(cfg: RunConfig, state: TrainState, fakes: Fakes, device: torch.device, world: World) -> Passes:
    """Returns the passes of a run: CUDA graphs under `--graphs=auto` on CUDA.

    Args:
        cfg: Config of the run.
        state: State of the run.
        fakes: Source of generated images.
        device: Device of the state.
        world: Processes of the run.
    """
    if cfg.graphs == 'auto' and device.type == 'cuda':
        return GraphPasses(cfg, state, fakes, world, record=True)
    return Passes(state, fakes)
