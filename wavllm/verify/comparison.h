#pragma once
// Golden values and what this build computed for them, side by side. Every golden value ends as exactly one line:
// nothing is skipped silently, and a value that has no rule at all is a failure.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace wavllm::verify {

/// One golden value and the rule it is held to.
struct Expected {
    std::string file, name;
    std::string what{};    ///< a few words for the reader
    Tensor value{};        ///< f32; i64 (token ids) and u8 (text) must be equal
    double scale = 1;      ///< errors are divided by it: the tensor's largest absolute value, or 1 for absolute errors
    double tolerance = 0;  ///< largest error allowed, after that division; 0: equal

    bool exact() const {
        return tolerance == 0;
    }
};

/// What this build computed for a golden value.
struct Computed {
    Tensor value;
    std::string how{};             ///< where several ways lead to it: which one this is
    std::vector<bool> elements{};  ///< the elements that are compared; empty: all of them
};

enum class Status { passed, failed, input, not_built };

struct Line {
    Status status;
    std::string file, name, what;
    double error = 0, tolerance = 0;  ///< of the worst way
    std::string note{};               ///< why it failed, or what it waits for
    bool exact = false;
};

struct Report {
    std::vector<Line> lines;
    std::vector<std::string> broken;  ///< "family: message" of those that ended with an error

    size_t count(Status status) const;
    /// Something was compared and nothing failed.
    bool passed() const;
};

class Comparison {
public:
    /// Only values whose "file name" contains `only` are reported (all, if it is empty).
    explicit Comparison(std::string only = "") : only_(std::move(only)) {}

    /// Throws FileError if the file and name were there before.
    void expect(Expected e);
    /// A golden value that is given, not computed: other values are computed from it.
    void input(const std::string& file, const std::string& name);
    /// Belongs to a part that this build does not have yet. A value that is computed nevertheless is compared.
    void not_built(const std::string& file, const std::string& name, const std::string& part);
    /// Another rule for a golden value of which less is known: its absolute error may be `error`.
    void allow(const std::string& file, const std::string& name, double error);
    /// What this build says. Ignored where the golden set has no such value.
    void computed(const std::string& file, const std::string& name, Computed c);
    void computed(const std::string& file, const std::string& name, const Tensor& value, const std::string& how = "") {
        computed(file, name, Computed{.value = value, .how = how});
    }
    /// A family of checks ended with an error; what it did not reach fails.
    void broke(const std::string& family, const std::string& message);

    /// The golden value itself. Throws FileError if the set lacks it.
    const Tensor& golden(const std::string& file, const std::string& name) const;
    bool has(const std::string& file, const std::string& name) const;
    /// Whether something of the files and tensors whose names start so is to be reported.
    bool wanted(const std::string& file_prefix, const std::string& name_prefix = "") const;
    std::vector<std::pair<std::string, std::string>> names() const;  ///< file and name, in order

    Report report() const;
    /// What was computed (the first way, where there are several), in the golden set's order.
    struct Value {
        std::string file, name;
        Tensor value;
    };
    std::vector<Value> values() const;

private:
    struct Entry {
        Expected expected;
        std::vector<Computed> computed;
        bool input = false;
        std::string waits_for;
    };
    bool selected(const Entry& e) const;
    Line line(const Entry& e) const;
    Entry* find(const std::string& file, const std::string& name);
    const Entry* find(const std::string& file, const std::string& name) const;

    std::string only_;
    std::vector<Entry> entries_;
    std::map<std::pair<std::string, std::string>, size_t> index_;
    std::vector<std::string> broken_;
};

/// Largest |got - expected| / scale over the elements that count; for exact values how many differ. NaN if a value on
/// either side is not a number or nothing counts: no comparison with a tolerance then passes. Both have one shape.
double worst_error(const Expected& expected, const Computed& got);

}  // namespace wavllm::verify
