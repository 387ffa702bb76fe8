// CUDA kernels of ganfoundry::filtered_lrelu and ganfoundry::filtered_lrelu_stored.

#include "filtered_lrelu/filtered_lrelu_cuda.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "common/operators_cuda.h"
#include "filtered_lrelu/filtered_lrelu_shapes.h"

namespace ganfoundry {
namespace {

constexpr auto kDense = at::MemoryFormat::Contiguous;
using Clamp = std::optional<double>;

FilterPair filters(const Tensor& fu, const Tensor& fd) {
    return {fu.const_data_ptr<float>(), fd.const_data_ptr<float>(), fu.dim() == 1, fd.dim() == 1};
}

// Whether x or the result has more elements than a launch counts, and several samples.
bool are_too_large(const Tensor& x, const FilteredSizes& g) {
    return x.size(0) > 1 && (is_too_large(x.numel()) || is_too_large(g.planes * g.down_y.out * g.down_x.out));
}

std::tuple<Tensor, Tensor> filtered_lrelu_cuda(
    const Tensor& x_, const Tensor& b_, const Tensor& fu_, const Tensor& fd_, int64_t up, int64_t down,
    at::IntArrayRef padding, double slope, double gain, Clamp clamp, bool keep) {
    const char* name = "filtered_lrelu";
    const DType dtype = dtype_of(name, x_);
    const FilteredSizes g = filtered_geometry(name, x_, fu_, fd_, up, down, padding);
    if (are_too_large(x_, g)) {
        const auto [x0, x1] = halves(x_);
        const auto half = [&](const Tensor& part) {
            return filtered_lrelu_cuda(part, b_, fu_, fd_, up, down, padding, slope, gain, clamp, keep);
        };
        const auto [y0, codes0] = half(x0);
        const auto [y1, codes1] = half(x1);
        return {at::cat({y0, y1}), at::cat({codes0, codes1})};
    }
    check_size(name, x_);
    const OnDevice guard(x_.device());
    const Tensor x = dense(x_, kDense), b = dense(b_.to(at::kFloat), kDense);
    const Tensor fu = dense(fu_.to(at::kFloat), kDense), fd = dense(fd_.to(at::kFloat), kDense);
    TORCH_CHECK_VALUE(b.dim() == 1 && b.size(0) == x.size(1), name, ": b must be [C]");
    const int64_t n = x.size(0), c = x.size(1);
    const Tensor y = at::empty({n, c, g.down_y.out, g.down_x.out}, x.options());
    const auto bytes = x.options().dtype(at::kByte);
    const Tensor codes = keep ? at::empty({n, c, g.up_y.out, code_bytes(g.up_x.out)}, bytes) : at::empty({0}, bytes);
    check_size(name, y);
    if (y.numel() == 0) return {y, codes};
    const char* problem = ganfoundry_filtered_lrelu(
        x.const_data_ptr(), b.const_data_ptr<float>(), y.mutable_data_ptr(),
        keep ? codes.mutable_data_ptr<uint8_t>() : nullptr, dtype, g, c, filters(fu, fd),
        parameters(slope, gain, clamp), target_of(x));
    check_launch(name, problem);
    return {y, codes};
}

Tensor filtered_lrelu_stored_cuda(
    const Tensor& x_, const Tensor& codes_, const Tensor& fu_, const Tensor& fd_, int64_t up, int64_t down,
    at::IntArrayRef padding, at::IntArrayRef offset, double slope, double gain) {
    const char* name = "filtered_lrelu_stored";
    const DType dtype = dtype_of(name, x_);
    const FilteredSizes g = filtered_geometry(name, x_, fu_, fd_, up, down, padding);
    if (are_too_large(x_, g)) {
        const auto [x0, x1] = halves(x_);
        const auto [codes0, codes1] = halves(codes_);
        const auto half = [&](const Tensor& part, const Tensor& codes) {
            return filtered_lrelu_stored_cuda(part, codes, fu_, fd_, up, down, padding, offset, slope, gain);
        };
        return at::cat({half(x0, codes0), half(x1, codes1)});
    }
    check_size(name, x_);
    const OnDevice guard(x_.device());
    const Tensor x = dense(x_, kDense), codes = codes_.contiguous();
    const Tensor fu = dense(fu_.to(at::kFloat), kDense), fd = dense(fd_.to(at::kFloat), kDense);
    const StoredCodes stored = stored_codes(name, x, codes, offset);
    const Tensor y = at::empty({x.size(0), x.size(1), g.down_y.out, g.down_x.out}, x.options());
    check_size(name, y);
    if (y.numel() == 0) return y;
    const char* problem = ganfoundry_filtered_lrelu_stored(
        x.const_data_ptr(), y.mutable_data_ptr(), dtype, g, stored, filters(fu, fd),
        parameters(slope, gain, std::nullopt), target_of(x));
    check_launch(name, problem);
    return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("filtered_lrelu", filtered_lrelu_cuda);
    m.impl("filtered_lrelu_stored", filtered_lrelu_stored_cuda);
}

}  // namespace ganfoundry
