"""Directions: the eigenvectors of AᵀA, in every latent space, whatever layer reads the latent first."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.directions import directions, principal_directions, weight_on_z
from tests.support.networks import tiny_G


def test_directions_of_w_are_the_eigenvectors_of_all_affine_layers():
    G = tiny_G()
    affine = [m.weight for n, m in G.synthesis.named_modules() if n.endswith('affine')]
    A = torch.cat(affine).double().detach().numpy()
    values, vectors = np.linalg.eigh(A.T @ A)  # ascending
    found = directions(G)
    assert found.space == 'w'
    cosines = np.abs((found.vectors.numpy() * vectors[:, ::-1].T).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    assert np.all(np.diff(values) > 0)


def test_deviations_are_those_of_w_along_the_directions():
    G = tiny_G()
    found = directions(G)
    torch.manual_seed(1)
    with torch.no_grad():
        w = G.mapping(torch.randn(4000, 8), torch.zeros(4000, 0))[:, 0]
    torch.testing.assert_close((w @ found.vectors.T).std(dim=0), found.deviations, rtol=0.1, atol=0)


def test_principal_directions_diagonalize_the_covariance_of_w_the_largest_first():
    G = tiny_G()
    found = principal_directions(G)
    torch.manual_seed(1)
    with torch.no_grad():
        w = G.mapping(torch.randn(20000, 8), torch.zeros(20000, 0))[:, 0].double()
    covariance = torch.cov((w @ found.vectors.double().T).T)
    spread = covariance.diagonal().sqrt()
    torch.testing.assert_close(spread.float(), found.deviations, rtol=0.1, atol=0)
    correlation = covariance / spread[:, None] / spread
    assert (correlation - torch.eye(8)).abs().max() < 0.1
    assert found.deviations.diff().max() <= 0


def test_z_has_no_principal_directions():
    with pytest.raises(ConfigError, match='has no W space, and z varies equally'):
        principal_directions(Reader(torch.nn.Linear(4, 6), lambda z, c: z))


class Reader(torch.nn.Module):
    """A generator whose layer reads z as it is given one."""

    z_dim, c_dim = 4, 2

    def __init__(self, layer, read):
        super().__init__()
        self.layer, self.read = layer, read

    def forward(self, z, c, *, noise_mode):
        return self.layer(self.read(z, c))


@pytest.mark.parametrize(
    ('layer', 'read', 'axis', 'columns'),
    [
        (torch.nn.Linear(4, 6), lambda z, c: z, 1, slice(0, 4)),
        (torch.nn.Linear(4, 6), lambda z, c: z / z.norm(dim=1, keepdim=True), 1, slice(0, 4)),
        (torch.nn.Linear(6, 6), lambda z, c: torch.cat([z, c], dim=1), 1, slice(0, 4)),
        (torch.nn.Linear(6, 6), lambda z, c: torch.cat([c, z], dim=1), 1, slice(2, 6)),
        (torch.nn.ConvTranspose2d(4, 3, 2), lambda z, c: z[:, :, None, None], 0, slice(0, 4)),
    ],
)
def test_the_layer_that_reads_z_is_found(layer, read, axis, columns):
    G = Reader(layer, read)
    expected = layer.weight.movedim(axis, -1).flatten(0, -2)[:, columns]
    torch.testing.assert_close(weight_on_z(G, torch.ones(1, 2)), expected)
    found = directions(G)
    assert found.space == 'z'
    assert found.vectors.shape == (4, 4)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4), atol=1e-5, rtol=0)


def test_a_network_that_reads_z_otherwise_has_no_directions():
    with pytest.raises(ConfigError, match='no linear layer reads z'):
        directions(Reader(torch.nn.Linear(4, 6), lambda z, c: z.sin()))
