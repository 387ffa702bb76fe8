// CUDA kernels of ganfoundry::lowered_weights and ganfoundry::lowered_weights_backward.

#include "lowered_weights/lowered_weights_cuda.h"

#include <ATen/core/List.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

using Grads = c10::List<std::optional<Tensor>>;

DType low_dtype(at::ScalarType type) {
    switch (type) {
        case at::kFloat: return DType::float32;
        case at::kHalf: return DType::float16;
        case at::kBFloat16: return DType::bfloat16;
        default: TORCH_CHECK_TYPE(false, "lowered_weights: float32, float16 or bfloat16, got ", type);
    }
}

WeightView view_of(const Tensor& w, double gain, bool channels_last) {
    check_size("lowered_weights", w);
    WeightView v{};
    v.w = w.const_data_ptr<float>();
    v.outputs = uint32_t(w.size(0));
    v.inputs = uint32_t(w.dim() > 1 ? w.size(1) : 1);
    v.taps = uint32_t(w.numel() / std::max<int64_t>(1, int64_t(v.outputs) * v.inputs));
    v.gain = float(gain);
    v.channels_last = channels_last && w.dim() == 4;
    return v;
}

at::MemoryFormat format_of_low(const Tensor& w, bool channels_last) {
    return channels_last && w.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

Tensor plain(const Tensor& w) {
    TORCH_CHECK_TYPE(w.scalar_type() == at::kFloat, "lowered_weights: weights are float32, got ", w.scalar_type());
    return w.contiguous();
}

// Calls run(first, number) for groups of views that fit into one launch.
template <class F>
void in_groups(const std::vector<WeightView>& views, F run) {
    for (size_t i = 0; i < views.size(); i += kMaxWeights) {
        const char* problem = run(views.data() + i, int(std::min<size_t>(kMaxWeights, views.size() - i)));
        check_launch("lowered_weights", problem);
    }
}

std::vector<Tensor> lowered_weights_cuda(
    at::TensorList weights, at::ArrayRef<double> gains, at::ScalarType dtype, bool channels_last, bool normalize,
    bool squares) {
    TORCH_CHECK_VALUE(weights.size() == gains.size() && !weights.empty(), "lowered_weights: one gain per weight");
    const OnDevice guard(weights[0].device());
    std::vector<Tensor> inputs, low, sums, scales;
    std::vector<WeightView> views;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor w = inputs.emplace_back(plain(weights[i]));
        WeightView v = view_of(w, gains[i], channels_last);
        const auto format = format_of_low(w, channels_last);
        v.low = low.emplace_back(at::empty(w.sizes(), w.options().dtype(dtype), format)).mutable_data_ptr();
        const auto column = [&](std::vector<Tensor>& to, at::IntArrayRef sizes) {
            return to.emplace_back(at::empty(sizes, w.options())).mutable_data_ptr<float>();
        };
        if (squares) v.squares = column(sums, {w.size(0), w.size(1)});
        if (normalize) v.scales = column(scales, {w.size(0)});
        if (w.numel() > 0) views.push_back(v);
    }
    in_groups(views, [&](const WeightView* first, int count) {
        return ganfoundry_lower_weights(first, count, low_dtype(dtype), target_of(weights[0]));
    });
    low.insert(low.end(), sums.begin(), sums.end());
    low.insert(low.end(), scales.begin(), scales.end());
    return low;
}

std::vector<Tensor> lowered_weights_backward_cuda(
    const Grads& dlow, const Grads& dsquares, at::TensorList weights, at::TensorList scales,
    at::ArrayRef<double> gains, at::ScalarType dtype) {
    TORCH_CHECK_VALUE(weights.size() == gains.size() && !weights.empty(), "lowered_weights: one gain per weight");
    const OnDevice guard(weights[0].device());
    std::vector<Tensor> kept, grads;
    std::vector<WeightView> views;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor w = kept.emplace_back(plain(weights[i]));
        const std::optional<Tensor> d = dlow[i];
        const bool channels_last = d && w.dim() == 4 && format_of(*d) == at::MemoryFormat::ChannelsLast;
        WeightView v = view_of(w, gains[i], channels_last);
        if (d) v.low = kept.emplace_back(dense(d->to(dtype), format_of_low(w, channels_last))).data_ptr();
        if (const std::optional<Tensor> q = dsquares.empty() ? std::nullopt : std::optional<Tensor>(dsquares[i])) {
            v.squares = kept.emplace_back(plain(*q)).data_ptr<float>();
        }
        if (!scales.empty()) v.scales = kept.emplace_back(plain(scales[i])).data_ptr<float>();
        v.dw = grads.emplace_back(at::empty_like(w)).mutable_data_ptr<float>();
        if (w.numel() > 0) views.push_back(v);
    }
    in_groups(views, [&](const WeightView* first, int count) {
        return ganfoundry_lower_weights_backward(first, count, low_dtype(dtype), target_of(weights[0]));
    });
    return grads;
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("lowered_weights", lowered_weights_cuda);
    m.impl("lowered_weights_backward", lowered_weights_backward_cuda);
}

}  // namespace ganfoundry
