"""The detector `inception`: the network of the official fid50k_full, kid50k_full and is50k.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from pathlib import Path

import torch

from dnnlib.errors import UserError
from metrics.detectors.inception import BATCH_NORM_EPS, FEATURE_DIM, INPUT_SIZE, NUM_CLASSES, InceptionV3
from metrics.detectors.interface import Features
from metrics.detectors.network_detector import NetworkDetector
from metrics.detectors.resize import resize_like_tensorflow
from metrics.detectors.torchscript import read_torchscript
from metrics.detectors.weights import Edition, Tensors, WeightsSource, read_state_dict
from metrics.streams.images import to_rgb

STATE_DICT = 'weights-inception-2015-12-05-6726825d.pth'
# Names that a TorchScript file may give to the vectors of a layer, by the end of their full names.
ROLES = {
    'weight': 'weight',
    'gamma': 'weight',
    'bias': 'bias',
    'beta': 'bias',
    'mean': 'running_mean',
    'moving_mean': 'running_mean',
    'running_mean': 'running_mean',
    'var': 'running_var',
    'variance': 'running_var',
    'moving_variance': 'running_var',
    'running_var': 'running_var',
}


def read_official_inception(path: Path) -> Tensors:
    """Reads StyleGAN2-ADA's TorchScript file as a state dict of `InceptionV3`. UserError if tensors are unclear."""
    tensors = read_torchscript(path)
    try:
        return by_name(tensors) or by_order(tensors)
    except ValueError as error:
        way_out = f'--detector-path=inception={STATE_DICT} holds the same weights under names'
        raise UserError(f'{path}: cannot identify its tensors ({error}); {way_out}') from error


def by_name(tensors: Tensors) -> Tensors | None:
    """Returns the tensors if they have our names, else None."""
    wanted = _wanted()
    return {name: tensors[name] for name in wanted} if tensors.keys() >= wanted.keys() else None


def by_order(tensors: Tensors) -> Tensors:
    """Converts tensors under other names to a state dict, by their order and shapes. ValueError unless it is certain.

    The file has 94 layers with the same number of consecutive tensors each: the kernel, identified by its four
    dimensions, and vectors, identified by the ends of their names. The layers are in our order if all 94 shapes agree:
    in every kind of block some width distinguishes each branch from the others, so a file with its branches in another
    order differs in at least one block.
    """
    wanted = _wanted()
    layers = [name.removesuffix('.conv.weight') for name in wanted if name.endswith('.conv.weight')]
    found = [(name.rpartition('.')[2], value) for name, value in tensors.items() if value.is_floating_point()]
    rows = [(leaf, value) for leaf, value in found if value.ndim in (1, 4) and len(value) != NUM_CLASSES]
    size, rest = divmod(len(rows), len(layers))
    if rest or size not in (2, 4, 5):  # kernel and bias; kernel, bias, mean and variance; the same with a scale
        raise ValueError(f'{len(rows)} kernels and vectors do not make {len(layers)} layers')
    result = _classifier([value for _, value in found if NUM_CLASSES in value.shape])
    for index, layer in enumerate(layers):
        result |= _layer(layer, wanted[f'{layer}.conv.weight'], rows[index * size : (index + 1) * size])
    return result


def _wanted() -> dict[str, torch.Size]:
    with torch.device('meta'):
        return {name: tensor.shape for name, tensor in InceptionV3().state_dict().items()}


def _classifier(tensors: list[torch.Tensor]) -> Tensors:
    shapes = sorted((tensor.shape for tensor in tensors), key=len)
    if shapes not in ([(NUM_CLASSES,), (NUM_CLASSES, FEATURE_DIM)], [(NUM_CLASSES,), (FEATURE_DIM, NUM_CLASSES)]):
        raise ValueError(f'the classifier has the shapes {[list(shape) for shape in shapes]}')
    bias, weight = sorted(tensors, key=torch.Tensor.dim)
    return {'fc.weight': (weight if len(weight) == NUM_CLASSES else weight.T).float(), 'fc.bias': bias.float()}


def _layer(layer: str, shape: torch.Size, row: list[tuple[str, torch.Tensor]]) -> Tensors:
    kernels = [value for _, value in row if value.ndim == 4]
    if [kernel.shape for kernel in kernels] != [shape]:
        found = [list(kernel.shape) for kernel in kernels]
        raise ValueError(f'{layer} should have one kernel of {list(shape)}, there are {found}')
    vectors: Tensors = {}
    for leaf, value in row:
        if value.ndim == 1:
            role = ROLES.get(leaf)
            if role is None or role in vectors or len(value) != shape[0]:
                raise ValueError(f'{layer} has a vector {leaf!r} of {len(value)}')
            vectors[role] = value.float()
    if 'bias' not in vectors or ('running_mean' in vectors) != ('running_var' in vectors):
        raise ValueError(f'{layer} has the vectors {sorted(vectors)}')
    # TensorFlow's graph has no scale. Without statistics the batch norm has been folded: ours is then the identity.
    vectors.setdefault('weight', torch.ones(shape[0]))
    vectors.setdefault('running_mean', torch.zeros(shape[0]))
    vectors.setdefault('running_var', torch.full([shape[0]], 1 - BATCH_NORM_EPS))
    result = {f'{layer}.bn.{role}': value for role, value in vectors.items()}
    return result | {f'{layer}.conv.weight': kernels[0].float(), f'{layer}.bn.num_batches_tracked': torch.tensor(0)}


class InceptionDetector(NetworkDetector):
    """The detector `inception`: pooled features [N, 2048] and class probabilities [N, 1008].

    The probabilities come from logits without the classifier's bias, as the official is50k (`no_output_bias`) and
    torch-fidelity compute it; Salimans et al. 2016 do not specify it.
    """

    name = 'inception'
    preprocessing = 'v1: float32, bilinear as TensorFlow 1 (no half-pixel centres) to 299, (x - 128) / 128'
    feature_dim = FEATURE_DIM
    num_classes = NUM_CLASSES
    source = WeightsSource(
        name='inception',
        editions=(
            Edition(
                filename=STATE_DICT,
                sha256='6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
                read=read_state_dict,
                url=f'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{STATE_DICT}',
            ),
            Edition(
                filename='inception-2015-12-05.pt',
                sha256='f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4',
                read=read_official_inception,
            ),
        ),
    )

    @classmethod
    def make_network(cls) -> InceptionV3:
        """Returns the bare network, with any weights."""
        return InceptionV3()

    @staticmethod
    def ready(network: InceptionV3) -> InceptionV3:
        """Folds the batch norms."""
        return network.fold_batch_norms()

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Converts uint8 [N, C, H, W] to [N, 3, 299, 299] float32 in [-1, 1], channels last."""
        x = resize_like_tensorflow(to_rgb(images.to(self.device)).float(), INPUT_SIZE)
        return ((x - 128) / 128).contiguous(memory_format=torch.channels_last)

    def features(self, x: torch.Tensor) -> Features:
        """Returns pooled features [N, 2048] and probabilities [N, 1008] of a prepared chunk."""
        taps = self.network(x)
        return Features(taps['2048'], taps['logits_unbiased'].softmax(dim=1))
