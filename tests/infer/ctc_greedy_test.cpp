// CTC best path. Witness: paths worked out by hand.

#include "infer/ctc_greedy.h"

#include <doctest/doctest.h>

#include "kernels/common/check.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using wavllm::tests::message_of;

namespace {

using Rows = std::vector<int64_t>;

struct Logits {
    Tensor tokens, blank;
};

/// Logits whose rows are won by these classes; -1: by the blank.
Logits won_by(const std::vector<int>& winners, int64_t classes) {
    const auto rows = static_cast<int64_t>(winners.size());
    Logits l{Tensor::full({rows, classes}, -1), Tensor::full({rows, 1}, 0)};
    for (int64_t row = 0; row < rows; ++row)
        if (const int c = winners[static_cast<size_t>(row)]; c >= 0)
            l.tokens.mutable_data<float>()[row * classes + c] = 2;
    return l;
}

Tensor borders(const Rows& lengths) {
    return kernels::make_borders(lengths);
}

}  // namespace

TEST_CASE("ctc_greedy: repeats collapse, blanks go, a blank between keeps both") {
    const Logits l = won_by({-1, 3, 3, -1, 3, 0, 0, 20, -1, -1, 5, 5}, 33);
    const auto paths = ctc_greedy(l.tokens, l.blank, borders({12}));
    REQUIRE(paths.size() == 1);
    CHECK(paths[0].tokens == std::vector<int32_t>{3, 3, 0, 20, 5});
    CHECK(paths[0].rows == Rows{1, 4, 5, 7, 10});
    CHECK(paths[0].ends == Rows{3, 5, 7, 8, 12});
}

TEST_CASE("ctc_greedy: clips do not reach into each other, and may be empty or all blank") {
    const Logits l = won_by({4, 4, 4, -1, -1, 4}, 5);
    const auto paths = ctc_greedy(l.tokens, l.blank, borders({2, 0, 1, 2, 1}));
    REQUIRE(paths.size() == 5);
    for (const size_t clip : {0, 2, 4}) CHECK(paths[clip].tokens == std::vector<int32_t>{4});
    CHECK(paths[4].rows == Rows{0});  // rows count from the clip's first
    for (const size_t clip : {1, 3}) CHECK(paths[clip].tokens.empty());
}

TEST_CASE("ctc_greedy: classes stand for tokens, ties go to the blank and to the lowest class") {
    const std::vector<int32_t> tokens{700, 12, 49151};
    const Logits l = won_by({2, 0, -1, 1}, 3);
    CHECK(ctc_greedy(l.tokens, l.blank, borders({4}), tokens)[0].tokens == std::vector<int32_t>{49151, 700, 12});
    const Tensor z = Tensor::from(std::vector<float>{1, 1, 0, 3, 5, 5}, {2, 3});
    const Tensor blank = Tensor::from(std::vector<float>{1, 4}, {2, 1});
    CHECK(ctc_greedy(z, blank, borders({2}))[0].tokens == std::vector<int32_t>{1});
    CHECK(ctc_greedy(z, blank, borders({2}))[0].rows == Rows{1});
}

TEST_CASE("ctc_greedy names a NaN and what does not fit") {
    Logits l = won_by({1, 2, 0, 1}, 20);
    l.tokens.mutable_data<float>()[3 * 20 + 17] = NAN;
    CHECK(message_of<Error>([&] {
              ctc_greedy(l.tokens, l.blank, borders({2, 2}));
          }) == "ctc_greedy: the logits of row 1 of clip 1 hold a NaN");
    l = won_by({1, 2}, 20);
    l.blank.mutable_data<float>()[0] = NAN;
    CHECK_THROWS_AS(ctc_greedy(l.tokens, l.blank, borders({2})), Error);
    CHECK_THROWS_AS(ctc_greedy(l.tokens, l.blank, borders({3})), ShapeError);
    const std::vector<int32_t> two{1, 2};
    l = won_by({1, 2}, 20);
    CHECK_THROWS_AS(ctc_greedy(l.tokens, l.blank, borders({2}), two), ShapeError);
}
