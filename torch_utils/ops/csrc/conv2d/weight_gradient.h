// Gradient of a convolution's weight in bfloat16, for CPUs that multiply pairs of bfloat16. Does not include PyTorch.
//
//     dw[o, i, ky, kx] = sum over n, y, x of dy[n, y, x, o] * x[n, stride y + ky - pad_y, stride x + kx - pad_x, i]
//
// A multiplication takes two neighboring pixels of dy for 16 channels o, and the same two pixels for one channel i. So
// rows are packed first: [pixels / 2, channels, 2]. For x there is a packed row per kx, whose pixels are those that meet
// the pixels of dy, with zeros outside of the image. Sums of 6 channels i and 64 channels o stay in registers during
// several rows; they are float32, and are rounded once at the end.
//
// A task sums some packs of rows for 64 or 128 channels o. Tasks depend on the sizes only, so that results do not depend
// on the threads.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "common/numeric.h"
#include "upfirdn2d/upfirdn2d.h"

// AMX multiplies tiles: where a CPU has it, oneDNN is faster.
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && !defined(__AMX_BF16__)
#define GANFOUNDRY_PAIRS 1
#include <immintrin.h>
#endif

namespace ganfoundry {

#ifdef GANFOUNDRY_PAIRS
constexpr bool kMultipliesPairs = true;
#else
constexpr bool kMultipliesPairs = false;
#endif

// Channels i and o come in multiples of this.
constexpr int64_t kChannelStep = 32;
// Channels o of a table of sums; the last table of a layer may have half.
constexpr int64_t kBlockOutputs = 64;
// Rows of dy that are packed together, and the pairs that they have at least if there are several images: enough that
// loading and storing the sums costs little, and few enough for the L2 cache.
constexpr int64_t kPackedRows = 8, kPackedPairs = 128;

struct WeightGradient {
    int64_t images, in_channels, out_channels, height, width;  // of x
    int64_t out_height, out_width;                              // of dy
    int64_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;

    int64_t pairs() const { return (out_width + 1) / 2; }
    int64_t taps() const { return kernel_y * kernel_x; }
    int64_t blocks() const { return (out_channels + kBlockOutputs - 1) / kBlockOutputs; }

    // A pack is a few rows of one image, or some small images.
    int64_t pack_rows() const { return std::min(out_height, kPackedRows); }
    int64_t pack_images() const {
        return out_height > kPackedRows ? 1 : std::clamp<int64_t>(kPackedPairs / (out_height * pairs()), 1, images);
    }
    int64_t packs_per_image() const { return (out_height + kPackedRows - 1) / kPackedRows; }
    int64_t packs() const { return (images + pack_images() - 1) / pack_images() * packs_per_image(); }
    int64_t pack_rows_of_x() const { return (pack_rows() - 1) * stride_y + kernel_y; }

    // Values of a table of sums [ky, kx, i, o], for a block of channels o. A task has one or two tables: it packs x once
    // for both.
    int64_t table() const { return taps() * in_channels * kBlockOutputs; }
    int64_t blocks_per_task() const { return std::min<int64_t>(blocks(), 2); }
    int64_t tasks_per_part() const { return (blocks() + blocks_per_task() - 1) / blocks_per_task(); }

    // Parts of the packs, each with tables of its own: at least two packs per part, at most 64 tasks and 10 MB.
    int64_t parts() const {
        constexpr int64_t kTasks = 64, kValues = 10'000'000 / sizeof(float);
        const int64_t most = std::min(kTasks / tasks_per_part(), kValues / (blocks() * table()));
        return std::clamp<int64_t>(packs() / 2, 1, std::max<int64_t>(most, 1));
    }
    int64_t tasks() const { return parts() * tasks_per_part(); }
    int64_t tables() const { return parts() * blocks() * table(); }
};

// out [C, 2] = (a [C], b [C]).
inline void interleave(const bfloat16* a, const bfloat16* b, bfloat16* out, int64_t channels) {
#ifdef GANFOUNDRY_PAIRS
    alignas(64) static constexpr uint16_t kFirst[] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                      8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i first = _mm512_load_si512(kFirst), second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    for (int64_t c = 0; c < channels; c += 32) {
        const __m512i x = _mm512_loadu_si512(a + c), y = _mm512_loadu_si512(b + c);
        _mm512_storeu_si512(out + 2 * c, _mm512_permutex2var_epi16(x, first, y));
        _mm512_storeu_si512(out + 2 * c + 32, _mm512_permutex2var_epi16(x, second, y));
    }
#else
    for (int64_t c = 0; c < channels; ++c) {
        out[2 * c] = a[c];
        out[2 * c + 1] = b[c];
    }
#endif
}

// Addresses of packed rows, and the distances between their pairs of pixels, between rows and between images.
struct Packed {
    const bfloat16* data;
    int64_t pair, row, image;
};

// Number of pairs, rows and images of a pack.
struct PackSize {
    int64_t pairs, rows, images;
};

// Adds to sums[i * kBlockOutputs + o], for kInputs channels i and 16 * kVectors channels o, the products of all pairs.
template <int kInputs, int kVectors>
void add_products(float* sums, Packed x, Packed dy, PackSize size) {
#ifdef GANFOUNDRY_PAIRS
    __m512 s[kInputs][kVectors];
    for (int i = 0; i < kInputs; ++i) {
        for (int v = 0; v < kVectors; ++v) s[i][v] = _mm512_loadu_ps(sums + i * kBlockOutputs + 16 * v);
    }
    for (int64_t r = 0; r < size.images * size.rows; ++r) {
        const bfloat16* xs = x.data + r / size.rows * x.image + r % size.rows * x.row;
        const bfloat16* dys = dy.data + r / size.rows * dy.image + r % size.rows * dy.row;
        for (int64_t p = 0; p < size.pairs; ++p, xs += x.pair, dys += dy.pair) {
            __m512bh outputs[kVectors];
            for (int v = 0; v < kVectors; ++v) outputs[v] = (__m512bh)_mm512_loadu_si512(dys + 32 * v);
#pragma GCC unroll 12
            for (int i = 0; i < kInputs; ++i) {
                int32_t two;
                std::memcpy(&two, xs + 2 * i, sizeof(two));
                const __m512bh input = (__m512bh)_mm512_set1_epi32(two);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; ++v) s[i][v] = _mm512_dpbf16_ps(s[i][v], outputs[v], input);
            }
        }
    }
    for (int i = 0; i < kInputs; ++i) {
        for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(sums + i * kBlockOutputs + 16 * v, s[i][v]);
    }
#else
    for (int64_t r = 0; r < size.images * size.rows; ++r) {
        for (int64_t p = 0; p < size.pairs; ++p) {
            const bfloat16* xs = x.data + r / size.rows * x.image + r % size.rows * x.row + p * x.pair;
            const bfloat16* dys = dy.data + r / size.rows * dy.image + r % size.rows * dy.row + p * dy.pair;
            for (int i = 0; i < kInputs; ++i) {
                for (int o = 0; o < 16 * kVectors; ++o) {
                    sums[i * kBlockOutputs + o] +=
                        load(xs[2 * i]) * load(dys[2 * o]) + load(xs[2 * i + 1]) * load(dys[2 * o + 1]);
                }
            }
        }
    }
#endif
}

// All channels i, a multiple of kChannelStep: 24 registers of sums at a time, or 16 until 24 divide the rest.
template <int kVectors>
void add_inputs(float* sums, Packed x, Packed dy, int64_t channels, PackSize size) {
    constexpr int kMost = 24 / kVectors, kFewer = 16 / kVectors;
    for (int64_t i = 0; i < channels;) {
        const bool most = (channels - i) % kMost == 0;
        auto add = most ? &add_products<kMost, kVectors> : &add_products<kFewer, kVectors>;
        add(sums + i * kBlockOutputs, {x.data + 2 * i, x.pair, x.row, x.image}, dy, size);
        i += most ? kMost : kFewer;
    }
}

// A thread's workspace: the packed rows of x and of dy.
class WeightGradientTask {
   public:
    WeightGradientTask(const bfloat16* x, const bfloat16* dy, const WeightGradient& g)
        : x_(x), dy_(dy), g_(g), x_row_(g.pairs() * g.in_channels * 2), dy_row_(g.pairs() * kBlockOutputs * 2),
          x_image_(g.pack_rows_of_x() * g.kernel_x * x_row_), dy_image_(g.pack_rows() * dy_row_),
          x_packed_(g.pack_images() * x_image_), dy_packed_(g.pack_images() * dy_image_),
          zeros_(std::max(g.in_channels, kBlockOutputs)) {}

    // Writes the task's tables. tables [part, block, ky, kx, i, o] has those of all tasks.
    void run(int64_t task, float* tables) {
        const int64_t part = task / g_.tasks_per_part(), first = task % g_.tasks_per_part() * g_.blocks_per_task();
        const int64_t last = std::min(first + g_.blocks_per_task(), g_.blocks());
        float* const begin = tables + (part * g_.blocks() + first) * g_.table();
        std::fill(begin, begin + (last - first) * g_.table(), 0.0f);
        const int64_t end = g_.packs() * (part + 1) / g_.parts();
        for (int64_t pack = g_.packs() * part / g_.parts(); pack < end; ++pack) {
            const int64_t image = pack / g_.packs_per_image() * g_.pack_images();
            const int64_t y = pack % g_.packs_per_image() * kPackedRows;
            const PackSize size{
                g_.pairs(), std::min(g_.pack_rows(), g_.out_height - y), std::min(g_.pack_images(), g_.images - image)};
            for (int64_t i = 0; i < size.images; ++i) {
                pack_x(image + i, y * g_.stride_y - g_.pad_y, (size.rows - 1) * g_.stride_y + g_.kernel_y, i);
            }
            for (int64_t block = first; block < last; ++block) {
                const int64_t output = block * kBlockOutputs, outputs = std::min(kBlockOutputs, g_.out_channels - output);
                for (int64_t i = 0; i < size.images; ++i) pack_dy(image + i, y, size.rows, output, outputs, i);
                add_pack(begin + (block - first) * g_.table(), outputs, size);
            }
        }
    }

   private:
    // Channels [output, output + outputs) of rows [y, y + rows).
    void pack_dy(int64_t image, int64_t y, int64_t rows, int64_t output, int64_t outputs, int64_t place) {
        for (int64_t r = 0; r < rows; ++r) {
            const bfloat16* row = dy_ + (image * g_.out_height + y + r) * g_.out_width * g_.out_channels + output;
            bfloat16* to = dy_packed_.data() + place * dy_image_ + r * dy_row_;
            for (int64_t p = 0; p < g_.pairs(); ++p, to += kBlockOutputs * 2) {
                const bfloat16* pixel = row + 2 * p * g_.out_channels;
                const bool alone = 2 * p + 1 == g_.out_width;
                interleave(pixel, alone ? zeros_.data() : pixel + g_.out_channels, to, outputs);
            }
        }
    }

    // Rows [y, y + rows), some of which may be outside of the image, each once per kx.
    void pack_x(int64_t image, int64_t y, int64_t rows, int64_t place) {
        bfloat16* to = x_packed_.data() + place * x_image_;
        for (int64_t r = y; r < y + rows; ++r) {
            const bool inside = 0 <= r && r < g_.height;
            const bfloat16* row = x_ + (image * g_.height + (inside ? r : 0)) * g_.width * g_.in_channels;
            const auto pixel = [&](int64_t column) {
                return inside && 0 <= column && column < g_.width ? row + column * g_.in_channels : zeros_.data();
            };
            for (int64_t kx = 0; kx < g_.kernel_x; ++kx) {
                for (int64_t p = 0; p < g_.pairs(); ++p, to += 2 * g_.in_channels) {
                    const int64_t column = 2 * p * g_.stride_x + kx - g_.pad_x;
                    interleave(pixel(column), pixel(column + g_.stride_x), to, g_.in_channels);
                }
            }
        }
    }

    void add_pack(float* table, int64_t outputs, PackSize size) {
        const Packed dy{dy_packed_.data(), kBlockOutputs * 2, dy_row_, dy_image_};
        auto add = outputs == kBlockOutputs ? &add_inputs<4> : &add_inputs<2>;
        for (int64_t ky = 0; ky < g_.kernel_y; ++ky) {
            for (int64_t kx = 0; kx < g_.kernel_x; ++kx, table += g_.in_channels * kBlockOutputs) {
                const Packed x{
                    x_packed_.data() + (ky * g_.kernel_x + kx) * x_row_, g_.in_channels * 2,
                    g_.stride_y * g_.kernel_x * x_row_, x_image_};
                add(table, x, dy, g_.in_channels, size);
            }
        }
    }

    const bfloat16 *x_, *dy_;
    const WeightGradient& g_;
    int64_t x_row_, dy_row_, x_image_, dy_image_;
    Buffer<bfloat16> x_packed_, dy_packed_, zeros_;
};

// Adds the tables of all parts and writes dw [o, ky, kx, i] for `out_channel` up to the next multiple of 32.
inline void write_weight_gradient(const float* tables, bfloat16* dw, int64_t out_channel, const WeightGradient& g) {
    const int64_t block = out_channel / kBlockOutputs, first = out_channel % kBlockOutputs;
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
        for (int64_t i = 0; i < g.in_channels; i += kChannelStep) {
            float sums[kChannelStep][kChannelStep] = {};
            for (int64_t p = 0; p < g.parts(); ++p) {
                const float* from = tables + (p * g.blocks() + block) * g.table() + (tap * g.in_channels + i) * kBlockOutputs;
                for (int64_t k = 0; k < kChannelStep; ++k) {
                    for (int64_t o = 0; o < kChannelStep; ++o) sums[k][o] += from[k * kBlockOutputs + first + o];
                }
            }
            for (int64_t o = 0; o < kChannelStep; ++o) {
                bfloat16* to = dw + ((out_channel + o) * g.taps() + tap) * g.in_channels + i;
                for (int64_t k = 0; k < kChannelStep; ++k) store(&to[k], sums[k][o]);
            }
        }
    }
}

}  // namespace ganfoundry
