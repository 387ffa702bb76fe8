"""Tracing: what a model keeps, and what goes."""

import logging
import warnings

import pytest
import torch

from ganfoundry.export.trace import cleaned, joined, quiet, trace

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')


class Scale(torch.nn.Module):
    """Multiplies the input of one name by a factor, and adds a scalar input if there is one."""

    def __init__(self, name, factor):
        super().__init__()
        self.name = name
        self.weight = torch.nn.Parameter(torch.full([3], float(factor)))

    def forward(self, inputs):
        return inputs[self.name] * self.weight + inputs.get('psi', 0)


@pytest.fixture(scope='module')
def models():
    first = trace(Scale('z', 2), {'z': torch.ones([2, 3]), 'psi': torch.ones([])}, 'ws', opset=18)
    second = trace(Scale('ws', 3), {'ws': torch.ones([2, 3])}, 'img', opset=18)
    return first, second


def test_the_batch_is_dynamic_and_scalars_stay_scalars(models):
    shapes = [
        (value.name, [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in (*models[0].graph.input, *models[0].graph.output)
    ]
    assert shapes == [('z', ['batch', 3]), ('psi', []), ('ws', ['batch', 3])]


def test_two_models_join_at_a_result(models):
    from onnx.reference import ReferenceEvaluator

    model = joined(*models, 'ws')
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ['z', 'psi']
    assert [value.name for value in model.graph.output] == ['img']
    feeds = {'z': torch.ones([5, 3]).numpy(), 'psi': torch.tensor(0.5).numpy()}
    (img,) = ReferenceEvaluator(model).run(None, feeds)
    assert img.tolist() == [[7.5] * 3] * 5


def test_stack_traces_and_notes_are_removed(models):
    model = onnx.ModelProto()
    model.CopyFrom(models[0])
    model.doc_string = model.graph.node[0].doc_string = 'of /home/jane'
    onnx.helper.set_model_props(model, {'place': '/home/jane'})
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = 'stack_trace', 'File "/home/jane/a.py"'
    assert b'jane' in model.SerializeToString()
    assert b'jane' not in cleaned(model).SerializeToString()
    assert b'stack_trace' not in models[0].SerializeToString()


def test_notes_of_the_exporter_are_silent_only_inside_of_the_block(caplog):
    logger = logging.getLogger('onnxscript')
    with quiet():
        logger.warning('note')
        warnings.warn('note', stacklevel=1)
    assert caplog.records == []
    logger.warning('note')
    assert len(caplog.records) == 1
