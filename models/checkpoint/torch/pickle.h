#pragma once
// Python pickles as inert data. Nothing in a pickle is ever looked up, imported or called: a global is its name, a call
// is a node that holds the name and the arguments. Who reads the tree decides which names mean something
// (torch_file.cpp knows a handful); all others stay what they are, names.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wavllm::pickle {

enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    big_integer,  ///< more than 64 bits; its value is not kept
    real,
    text,
    bytes,
    global,
    list,
    tuple,
    set,
    dict,       ///< items: key, value, key, value, ...
    object,     ///< what a call would give: callee(), arguments(), state(), and items put into it later
    persistent  ///< a reference to data outside the pickle; one item: its id
};

using Ref = uint32_t;

/// The most objects a pickle may hold: torch.save writes about ten a tensor. It bounds what a hostile file can make the
/// reader allocate: about 72 bytes an object.
inline constexpr size_t kMostObjects = 1'000'000;

/// One pickle. Texts point into the bytes that were parsed, which must outlive the tree. Containers may share
/// children and may contain themselves: whoever walks them bounds depth and steps.
class Tree {
public:
    /// Reads one pickle (protocol 2 to 5) at the beginning of `bytes`. Throws FileError, naming `file`, for an opcode
    /// of another protocol, anything that is cut off, a stack or memo that does not fit, more than kMostObjects, and
    /// for a name that reaches the operating system or the interpreter (os.system, eval, subprocess...): it would not
    /// be called, but no checkpoint has it for a good reason.
    Tree(std::span<const std::byte> bytes, const std::filesystem::path& file);

    Ref root() const {
        return root_;
    }
    /// How many bytes the pickle took.
    size_t length() const {
        return length_;
    }
    size_t size() const {
        return nodes_.size();
    }
    Kind kind(Ref node) const {
        return nodes_[node].kind;
    }
    bool is_integer(Ref node) const {
        return kind(node) == Kind::integer;
    }
    int64_t integer(Ref node) const;        ///< of an integer or boolean, else 0
    double real(Ref node) const;            ///< of a real, else 0
    std::string_view text(Ref node) const;  ///< of text or bytes; of a global "module.name"; else ""
    /// The children of a container; of an object those put into it by item or append.
    std::span<const Ref> items(Ref node) const;

    // Of an object only.
    Ref callee(Ref object) const;
    Ref arguments(Ref object) const;
    Ref state(Ref object) const;  ///< what BUILD gave it; a none if nothing did

    /// Every global of the pickle, "module.name", in the order of their first appearance.
    const std::vector<std::string>& globals() const {
        return globals_;
    }

private:
    friend class Parser;
    struct Node {
        uint64_t value;   // number's bits, offset of a text, index into children_ or globals_
        uint32_t length;  // of a text
        Kind kind;
    };

    std::span<const std::byte> bytes_;
    std::vector<Node> nodes_;
    std::vector<std::vector<Ref>> children_;
    std::vector<std::string> globals_;
    Ref root_ = 0;
    size_t length_ = 0;
};

}  // namespace wavllm::pickle
