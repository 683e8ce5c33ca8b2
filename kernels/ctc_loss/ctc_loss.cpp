#include "kernels/ctc_loss/ctc_loss.h"

#include <limits>
#include <utility>

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/ctc_loss/ctc_loss_body.h"
#include "kernels/ctc_loss/wide.h"

namespace wavllm::kernels {

namespace {

using vf8 [[gnu::vector_size(32)]] = float;

constexpr double kLog2E = 1.44269504088896340736, kLn2 = 0.69314718055994530942;

struct Sequence {
    int64_t row, rows;       ///< first row, number of rows
    const int32_t* targets;  ///< of this sequence
    int64_t length;          ///< of the target
    int64_t width;           ///< length + 1 in whole vectors: cells of a row of the lattice
    int64_t gathered;        ///< where its gathered logits begin: [rows, width]
    int64_t lattice;         ///< where its lattice begins: lattice_rows() rows of row_cells(width)
};

/// A row of the lattice: `width` cells for blanks and as many for tokens, each with a vector of zeros on both sides.
int64_t row_cells(int64_t width) {
    return 2 * (width + 2 * kWideLanes);
}

/// The 2n+1 positions of the target with blanks in between (l' in the paper) in two rows, so that neighbours lie in
/// vectors: blanks[j] is the blank before token j (after the last one for j = n), tokens[j] is token j.
struct LatticeRow {
    WideRow blanks, tokens;
};

/// What the sequences share.
struct Lattices {
    const float *token_logits, *blank_logits;
    int64_t classes;
    const float* gathered;  ///< logits of the targets' tokens, row by row, -inf past the end
    const double* shift;    ///< log2 of the softmax's denominator, [T]
    double* m;              ///< the lattices' numbers
    int64_t* e;
    bool keep;  ///< all rows of alpha are needed for the gradient; otherwise two take turns

    int64_t alpha_rows(int64_t rows) const {
        return keep ? rows + 1 : 2;
    }
    LatticeRow at(const Sequence& s, int64_t index) const {
        const int64_t half = row_cells(s.width) / 2, begin = s.lattice + index * 2 * half + kWideLanes;
        return {{m + begin, e + begin}, {m + begin + half, e + begin + half}};
    }
    /// Row 0 stands before the sequence's first row, row t+1 belongs to its row t.
    LatticeRow alpha(const Sequence& s, int64_t index) const {
        return at(s, keep ? index : index % 2);
    }
    LatticeRow beta(const Sequence& s) const {
        return at(s, alpha_rows(s.rows));
    }
    /// 1 for tokens that differ from the one before, which alone may follow it without a blank; zero for the others.
    WideRow may_skip(const Sequence& s) const {
        return at(s, alpha_rows(s.rows) + 1).tokens;
    }
    /// y of the blank in a row, in all lanes; and of tokens j .. j+7 of the target.
    WAVLLM_INLINE Wide y_blank(int64_t row) const {
        return exp2_wide(vd{} + (blank_logits[row] * kLog2E - shift[row]));
    }
    WAVLLM_INLINE Wide y_tokens(const Sequence& s, int64_t row, int64_t j) const {
        vf8 z;
        std::memcpy(&z, gathered + s.gathered + (row - s.row) * s.width + j, sizeof z);
        return exp2_wide(__builtin_convertvector(z, vd) * kLog2E - shift[row]);
    }
};

void set_zero(const LatticeRow& r, int64_t width) {
    r.blanks.set_zero(-kWideLanes, width + kWideLanes);
    r.tokens.set_zero(-kWideLanes, width + kWideLanes);
}

/// Fills alpha (eq. 6 and 7). Returns p of the whole target (eq. 8), the same in all lanes.
Wide forward(const Lattices& all, const Sequence& s) {
    const WideRow skip = all.may_skip(s);
    skip.set_zero(-kWideLanes, s.width + kWideLanes);
    for (int64_t j = 1; j < s.length; ++j)
        if (s.targets[j] != s.targets[j - 1]) skip.set_one(j);

    LatticeRow before = all.alpha(s, 0);
    set_zero(before, s.width);
    before.blanks.set_one(0);  // nothing emitted yet, at the first blank
    for (int64_t t = 0; t < s.rows; ++t) {
        const LatticeRow now = all.alpha(s, t + 1);
        now.tokens.set_zero(-kWideLanes, 0);
        now.tokens.set_zero(s.width, s.width + kWideLanes);
        now.blanks.set_zero(s.width, s.width + kWideLanes);
        const Wide y_blank = all.y_blank(s.row + t);
        for (int64_t j = 0; j < s.width; j += kWideLanes) {
            const Wide blank = before.blanks.at(j), token = before.tokens.at(j), previous = before.tokens.at(j - 1);
            now.blanks.put(j, multiply(add(blank, previous), y_blank));
            const Wide skipped = multiply(previous, skip.at(j));
            now.tokens.put(j, multiply(add(token, blank, skipped), all.y_tokens(s, s.row + t, j)));
        }
        before = now;
    }
    const Wide p = add(before.blanks.at(s.length), before.tokens.at(s.length - 1));
    return {vd{} + p.m[0], vl{} + p.e[0]};
}

/// Walks beta from the last row to the first (eq. 10 and 11) and takes scale * occupancy from the gradient, which holds
/// scale * y.
void backward(const Lattices& all, const Sequence& s, Wide p, float scale, float* dtokens, float* dblank) {
    const WideRow skip = all.may_skip(s);
    const LatticeRow beta = all.beta(s);
    set_zero(beta, s.width);
    beta.blanks.set_one(s.length);
    if (s.length > 0) beta.tokens.set_one(s.length - 1);
    for (int64_t t = s.rows - 1; t >= 0; --t) {
        const LatticeRow alpha = all.alpha(s, t + 1);
        const int64_t row = s.row + t;
        float* dtoken = dtokens + row * all.classes;
        const Wide y_blank = all.y_blank(row);
        vd blanks{};
        for (int64_t j = 0; j < s.width; j += kWideLanes) {
            const Wide blank = beta.blanks.at(j), token = beta.tokens.at(j);
            blanks += ratio(alpha.blanks.at(j), blank, p);
            const vd occupancy = ratio(alpha.tokens.at(j), token, p) * scale;
            for (int64_t i = 0; i < std::min(kWideLanes, s.length - j); ++i)
                dtoken[s.targets[j + i]] -= static_cast<float>(occupancy[i]);
            beta.blanks.put(j, multiply(blank, y_blank));
            beta.tokens.put(j, multiply(token, all.y_tokens(s, row, j)));
        }
        double blank_occupancy = 0;
        for (int64_t i = 0; i < kWideLanes; ++i) blank_occupancy += blanks[i];
        dblank[row] -= static_cast<float>(blank_occupancy * scale);
        for (int64_t j = 0; j < s.width; j += kWideLanes) {  // a cell reads itself and the one after it
            const Wide blank = beta.blanks.at(j), token = beta.tokens.at(j);
            const Wide skipped = multiply(beta.tokens.at(j + 1), skip.at(j + 1));
            const Wide next_blank = beta.blanks.at(j + 1);
            beta.blanks.put(j, add(blank, token));
            beta.tokens.put(j, add(token, next_blank, skipped));
        }
    }
}

/// log2 of the denominator of a row's softmax. out (if not null) <- scale * softmax of the tokens, blank_out that of the
/// blank.
double softmax_row(const float* z, int64_t n, float blank, float scale, float* out, float* blank_out) {
    vf top = broadcast(blank);
    for_lanes(n, [&](int64_t i, auto lanes) {
        vf v = load(z + i, lanes);
        if constexpr (std::is_same_v<decltype(lanes), int64_t>)
            for (int64_t j = lanes; j < kLanes; ++j) v[j] = blank;
        top = vmax(v, top);
    });
    const vf m = broadcast(max(top));
    double total = exp(broadcast(blank) - m)[0];  // blocks in f32, their sum in double
    for (int64_t block = 0; block < n; block += 1024) {
        vf s{};
        for_lanes(std::min<int64_t>(1024, n - block), [&](int64_t i, auto lanes) {
            vf e = exp(load(z + block + i, lanes) - m);
            if constexpr (std::is_same_v<decltype(lanes), int64_t>)
                for (int64_t j = lanes; j < kLanes; ++j) e[j] = 0;
            s += e;
            if (out) store(out + block + i, e, lanes);
        });
        total += sum(s);
    }
    if (out) {
        const auto factor = static_cast<float>(scale / total);
        for_lanes(n, [&](int64_t i, auto lanes) { store(out + i, load(out + i, lanes) * factor, lanes); });
        *blank_out = exp(broadcast(blank) - m)[0] * factor;
    }
    return m[0] * kLog2E + std::log2(total);
}

/// Rows a target needs: one for each token, and one for a blank between equal ones.
int64_t rows_needed(const int32_t* targets, int64_t n) {
    int64_t rows = n;
    for (int64_t j = 1; j < n; ++j) rows += targets[j] == targets[j - 1];
    return rows;
}

Tensor scratch(int64_t n, DType dtype, Device device = Device::cpu) {
    PurposeScope scope(Purpose::workspace);
    return Tensor::empty({n}, dtype, device);
}

CtcLosses on_device(const Tensor& token_logits, const Tensor& blank_logits, std::span<const int64_t> borders,
                    const Tensor& targets, std::span<const int64_t> ends, float scale, bool want_gradient) {
    const Device device = token_logits.device();
    const auto sequences = static_cast<int64_t>(borders.size()) - 1;
    CtcLosses result{Tensor::zeros({sequences}, DType::f32, device), {}, {}, 0};
    DeviceCtc a{.token_logits = token_logits.device_data<float>(),
                .blank_logits = blank_logits.device_data<float>(),
                .rows = token_logits.dim(0),
                .classes = token_logits.dim(1),
                .sequences = sequences,
                .target_count = targets.numel(),
                .longest = 0,
                .targets = targets.mirror(device).device_data<int32_t>(),
                .scale = scale};
    if (want_gradient) {
        result.dtokens = Tensor::empty(token_logits.shape(), DType::f32, device);
        result.dblank = Tensor::empty(blank_logits.shape(), DType::f32, device);
        a.dtokens = result.dtokens.mutable_device_data<float>();
        a.dblank = result.dblank.mutable_device_data<float>();
    }
    if (sequences == 0) return result;
    constexpr int64_t kNumbers = sizeof(DeviceCtcSequence) / sizeof(int64_t);
    Tensor plan = scratch(sequences * kNumbers, DType::i64);
    auto* p = reinterpret_cast<DeviceCtcSequence*>(plan.mutable_data<int64_t>());
    int64_t gathered = 0, lattice = 0;
    for (int64_t i = 0; i < sequences; ++i) {
        const auto at = static_cast<size_t>(i);
        DeviceCtcSequence& s = p[i] = {.row = borders[at],
                                       .rows = borders[at + 1] - borders[at],
                                       .target = ends[at],
                                       .length = ends[at + 1] - ends[at],
                                       .gathered = -1};
        if (rows_needed(targets.data<int32_t>() + s.target, s.length) > s.rows) {
            ++result.infeasible;
            continue;
        }
        a.longest = std::max(a.longest, s.length);
        s.gathered = std::exchange(gathered, gathered + s.rows * s.length);
        s.history = std::exchange(lattice, lattice + (want_gradient ? s.rows * 2 * (s.length + 1) : 0));
    }
    if (a.longest > kCtcSharedTargets)
        for (int64_t i = 0; i < sequences; ++i) p[i].exchange = std::exchange(lattice, lattice + 4 * (p[i].length + 1));
    const Tensor plan_there = plan.to(device);
    Tensor gather = workspace({gathered}, device), shift = scratch(a.rows, DType::f64, device),
           m = scratch(lattice, DType::f64, device), e = scratch(lattice, DType::i64, device),
           links = scratch(2 * a.target_count, DType::i32, device);
    a.plan = static_cast<const DeviceCtcSequence*>(plan_there.device_raw());
    a.gathered = gather.mutable_device_data<float>();
    a.shift = shift.mutable_device_data<double>();
    a.lattice_m = m.mutable_device_data<double>();
    a.lattice_e = e.mutable_device_data<int64_t>();
    a.links = links.mutable_device_data<int32_t>();
    a.losses = result.losses.mutable_device_data<float>();
    on(ctc_loss_body, device)(a);
    return result;
}

}  // namespace

CtcLosses ctc_loss(const Tensor& token_logits, const Tensor& blank_logits, const Tensor& borders, const Tensor& targets,
                   const Tensor& target_borders, float scale, bool want_gradient) {
    const Device device = token_logits.device();
    expect("ctc_loss", "token_logits", token_logits, DType::f32, device);
    if (token_logits.rank() != 2 || token_logits.dim(1) == 0)
        throw ShapeError("ctc_loss: token_logits must be [rows, tokens], but is {}", token_logits.describe());
    const int64_t rows = token_logits.dim(0), classes = token_logits.dim(1);
    expect("ctc_loss", "blank_logits", blank_logits, {rows, 1}, DType::f32, device);
    expect("ctc_loss", "targets", targets, DType::i32);
    const auto row_borders = borders_of("ctc_loss", borders, rows);
    const auto ends = borders_of("ctc_loss target", target_borders, targets.numel());
    if (ends.size() != row_borders.size())
        throw ShapeError("ctc_loss: {} sequences of rows, but {} targets", row_borders.size() - 1, ends.size() - 1);
    const int32_t* target = targets.data<int32_t>();
    for (int64_t i = 0; i < targets.numel(); ++i)
        if (target[i] < 0 || target[i] >= classes)
            throw Error("ctc_loss: target {} at position {} is outside the {} tokens", target[i], i, classes);

    if (device != Device::cpu)
        return on_device(token_logits, blank_logits, row_borders, targets, ends, scale, want_gradient);
    const auto sequences = static_cast<int64_t>(row_borders.size()) - 1;
    CtcLosses result{Tensor::zeros({sequences}), {}, {}, 0};
    if (want_gradient) {
        result.dtokens = Tensor::empty(token_logits.shape());
        result.dblank = Tensor::empty(blank_logits.shape());
    }
    // Where each sequence's scratch begins; those that cannot be aligned have none, which is how they are told.
    Lattices all{token_logits.data<float>(), blank_logits.data<float>(), classes, {}, {}, {}, {}, want_gradient};
    Tensor offsets = scratch(2 * (sequences + 1), DType::i64), shift = scratch(rows, DType::f64);
    int64_t* offset = offsets.mutable_data<int64_t>();
    const auto sequence = [=](int64_t i) {
        const auto at = static_cast<size_t>(i);
        const int64_t length = ends[at + 1] - ends[at];
        return Sequence{row_borders[at],  row_borders[at + 1] - row_borders[at],           target + ends[at],
                        length,           (length + kWideLanes) / kWideLanes * kWideLanes, offset[2 * i],
                        offset[2 * i + 1]};
    };
    const auto feasible = [=](int64_t i) { return offset[2 * i + 3] > offset[2 * i + 1]; };
    offset[0] = offset[1] = 0;
    for (int64_t i = 0; i < sequences; ++i) {
        const Sequence s = sequence(i);
        const bool fits = rows_needed(s.targets, s.length) <= s.rows;
        result.infeasible += !fits;
        offset[2 * i + 2] = s.gathered + (fits ? s.rows * s.width : 0);
        offset[2 * i + 3] = s.lattice + (fits ? (all.alpha_rows(s.rows) + 2) * row_cells(s.width) : 0);
    }
    Tensor gathered = workspace({offset[2 * sequences]});
    Tensor m = scratch(offset[2 * sequences + 1], DType::f64), e = scratch(offset[2 * sequences + 1], DType::i64);
    float* gather = gathered.mutable_data<float>();
    double* pshift = shift.mutable_data<double>();
    all.gathered = gather;
    all.shift = pshift;
    all.m = m.mutable_data<double>();
    all.e = e.mutable_data<int64_t>();
    float* dtokens = want_gradient ? result.dtokens.mutable_data<float>() : nullptr;
    float* dblank = want_gradient ? result.dblank.mutable_data<float>() : nullptr;

    for_rows(rows, classes, [&](int64_t row) {
        const auto above = std::upper_bound(row_borders.begin(), row_borders.end(), row);
        const int64_t i = above - row_borders.begin() - 1;
        const float* z = all.token_logits + row * classes;
        if (!feasible(i)) {
            if (want_gradient) std::fill(dtokens + row * classes, dtokens + (row + 1) * classes, dblank[row] = 0);
            return;
        }
        float* out = want_gradient ? dtokens + row * classes : nullptr;
        pshift[row] =
            softmax_row(z, classes, all.blank_logits[row], scale, out, want_gradient ? dblank + row : nullptr);
        const Sequence s = sequence(i);
        float* g = gather + s.gathered + (row - s.row) * s.width;
        for (int64_t j = 0; j < s.length; ++j) g[j] = z[s.targets[j]];
        std::fill(g + s.length, g + s.width, -std::numeric_limits<float>::infinity());
    });

    float* losses = result.losses.mutable_data<float>();
    parallel_for(sequences, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            if (!feasible(i)) continue;
            const Sequence s = sequence(i);
            double denominators = 0;  // not finite if one is not: wide numbers carry no NaN
            for (int64_t t = 0; t < s.rows; ++t) denominators += pshift[s.row + t];
            const Wide p = forward(all, s);
            const bool possible = p.e[0] > kZeroExponent / 2;
            const auto e2 = static_cast<double>(p.e[0]);
            losses[i] = !std::isfinite(denominators) ? std::numeric_limits<float>::quiet_NaN()
                        : !possible                  ? std::numeric_limits<float>::infinity()
                                                     : static_cast<float>(-(e2 + std::log2(p.m[0])) * kLn2);
            if (!want_gradient) continue;
            if (std::isfinite(losses[i])) {
                backward(all, s, p, scale, dtokens, dblank);
            } else {
                const float nan = std::numeric_limits<float>::quiet_NaN();
                std::fill(dtokens + s.row * classes, dtokens + (s.row + s.rows) * classes, nan);
                std::fill(dblank + s.row, dblank + s.row + s.rows, nan);
            }
        }
    });
    return result;
}

}  // namespace wavllm::kernels
