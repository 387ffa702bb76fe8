// Choice of the tile, and launch of the kernels of filtered_lrelu.cuh.

#include "filtered_lrelu/filtered_lrelu.cuh"

#include "filtered_lrelu/filtered_lrelu_cuda.h"

using namespace ganfoundry;

namespace {

// The largest tile that fits: neighboring tiles compute some raised samples twice. Codes need a multiple of 4.
template <class T, bool kStored, class... Arguments>
const char* run(Target target, Arguments... arguments) {
    for (int size = 32; size >= 4; size /= 2) {
        const FilteredKernel<T, kStored> kernel(arguments..., size);
        if (kernel.pool_size() <= kPool) return launch(kernel, kernel.num_blocks(), target);
    }
    return "the filters are too long for the shared memory; take impl='ref'";
}

}  // namespace

extern "C" const char* ganfoundry_filtered_lrelu(
    const void* x, const float* b, void* y, uint8_t* codes, DType dtype, FilteredSizes g, int64_t channels,
    FilterPair f, BiasAct act, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        return run<T, false>(
            target, static_cast<const T*>(x), b, static_cast<T*>(y), codes, StoredCodes{}, f, g, channels, act);
    });
}

extern "C" const char* ganfoundry_filtered_lrelu_stored(
    const void* x, void* y, DType dtype, FilteredSizes g, StoredCodes stored, FilterPair f, BiasAct act,
    Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const float* no_bias = nullptr;
        uint8_t* no_codes = nullptr;
        return run<T, true>(
            target, static_cast<const T*>(x), no_bias, static_cast<T*>(y), no_codes, stored, f, g, int64_t(1), act);
    });
}
