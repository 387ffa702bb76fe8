// Choice and launch of the kernels of upfirdn2d.cuh and upfirdn2d_general.cuh.

#include "upfirdn2d/upfirdn2d.cuh"

#include "upfirdn2d/upfirdn2d_cuda.h"
#include "upfirdn2d/upfirdn2d_general.cuh"

using namespace ganfoundry;

namespace {

template <class K, class T>
const char* run(const T* x, const float* f, T* y, const Upfirdn2d& g, Target target) {
    const K kernel(x, f, y, g);
    return launch(kernel, kernel.num_blocks(), target);
}

template <int kUp, int kDown, class T>
const char* run_tiles(const T* x, const float* f, T* y, const Upfirdn2d& g, Target target) {
    if (g.pixel > 1) return run<ChannelsLastKernel<T, kUp, kDown>>(x, f, y, g, target);
    if (PlanarKernel<T, kUp, kDown, true>::takes(g)) return run<PlanarKernel<T, kUp, kDown, true>>(x, f, y, g, target);
    return run<PlanarKernel<T, kUp, kDown, false>>(x, f, y, g, target);
}

bool has_factors(const Upfirdn2d& g, int64_t up, int64_t down) {
    return g.y.up == up && g.x.up == up && g.y.down == down && g.x.down == down;
}

}  // namespace

extern "C" const char* ganfoundry_upfirdn2d(
    const void* x_, const float* f, void* y_, DType dtype, Upfirdn2d g, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const T* x = static_cast<const T*>(x_);
        T* y = static_cast<T*>(y_);
        const bool packs = g.pixel % kPack<T> == 0;
        if (g.y.taps == kTaps && g.x.taps == kTaps && (packs || g.pixel == 1)) {
            if (has_factors(g, 1, 1)) return run_tiles<1, 1>(x, f, y, g, target);
            if (has_factors(g, 2, 1)) return run_tiles<2, 1>(x, f, y, g, target);
            if (has_factors(g, 1, 2)) return run_tiles<1, 2>(x, f, y, g, target);
        }
        if (packs) return run<GeneralKernel<T, kPack<T>>>(x, f, y, g, target);
        return run<GeneralKernel<T, 1>>(x, f, y, g, target);
    });
}

extern "C" bool ganfoundry_upfirdn2d_adds(DType dtype, Upfirdn2d g) {
    const int64_t pack = dtype == DType::float32 ? kPack<float> : kPack<float16>;
    const bool known = has_factors(g, 1, 1) || has_factors(g, 2, 1) || has_factors(g, 1, 2);
    return known && g.y.taps == kTaps && g.x.taps == kTaps && g.pixel % pack == 0;
}

extern "C" const char* ganfoundry_upfirdn2d_add(
    const void* r_, const void* x_, const float* f, void* y_, DType dtype, Upfirdn2d g, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const T *r = static_cast<const T*>(r_), *x = static_cast<const T*>(x_);
        T* y = static_cast<T*>(y_);
        const auto run = [&](auto kernel) { return launch(kernel, kernel.num_blocks(), target); };
        if (has_factors(g, 2, 1)) return run(ChannelsLastAddKernel<T, 2, 1>(r, x, f, y, g));
        if (has_factors(g, 1, 2)) return run(ChannelsLastAddKernel<T, 1, 2>(r, x, f, y, g));
        return run(ChannelsLastAddKernel<T, 1, 1>(r, x, f, y, g));
    });
}
