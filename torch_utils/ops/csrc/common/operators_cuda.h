// Common parts of the CUDA kernels' registration. It needs PyTorch's headers, but not CUDA's.
//
// NAME_cuda.cpp registers kernels of operators; NAME.cpp, in the CPU library, defines schema, shapes and gradient.

#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include <utility>

#include "common/launch.cuh"
#include "common/shapes.h"

// A test registers the kernels, compiled for the CPU, for CPU tensors.
#ifndef GF_DISPATCH_KEY
#define GF_DISPATCH_KEY CUDA
#endif

// From PyTorch's C interface, which is stable across versions.
extern "C" int32_t aoti_torch_get_current_cuda_stream(int32_t device, void** stream);

// Elements that a launch counts at most. Only a test changes it.
extern "C" {
inline int64_t ganfoundry_max_elements = ganfoundry::kMaxElements;
}

namespace ganfoundry {

using OnDevice = c10::OptionalDeviceGuard;

// The stream on which kernels for x run.
inline Target target_of(const Tensor& x) {
    Target target{int(x.get_device()), nullptr};
    TORCH_CHECK(aoti_torch_get_current_cuda_stream(target.device, &target.stream) == 0, "no CUDA stream");
    return target;
}

inline DType dtype_of(const char* name, const Tensor& x) {
    switch (x.scalar_type()) {
        case at::kFloat: return DType::float32;
        case at::kHalf: return DType::float16;
        case at::kBFloat16: return DType::bfloat16;
        default:
            TORCH_CHECK_TYPE(
                false, name, ": the CUDA kernel takes float32, float16 and bfloat16, got ", x.scalar_type());
    }
}

inline bool is_too_large(int64_t elements) { return elements > ganfoundry_max_elements; }

inline void check_size(const char* name, at::IntArrayRef sizes) {
    TORCH_CHECK_VALUE(
        !is_too_large(c10::multiply_integers(sizes)), name, ": ", sizes,
        " has more elements than the CUDA kernel counts (", ganfoundry_max_elements,
        "); take a smaller batch, or impl='ref'");
}

inline void check_size(const char* name, const Tensor& x) { check_size(name, x.sizes()); }

// The first and the second half of the samples of a tensor that is too large for one launch.
inline std::pair<Tensor, Tensor> halves(const Tensor& x) {
    const int64_t n = x.size(0);
    return {x.narrow(0, 0, n / 2), x.narrow(0, n / 2, n - n / 2)};
}

// Dense, at an address that is aligned for packs: a view may begin anywhere.
inline Tensor dense(const Tensor& x, at::MemoryFormat format) {
    const Tensor y = x.contiguous(format);
    return reinterpret_cast<uintptr_t>(y.const_data_ptr()) % 16 == 0 ? y : y.clone();
}

inline void check_launch(const char* name, const char* problem) {
    TORCH_CHECK(problem == nullptr, name, ": ", problem);
}

}  // namespace ganfoundry
