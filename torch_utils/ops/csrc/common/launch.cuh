// Runs a kernel: on a GPU if nvcc compiles this; else on the CPU, thread by thread, to test kernels.
//
// A kernel is a struct of its arguments that derives from Kernel and has
//     template <int kPhase> GF_HD void run(uint32_t block, uint32_t thread, Shared& shared) const;
// All threads of a block finish a phase before any of them begins the next. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/numeric.h"
#include "common/portable.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include <type_traits>
#endif

namespace ganfoundry {

enum class DType : int { float32, float16, bfloat16 };

// Indices are 32 bits wide: the launcher rejects tensors with more elements.
inline constexpr int64_t kMaxElements = INT32_MAX;

// Device and stream of a kernel.
struct Target {
    int device;
    void* stream;  // cudaStream_t
};

struct Nothing {};

template <int phases = 1, class SharedMemory = Nothing>
struct Kernel {
    using Shared = SharedMemory;
    static constexpr int kPhases = phases;
    static constexpr uint32_t kThreads = 256;
    static constexpr uint32_t kBlocks = 1;  // blocks that should fit into a multiprocessor at once
};

GF_HD constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#ifdef __CUDACC__

template <class K>
__global__ void __launch_bounds__(K::kThreads, K::kBlocks) kernel(const __grid_constant__ K k) {
    __shared__ typename K::Shared shared;
    k.template run<0>(blockIdx.x, threadIdx.x, shared);
    if constexpr (K::kPhases > 1) {
        __syncthreads();
        k.template run<1>(blockIdx.x, threadIdx.x, shared);
    }
    if constexpr (K::kPhases > 2) {
        __syncthreads();
        k.template run<2>(blockIdx.x, threadIdx.x, shared);
    }
    if constexpr (K::kPhases > 3) {
        __syncthreads();
        k.template run<3>(blockIdx.x, threadIdx.x, shared);
    }
    if constexpr (K::kPhases > 4) {
        __syncthreads();
        k.template run<4>(blockIdx.x, threadIdx.x, shared);
    }
    static_assert(K::kPhases <= 5);
}

// The error, or nullptr. Does not wait for the kernel.
template <class K>
const char* launch(const K& k, int64_t blocks, Target target) {
    // This library has its own CUDA runtime, which PyTorch's device guard does not affect.
    cudaError_t error = cudaSetDevice(target.device);
    if (error == cudaSuccess) {
        kernel<K><<<uint32_t(blocks), K::kThreads, 0, static_cast<cudaStream_t>(target.stream)>>>(k);
        error = cudaGetLastError();
    }
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

#else

// Device 1 runs everything backwards, which reveals data that two threads write, or one writes and another reads.
template <int kPhase, class K>
void run_phases(const K& k, uint32_t block, typename K::Shared& shared, bool backwards) {
    for (uint32_t i = 0; i < K::kThreads; ++i) {
        k.template run<kPhase>(block, backwards ? K::kThreads - 1 - i : i, shared);
    }
    if constexpr (kPhase + 1 < K::kPhases) run_phases<kPhase + 1>(k, block, shared, backwards);
}

template <class K>
const char* launch(const K& k, int64_t blocks, Target target) {
    const bool backwards = target.device == 1;
    for (int64_t i = 0; i < blocks; ++i) {
        typename K::Shared shared;
        run_phases<0>(k, uint32_t(backwards ? blocks - 1 - i : i), shared, backwards);
    }
    return nullptr;
}

#endif

// Calls run(T()) with the storage type T of `dtype`.
template <class F>
const char* with_dtype(DType dtype, F run) {
    switch (dtype) {
        case DType::float32: return run(float());
        case DType::float16: return run(float16());
        case DType::bfloat16: return run(bfloat16());
    }
    return "unknown dtype";
}

}  // namespace ganfoundry
