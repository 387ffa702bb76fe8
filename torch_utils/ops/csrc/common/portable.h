// What lets one header be CUDA for nvcc and plain C++ for g++. Free of PyTorch.

#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GF_HD __host__ __device__ __forceinline__
#else
#define GF_HD inline
#endif

// g++ does not know the pragma, not even when nvcc hands it the host's half of a source.
#ifdef __CUDA_ARCH__
#define GF_UNROLL _Pragma("unroll")
#else
#define GF_UNROLL
#endif
