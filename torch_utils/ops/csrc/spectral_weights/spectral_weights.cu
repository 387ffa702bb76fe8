// Launch of the kernels of spectral_weights.cuh.

#include "spectral_weights/spectral_weights.cuh"

using namespace ganfoundry;

namespace {

// Calls the kernel with `blocks_of(weight)` blocks per weight.
template <class K, class F>
const char* run(K kernel, const SpectralView* weights, int count, Target target, F blocks_of) {
    int64_t blocks = 0;
    kernel.weights.count = count;
    for (int k = 0; k < count; ++k) {
        kernel.weights.at[k] = weights[k];
        kernel.weights.at[k].first_block = uint32_t(blocks);
        blocks += blocks_of(weights[k]);
    }
    return launch(kernel, blocks, target);
}

int64_t row_blocks(const SpectralView& s) { return rows_of(s); }
int64_t column_blocks(const SpectralView& s) { return ceil_div(columns_of(s), kSpectralColumns); }
int64_t pair_blocks(const SpectralView& s) { return ceil_div(int64_t(s.outer) * s.inner, Kernel<>::kThreads); }

const char* run_columns(const SpectralView* weights, int count, bool iterate, bool after_rows, Target target) {
    ColumnsKernel kernel{};
    kernel.iterate = iterate;
    kernel.after_rows = after_rows;
    return run(kernel, weights, count, target, column_blocks);
}

}  // namespace

extern "C" const char* ganfoundry_spectral_weights(
    const SpectralView* weights, int count, bool iterate, Target target) {
    const char* problem = run_columns(weights, count, iterate, false, target);
    if (problem == nullptr && iterate) problem = run(RowsKernel{}, weights, count, target, row_blocks);
    if (problem == nullptr && iterate) problem = run_columns(weights, count, iterate, true, target);
    return problem != nullptr ? problem : run(NormalizeKernel{}, weights, count, target, pair_blocks);
}

extern "C" const char* ganfoundry_spectral_weights_backward(const SpectralView* weights, int count, Target target) {
    const char* problem = run(DotKernel{}, weights, count, target, pair_blocks);
    return problem != nullptr ? problem : run(GradientKernel{}, weights, count, target, pair_blocks);
}

extern "C" int64_t ganfoundry_spectral_sums(const SpectralView* weight) { return pair_blocks(*weight); }
