// Macros that make a header CUDA for nvcc and plain C++ for g++. Does not include PyTorch.

#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GF_HD __host__ __device__ __forceinline__
#else
#define GF_HD inline
#endif

// g++ does not know the pragma, even if nvcc passes it the host part of a source.
#ifdef __CUDA_ARCH__
#define GF_UNROLL _Pragma("unroll")
#else
#define GF_UNROLL
#endif
