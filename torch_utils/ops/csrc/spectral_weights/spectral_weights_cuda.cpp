// CUDA kernels of ganfoundry::spectral_weights and ganfoundry::spectral_weights_backward.

#include "spectral_weights/spectral_weights_cuda.h"

#include <ATen/core/List.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

Tensor plain(const Tensor& t) {
    TORCH_CHECK_TYPE(t.scalar_type() == at::kFloat, "spectral_weights: weights are float32, got ", t.scalar_type());
    return t.contiguous();
}

at::MemoryFormat low_format(const Tensor& w, bool channels_last) {
    return channels_last && w.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

SpectralView view_of(const Tensor& w, bool transposed) {
    check_size("spectral_weights", w);
    SpectralView s{};
    s.w = w.const_data_ptr<float>();
    s.outer = uint32_t(w.size(0));
    s.inner = uint32_t(w.size(1));
    s.taps = uint32_t(w.numel() / std::max<int64_t>(1, int64_t(s.outer) * s.inner));
    s.transposed = transposed;
    return s;
}

// Calls run(first, number) for groups of views that fit into one launch.
template <class F>
void in_groups(const std::vector<SpectralView>& views, F run) {
    for (size_t i = 0; i < views.size(); i += kMaxSpectral) {
        const char* problem = run(views.data() + i, int(std::min<size_t>(kMaxSpectral, views.size() - i)));
        check_launch("spectral_weights", problem);
    }
}

std::vector<Tensor> spectral_weights_cuda(
    at::TensorList weights, at::TensorList us, const c10::List<bool>& transposed, const c10::List<bool>& lowered,
    at::ScalarType dtype, bool iterate) {
    TORCH_CHECK_VALUE(!weights.empty(), "spectral_weights: no weight");
    const OnDevice guard(weights[0].device());
    std::vector<Tensor> kept, low, next, vs;
    std::vector<SpectralView> views;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor w = kept.emplace_back(plain(weights[i]));
        SpectralView s = view_of(w, transposed[i]);
        const int64_t rows = w.size(transposed[i]), columns = rows == 0 ? 0 : w.numel() / rows;
        const auto options = w.options().dtype(lowered[i] ? dtype : at::kFloat);
        low.push_back(at::empty(w.sizes(), options, low_format(w, true)));
        s.dtype = dtype_of("spectral_weights", low.back());
        s.low = low.back().data_ptr();
        s.channels_last = w.dim() == 4;
        s.u = kept.emplace_back(plain(us[i])).const_data_ptr<float>();
        if (w.numel() == 0) {
            next.push_back(at::zeros({rows}, w.options()));
            vs.push_back(at::zeros({columns + 1}, w.options()));
            continue;
        }
        s.next = next.emplace_back(at::empty({rows}, w.options())).mutable_data_ptr<float>();
        s.v = vs.emplace_back(at::empty({columns + 1}, w.options())).mutable_data_ptr<float>();
        s.scratch = kept.emplace_back(at::empty({columns + rows}, w.options())).mutable_data_ptr<float>();
        views.push_back(s);
    }
    in_groups(views, [&](const SpectralView* first, int count) {
        return ganfoundry_spectral_weights(first, count, iterate, target_of(weights[0]));
    });
    low.insert(low.end(), next.begin(), next.end());
    low.insert(low.end(), vs.begin(), vs.end());
    return low;
}

std::vector<Tensor> spectral_weights_backward_cuda(
    at::TensorList dlow, at::TensorList weights, at::TensorList us, at::TensorList vs,
    const c10::List<bool>& transposed) {
    TORCH_CHECK_VALUE(!weights.empty(), "spectral_weights: no weight");
    const OnDevice guard(weights[0].device());
    std::vector<Tensor> kept, grads;
    std::vector<SpectralView> views;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor w = kept.emplace_back(plain(weights[i]));
        SpectralView s = view_of(w, transposed[i]);
        s.channels_last = w.dim() == 4 && format_of(dlow[i]) == at::MemoryFormat::ChannelsLast;
        const Tensor g = kept.emplace_back(dense(dlow[i], low_format(w, s.channels_last)));
        s.dtype = dtype_of("spectral_weights", g);
        s.low = g.data_ptr();
        s.next = kept.emplace_back(plain(us[i])).data_ptr<float>();
        s.v = kept.emplace_back(plain(vs[i])).data_ptr<float>();
        s.dw = grads.emplace_back(at::empty_like(w)).mutable_data_ptr<float>();
        if (w.numel() == 0) continue;
        s.scratch = kept.emplace_back(at::empty({ganfoundry_spectral_sums(&s)}, w.options())).mutable_data_ptr<float>();
        views.push_back(s);
    }
    in_groups(views, [&](const SpectralView* first, int count) {
        return ganfoundry_spectral_weights_backward(first, count, target_of(weights[0]));
    });
    return grads;
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("spectral_weights", spectral_weights_cuda);
    m.impl("spectral_weights_backward", spectral_weights_backward_cuda);
}

}  // namespace ganfoundry
