// Operator ganfoundry::conv2d_weight_gradient, which runs below autograd: ganfoundry::convolution has the derivatives.

#include "conv2d/weight_gradient.h"

#include "common/calls.h"
#include "conv2d/weight_gradient_call.h"

namespace ganfoundry {
namespace {

// Pixels of dy below which oneDNN is as fast or faster: loading, adding and writing the sums takes longer than making
// them.
constexpr int64_t kFewestPixels = 2048;

WeightGradient geometry(
    const Tensor& dy, const Tensor& x, at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef padding) {
    return {
        x.size(0), x.size(1), dy.size(1), x.size(2),  x.size(3),  dy.size(2),
        dy.size(3), kernel[0], kernel[1], stride[0], stride[1], padding[0], padding[1]};
}

Tensor weight_gradient_cpu(
    const Tensor& dy_, const Tensor& x_, at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef padding) {
    const Tensor dy = dy_.contiguous(kNHWC), x = x_.contiguous(kNHWC);
    TORCH_CHECK_TYPE(
        x.scalar_type() == at::kBFloat16 && dy.scalar_type() == at::kBFloat16,
        "conv2d_weight_gradient: takes bfloat16, got ", dy.scalar_type(), " and ", x.scalar_type());
    TORCH_CHECK_VALUE(
        x.size(0) == dy.size(0) && x.size(1) % kChannelStep == 0 && dy.size(1) % kChannelStep == 0,
        "conv2d_weight_gradient: takes multiples of ", kChannelStep, " channels of the same images, got ", dy.sizes(),
        " and ", x.sizes());
    const WeightGradient g = geometry(dy, x, kernel, stride, padding);
    const Tensor dw = at::empty({g.out_channels, g.in_channels, kernel[0], kernel[1]}, x.options(), kNHWC);
    if (dy.numel() == 0) return dw.zero_();
    const Tensor tables = at::empty({g.tables()}, x.options().dtype(at::kFloat));
    float* const sums = output<float>(tables);
    at::parallel_for(0, g.tasks(), 1, [&](int64_t begin, int64_t end) {
        WeightGradientTask task(input<bfloat16>(x), input<bfloat16>(dy), g);
        for (int64_t i = begin; i < end; ++i) task.run(i, sums);
    });
    at::parallel_for(0, g.out_channels / kChannelStep, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) write_weight_gradient(sums, output<bfloat16>(dw), i * kChannelStep, g);
    });
    return dw;
}

Tensor weight_gradient_meta(
    const Tensor& dy, const Tensor& x, at::IntArrayRef kernel, at::IntArrayRef, at::IntArrayRef) {
    return at::empty_symint({dy.sym_size(1), x.sym_size(1), kernel[0], kernel[1]}, x.options(), kNHWC);
}

}  // namespace

bool has_weight_gradient(const Tensor& dy, const Tensor& x, at::IntArrayRef kernel) {
    const auto fits = [](const Tensor& t) {
        return t.is_cpu() && t.scalar_type() == at::kBFloat16 && t.size(1) % kChannelStep == 0 &&
               t.is_contiguous(kNHWC);
    };
    if (!kMultipliesPairs || !fits(dy) || !fits(x) || dy.numel() < kFewestPixels * dy.size(1)) {
        return false;
    }
    // With fewer tasks than threads, oneDNN keeps more cores busy.
    return geometry(dy, x, kernel, {1, 1}, {0, 0}).tasks() >= at::get_num_threads();
}

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def("conv2d_weight_gradient(Tensor dy, Tensor x, int[2] kernel, int[2] stride, int[2] padding) -> Tensor");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) { m.impl("conv2d_weight_gradient", weight_gradient_cpu); }

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) { m.impl("conv2d_weight_gradient", weight_gradient_meta); }

}  // namespace ganfoundry
