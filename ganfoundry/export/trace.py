"""Tracing of a module to an ONNX model, with the reference operations and a dynamic batch."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from dnnlib.errors import ExportError
from ganfoundry.export.parts import Inputs
from torch_utils.ops import dispatch

if TYPE_CHECKING:
    import onnx

BATCH = 'batch'  # name of the dynamic dimension
LOGGERS = ('torch.onnx', 'onnxscript', 'onnx_ir')


def trace(module: torch.nn.Module, inputs: Inputs, output: str, *, opset: int) -> onnx.ModelProto:
    """Returns the ONNX model of a module that takes one dictionary of inputs.

    Scalars stay scalars; the first dimension of all other inputs is dynamic.

    Args:
        module: The module, in evaluation mode.
        inputs: Example inputs with a batch of at least 2: tracing takes a dimension of 1 for a constant.
        output: Name of the output.
        opset: Version of ONNX's standard operators.

    Raises:
        ExportError: If the module cannot be traced.
    """
    batch = torch.export.Dim(BATCH, min=1)
    shapes = {name: {0: batch} if tensor.ndim else None for name, tensor in inputs.items()}
    try:
        with quiet(), dispatch.default('ref'), torch.no_grad():
            # Runtime assertions instead of guards: a batch that equals a number of channels makes strides ambiguous,
            # and tracing would exclude such batches although the result is the same. The check runs several batches.
            program = torch.export.export(
                module,
                (inputs,),
                dynamic_shapes={'inputs': shapes},
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            traced = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                external_data=False,
                input_names=list(inputs),
                output_names=[output],
                verbose=False,
            )
    except Exception as error:  # the network's own code and the tracer may raise anything
        reason = next(iter(str(error).strip().splitlines()), '')
        raise ExportError(f'cannot be traced for ONNX ({type(error).__name__}: {reason})') from error
    assert traced is not None
    model = traced.model_proto
    if found := [entry.version for entry in model.opset_import if entry.domain == '' and entry.version != opset]:
        raise ExportError(f'--opset={opset}: the exporter wrote opset {found[0]}; use --opset={found[0]}')
    return cleaned(model)


def cleaned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model without stack traces, paths and names of this machine, and with its batch by name.

    Shapes of intermediate results go, too: a runtime derives them, and the tracer's names of sizes mean nothing.
    """
    graph = model.graph
    model.doc_string = graph.doc_string = ''
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for entry in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        entry.doc_string = ''
        del entry.metadata_props[:]
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_param = BATCH
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the exporter's notes inside a `with` block: about torchvision, constants that it does not fold."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def joined(first: onnx.ModelProto, second: onnx.ModelProto, by: str) -> onnx.ModelProto:
    """Returns the model that feeds the output `by` of `first` to the input of that name of `second`."""
    from onnx import compose

    mapping, synthesis = (
        compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)
        for prefix, model in (('mapping/', first), ('synthesis/', second))
    )
    merged: onnx.ModelProto = compose.merge_models(mapping, synthesis, io_map=[(by, by)])
    return cleaned(merged)
