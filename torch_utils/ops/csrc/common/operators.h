// Common parts of the operators: types and formats of tensors, and the distribution of work over threads.
//
// Each operator's file registers its schema, its shapes (the Meta kernel, with which torch.compile and torch.export
// trace) and its gradient, for every device, and its CPU kernel; NAME_cuda.cpp registers the CUDA kernel. Gradients
// consist of operators, so they exist to any order.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "common/numeric.h"
#include "common/shapes.h"

namespace ganfoundry {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements that make a task worth a thread.
inline constexpr int64_t kGrain = 32768;

// Calls run(T()) with the storage type T of `type`.
template <class F>
void with_type(const char* name, at::ScalarType type, F run) {
    switch (type) {
        case at::kFloat: return run(float());
        case at::kDouble: return run(double());
        case at::kBFloat16: return run(bfloat16());
        default: TORCH_CHECK_TYPE(false, name, ": the CPU kernel takes float32, float64 and bfloat16, got ", type);
    }
}

template <class T>
const T* input(const Tensor& x) {
    return static_cast<const T*>(x.const_data_ptr());
}

template <class T>
T* output(const Tensor& x) {
    return static_cast<T*>(x.mutable_data_ptr());
}

template <class F>
void run_tasks(int64_t tasks, int64_t length, F run) {
    at::parallel_for(0, tasks, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length)), run);
}

}  // namespace ganfoundry
