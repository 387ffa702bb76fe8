"""Gates: f_g and the feedback are those that the network uses, by Eq. (5) to (7)."""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.inspection.gates import gate_and_feedback, inspect_gates
from ganfoundry.inspection.taps import tapped


def test_the_parts_of_eq_7_give_the_output_of_every_gate(drawing_of) -> None:
    facts = inspect_gates(drawing_of('ifgan')).facts['gates']
    assert set(facts) == {'b8.image_gate', 'b8.latent_gate', 'b16.image_gate', 'b16.latent_gate', 'b32.image_gate'}
    assert all(gate['difference_to_eq_7'] < 1e-5 and 0 < gate['mean'] < 1 for gate in facts.values())


def test_gate_and_feedback_equal_a_slow_transcription(drawing_of) -> None:
    drawing = drawing_of('ifgan')
    gate = drawing.network.module.b8.latent_gate
    _, calls = drawing.run({'gate': gate})
    f_m, f_s = (tensor.double() for tensor in calls['gate'].inputs)

    def norm(bn: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        mean, var = (value.double()[:, None, None] for value in (bn.running_mean, bn.running_var))
        weight, bias = (value.double()[:, None, None] for value in (bn.weight, bn.bias))
        return (x - mean) / (var + bn.eps).sqrt() * weight + bias

    m = norm(gate.bn_m, f_m.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    s = norm(gate.bn_s, f_s)
    both = torch.cat([m, s], dim=1)
    weight = (gate.mix.weight * gate.mix.weight_gain).double()[:, :, 0, 0]
    mixed = torch.einsum('oi,nihw->nohw', weight, both) + gate.mix.bias.double()[:, None, None]
    half = mixed.shape[1] // 2
    f_g, f_r = 1 / (1 + (-mixed[:, :half]).exp()), mixed[:, half:]
    found_g, fed = gate_and_feedback(gate, *calls['gate'].inputs)
    torch.testing.assert_close(found_g.double(), f_g, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fed.double(), (1 - f_g) * f_r, rtol=1e-5, atol=1e-5)


def test_rows_are_the_image_and_the_gates_in_order(drawing_of) -> None:
    names = [name for name, _ in inspect_gates(drawing_of('ifgan')).rows]
    assert names == [
        'image',
        *('8 image gate f_g', '8 latent gate f_g', '8 latent feedback', '8 latent feature'),
        *('16 image gate f_g', '16 latent gate f_g', '16 latent feedback', '16 latent feature'),
        '32 image gate f_g',
    ]


@pytest.mark.parametrize('cfg', ['traditional', 'squeeze'])
def test_a_network_without_gates_is_refused(drawing_of, cfg: str) -> None:
    with pytest.raises(ConfigError, match=rf'--what=gates: .*\({cfg}\) has no gating modules'):
        inspect_gates(drawing_of(cfg))


def test_hooks_leave_with_the_context(drawing_of) -> None:
    gate = drawing_of('ifgan').network.module.b8.image_gate
    with tapped({'gate': gate}):
        assert len(gate._forward_hooks) == 1
    assert not gate._forward_hooks
