// CUDA kernels of ganfoundry::modulation, modulation_backward and modulation_second.

#include "modulation/modulation_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

using Optional = std::optional<Tensor>;

DType type_of_low(at::ScalarType type) {
    switch (type) {
        case at::kFloat: return DType::float32;
        case at::kHalf: return DType::float16;
        case at::kBFloat16: return DType::bfloat16;
        default: TORCH_CHECK_TYPE(false, "modulation: float32, float16 or bfloat16, got ", type);
    }
}

Tensor plain(const Tensor& t) {
    TORCH_CHECK_TYPE(t.scalar_type() == at::kFloat, "modulation: float32, got ", t.scalar_type());
    check_size("modulation", t);
    return t.contiguous();
}

// Dense arguments, and the launch's view of them.
struct Arguments {
    Tensor s, q, d, a;

    Arguments(const Tensor& s_, const Tensor& q_, const Tensor& d_, const Tensor& a_)
        : s(plain(s_)), q(plain(q_)), d(plain(d_)), a(plain(a_)) {
        TORCH_CHECK_VALUE(
            s.dim() == 2 && q.dim() == 2 && s.size(1) == q.size(1), "modulation: s [N, I] and q [O, I], got ",
            s.sizes(), " and ", q.sizes());
    }

    bool empty() const { return s.numel() == 0 || q.numel() == 0; }

    ModulationArguments view() const {
        return {s.const_data_ptr<float>(), q.const_data_ptr<float>(), d.data_ptr<float>(), a.data_ptr<float>(),
                uint32_t(s.size(0)), uint32_t(s.size(1)), uint32_t(q.size(0))};
    }
};

std::tuple<Tensor, Tensor, Tensor> modulation_cuda(
    const Tensor& s, const Tensor& q, at::ScalarType dtype, bool normalize) {
    const OnDevice guard(s.device());
    const Arguments a(s, q, at::empty({s.size(0), q.size(0)}, s.options()), at::empty({s.size(0)}, s.options()));
    const Tensor low = at::empty(s.sizes(), s.options().dtype(dtype));
    if (a.empty()) return {low, a.d, a.a};
    const char* problem =
        ganfoundry_modulation(a.view(), normalize, low.mutable_data_ptr(), type_of_low(dtype), target_of(s));
    check_launch("modulation", problem);
    return {low, a.d, a.a};
}

std::tuple<Tensor, Tensor> modulation_backward_cuda(
    const Optional& ds, const Optional& dd, const Tensor& s, const Tensor& q, const Tensor& d, const Tensor& a_,
    at::ScalarType dtype) {
    const OnDevice guard(s.device());
    const Arguments a(s, q, d, a_);
    const Tensor of_s = at::empty_like(a.s), of_q = at::empty_like(a.q);
    if (a.empty()) return {of_s, of_q.zero_()};
    const Tensor low = ds ? ds->to(dtype).contiguous() : Tensor(), of_d = dd ? plain(*dd) : Tensor();
    const ModulationGradients g{
        ds ? low.const_data_ptr() : nullptr, dd ? of_d.const_data_ptr<float>() : nullptr,
        of_s.mutable_data_ptr<float>(), of_q.mutable_data_ptr<float>()};
    check_launch(
        "modulation_backward", ganfoundry_modulation_backward(a.view(), g, type_of_low(dtype), target_of(s)));
    return {of_s, of_q};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> modulation_second_cuda(
    const Optional& G, const Optional& H, const Optional& dd, const Tensor& s, const Tensor& q, const Tensor& d,
    const Tensor& a_, at::ScalarType dtype) {
    const OnDevice guard(s.device());
    const Arguments a(s, q, d, a_);
    const Tensor of_low = at::empty(s.sizes(), s.options().dtype(dtype)), of_dd = at::empty_like(a.d);
    const Tensor of_s = at::empty_like(a.s), of_q = at::empty_like(a.q), r = at::empty_like(a.d);
    if (a.empty()) return {of_low, of_dd, of_s, of_q.zero_()};
    const Tensor dense[] = {G ? plain(*G) : Tensor(), H ? plain(*H) : Tensor(), dd ? plain(*dd) : Tensor()};
    const auto pointer = [](const Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
    const ModulationSecond g{
        pointer(dense[0]), pointer(dense[1]), pointer(dense[2]), r.mutable_data_ptr<float>(),
        of_low.mutable_data_ptr(), of_dd.mutable_data_ptr<float>(), of_s.mutable_data_ptr<float>(),
        of_q.mutable_data_ptr<float>()};
    check_launch("modulation_second", ganfoundry_modulation_second(a.view(), g, type_of_low(dtype), target_of(s)));
    return {of_low, of_dd, of_s, of_q};
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("modulation", modulation_cuda);
    m.impl("modulation_backward", modulation_backward_cuda);
    m.impl("modulation_second", modulation_second_cuda);
}

}  // namespace ganfoundry
