#pragma once
// Errors of the whole system. Every message names the thing (tensor, op, file, flag), what was expected, what came,
// and, where there is one, the way out. The program prints what() on one line and exits with a non-zero code.

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace wavllm {

/// Root of all errors that this project throws. Messages are fmt format strings.
class Error : public std::runtime_error {
public:
    explicit Error(const std::string& message) : std::runtime_error(message) {}
    template <class... Args>
    explicit Error(fmt::format_string<Args...> format, Args&&... args)
        : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

/// A shape that an op, layer or reader cannot take.
class ShapeError : public Error {
    using Error::Error;
};
/// An element type that an op cannot take.
class DTypeError : public Error {
    using Error::Error;
};
/// A file that is missing, damaged, or not what its name says. Hostile input ends here, never in a crash.
class FileError : public Error {
    using Error::Error;
};
/// A mistake in a command line, preset, manifest or config value.
class UsageError : public Error {
    using Error::Error;
};
/// A promise of the training loop that was broken: missing gradient, NaN, in-place write to a saved value.
class TrainingError : public Error {
    using Error::Error;
};

}  // namespace wavllm
