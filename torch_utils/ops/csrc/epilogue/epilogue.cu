// Choice and launch of the kernels of epilogue.cuh and epilogue_fir.cuh.

#include "epilogue/epilogue.cuh"

#include "common/sum_rows.cuh"
#include "epilogue/epilogue_cuda.h"
#include "epilogue/epilogue_fir.cuh"

using namespace ganfoundry;

namespace {

template <class T>
bool has_packs(const EpilogueSizes& g) {
    return g.channels % kPack<T> == 0;
}

template <class K>
const char* run(const K& kernel, Target target) {
    return launch(kernel, kernel.num_blocks(), target);
}

}  // namespace

extern "C" bool ganfoundry_epilogue_filters(DType dtype, int64_t channels, int64_t fh, int64_t fw) {
    return fh == kTaps && fw == kTaps && channels % (dtype == DType::float32 ? kPack<float> : kPack<float16>) == 0;
}

extern "C" const char* ganfoundry_epilogue(
    const void* x_, const float* f, void* y_, DType dtype, EpilogueSizes g, EpilogueTerms terms, BiasAct act,
    Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const T* x = static_cast<const T*>(x_);
        T* y = static_cast<T*>(y_);
        const EpilogueSteps steps(terms, act, g);
        if (g.filtered) return run(EpilogueFirKernel<T>(x, f, y, steps, g), target);
        if (has_packs<T>(g)) return run(EpilogueKernel<T, kPack<T>>(x, y, steps, g), target);
        return run(EpilogueKernel<T, 1>(x, y, steps, g), target);
    });
}

extern "C" EpilogueTables ganfoundry_epilogue_tables(DType dtype, EpilogueSizes g) {
    EpilogueTables tables{};
    with_dtype(dtype, [&](auto zero) -> const char* {
        using T = decltype(zero);
        tables = g.filtered       ? EpilogueFirGradKernel<T>::tables(g)
                 : has_packs<T>(g) ? EpilogueGradKernel<T, kPack<T>>::tables(g)
                                   : EpilogueGradKernel<T, 1>::tables(g);
        return nullptr;
    });
    return tables;
}

extern "C" const char* ganfoundry_epilogue_backward(
    const void* dy_, const void* x_, const float* f, void* dx_, DType dtype, EpilogueSizes g, EpilogueTerms terms,
    EpilogueSums sums, BiasAct act, Target target) {
    const char* problem = with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const T *dy = static_cast<const T*>(dy_), *x = static_cast<const T*>(x_);
        T* dx = static_cast<T*>(dx_);
        const EpilogueSteps steps(terms, act, g);
        if (g.filtered) return run(EpilogueFirGradKernel<T>(dy, x, f, dx, sums, steps, g), target);
        if (has_packs<T>(g)) return run(EpilogueGradKernel<T, kPack<T>>(dy, x, dx, sums, steps, g), target);
        return run(EpilogueGradKernel<T, 1>(dy, x, dx, sums, steps, g), target);
    });
    if (problem != nullptr) return problem;
    const EpilogueTables tables = ganfoundry_epilogue_tables(dtype, g);
    const int64_t pixels = g.height * g.width;
    const bool shared = terms.noise_stride == 0;
    return sum_rows<3>(
        {{sums.d_table, sums.dd, g.images, tables.tiles, g.channels},
         {sums.b_table, sums.db, 1, g.images * tables.tiles, g.channels},
         {sums.noise_table, sums.dnoise, 1, shared ? tables.parts * g.images : tables.parts,
          shared ? pixels : g.images * pixels}},
        target);
}
