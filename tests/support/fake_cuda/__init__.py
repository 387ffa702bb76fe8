"""Training on fake CUDA tensors, on a machine without a GPU: shapes, dtypes, memory formats and autograd, no numbers.

`guard.py` comes first, before torch is imported; then `stubs.prepare()`; then a `mode.FakeCuda`, in which a tensor on
'cuda' is fake and the CPU is real. `counter.py` counts what reaches the device, by the rules of `rules.py`.
"""
