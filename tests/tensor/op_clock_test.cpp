// The clock of ops. Witness: the system's clock over the whole, and by construction.

#include "tensor/op_clock.h"

#include <doctest/doctest.h>

#include <thread>

#include "autograd/ops/scale.h"
#include "autograd/ops/sum_all.h"
#include "autograd/tape.h"
#include "tensor/error.h"

using namespace wavllm;

namespace {

void wait(int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

double seconds_of(const OpClock& clock, std::string_view op) {
    for (const OpClock::Entry& e : clock.entries())
        if (e.op == op) return e.seconds();
    return 0;
}

}  // namespace

TEST_CASE("every op gets the time since the reading before it, and together they make up the whole") {
    OpClock clock;
    const auto start = std::chrono::steady_clock::now();
    {
        const OpClock::Running running(clock);
        wait(4);
        OpClock::read("inner", OpClock::Pass::forward);
        wait(2);
        OpClock::read("outer", OpClock::Pass::forward);  // had `inner` inside: only what is left is its own
        wait(6);
        OpClock::read("inner", OpClock::Pass::backward);
    }
    const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    OpClock::read("after", OpClock::Pass::forward);  // nobody's
    REQUIRE(clock.entries().size() == 2);
    const OpClock::Entry& inner = clock.entries()[0];
    CHECK(inner.op == "inner");
    CHECK(inner.forward >= 0.004);
    CHECK(inner.backward >= 0.006);
    CHECK(inner.calls == 1);
    CHECK(seconds_of(clock, "outer") >= 0.002);
    CHECK(inner.seconds() + seconds_of(clock, "outer") <= whole);
    CHECK(inner.seconds() + seconds_of(clock, "outer") > whole - 0.002);
}

TEST_CASE("recorded ops are booked by their names, forward and backward") {
    OpClock clock;
    Tensor x = Tensor::full({1000}, 1.0);
    set_requires_grad(x);
    {
        const OpClock::Running running(clock);
        backward(sum_all(scale(x, 2)));
    }
    REQUIRE(clock.entries().size() == 2);
    CHECK(clock.entries()[0].op == "scale");
    for (const OpClock::Entry& e : clock.entries()) {
        CHECK(e.calls == 1);
        CHECK(e.forward > 0);
        CHECK(e.backward > 0);
    }
    clock.clear();
    CHECK(clock.entries().empty());
}

TEST_CASE("two clocks at once are an error") {
    OpClock a, b;
    const OpClock::Running running(a);
    CHECK_THROWS_AS(OpClock::Running{b}, Error);
    OpClock::read("still a's", OpClock::Pass::other);
    CHECK(a.entries().size() == 1);
}
