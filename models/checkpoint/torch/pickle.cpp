// The opcodes of Python's pickletools, protocols 2 to 5, without those that only protocols 0 and 1 write.

#include "models/checkpoint/torch/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm::pickle {

namespace {

constexpr size_t kObjectHead = 3;  // callee, arguments, state
constexpr size_t kLongestGlobal = 256;
constexpr uint64_t kMemoGap = 1024;

/// Modules through which a pickle reaches the machine. Nothing is called either way; this is only so that such a file is
/// named for what it is.
constexpr std::array<std::string_view, 24> kSystemModules{
    "os",     "posix",    "nt",     "subprocess", "commands", "sys",    "shutil",  "socket",
    "pty",    "runpy",    "ctypes", "importlib",  "imp",      "pickle", "marshal", "webbrowser",
    "signal", "tempfile", "code",   "pdb",        "timeit",   "urllib", "http",    "multiprocessing"};
constexpr std::array<std::string_view, 7> kSystemBuiltins{"eval", "exec",       "execfile", "compile",
                                                          "open", "__import__", "input"};

bool reaches_the_system(std::string_view module, std::string_view name) {
    const std::string_view first = module.substr(0, module.find('.'));
    if (std::find(kSystemModules.begin(), kSystemModules.end(), first) != kSystemModules.end()) return true;
    if (module == "builtins" || module == "__builtin__")
        return std::find(kSystemBuiltins.begin(), kSystemBuiltins.end(), name) != kSystemBuiltins.end();
    return false;
}

}  // namespace

class Parser {
public:
    Parser(Tree& tree, const std::filesystem::path& file) : tree_(tree), file_(file) {
        none_ = add(Kind::none);
        false_ = add(Kind::boolean, 0);
        true_ = add(Kind::boolean, 1);
    }

    void run() {
        while (step(static_cast<uint8_t>(take(1)[0]))) {
        }
        tree_.length_ = at_;
    }

private:
    template <class... Args>
    [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
        throw FileError("{}: its pickle {} (at byte {} of it)", file_.string(),
                        fmt::format(format, std::forward<Args>(args)...), at_);
    }

    std::span<const std::byte> take(uint64_t n) {
        if (n > tree_.bytes_.size() - at_)
            fail("is damaged or cut off: {} bytes should follow, but {} do", n, tree_.bytes_.size() - at_);
        at_ += n;
        return tree_.bytes_.subspan(at_ - n, n);
    }
    template <class T>
    T number() {
        T value;
        std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
        return value;
    }
    std::string_view line() {
        const auto rest = tree_.bytes_.subspan(at_, std::min(tree_.bytes_.size() - at_, kLongestGlobal + 1));
        const auto* begin = reinterpret_cast<const char*>(rest.data());
        const size_t end = std::string_view(begin, rest.size()).find('\n');
        if (end == std::string_view::npos) fail("has a name that does not end within {} bytes", kLongestGlobal);
        take(end + 1);
        return {begin, end};
    }

    Ref add(Kind kind, uint64_t value = 0, uint32_t length = 0) {
        if (tree_.nodes_.size() >= kMostObjects) fail("has more than {} objects", kMostObjects);
        tree_.nodes_.push_back({value, length, kind});
        return static_cast<Ref>(tree_.nodes_.size() - 1);
    }
    Ref container(Kind kind, std::vector<Ref> children = {}) {
        const Ref node = add(kind, tree_.children_.size());
        tree_.children_.push_back(std::move(children));
        return node;
    }
    Ref object(Ref callee, Ref arguments) {
        return container(Kind::object, {callee, arguments, none_});
    }

    void push(Ref node) {
        stack_.push_back(node);
    }
    size_t floor() const {  // below the innermost mark nothing may be popped
        return marks_.empty() ? 0 : marks_.back();
    }
    Ref pop() {
        if (stack_.size() <= floor()) fail("takes more from its stack than there is");
        const Ref node = stack_.back();
        stack_.pop_back();
        return node;
    }
    Ref top() {
        if (stack_.size() <= floor()) fail("takes more from its stack than there is");
        return stack_.back();
    }
    std::vector<Ref> pop_to_mark() {
        if (marks_.empty()) fail("closes a mark that it never set");
        std::vector<Ref> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
        stack_.resize(marks_.back());
        marks_.pop_back();
        return items;
    }
    Ref tuple_of(size_t n) {
        std::vector<Ref> items(n);
        while (n > 0) items[--n] = pop();
        return container(Kind::tuple, std::move(items));
    }

    void push_text(Kind kind, uint64_t length) {
        if (length > UINT32_MAX) fail("has a text of {} bytes", length);
        take(length);
        push(add(kind, at_ - length, static_cast<uint32_t>(length)));
    }
    void push_long(uint64_t length) {
        const auto raw = take(length);
        if (length > 8) return push(add(Kind::big_integer));
        uint64_t value = length > 0 && (raw.back() & std::byte{0x80}) != std::byte{0} ? ~uint64_t{0} : 0;
        std::memcpy(&value, raw.data(), length);
        push(add(Kind::integer, value));
    }
    void push_real() {
        uint64_t bits = 0;  // big-endian
        for (const std::byte b : take(8)) bits = bits << 8 | static_cast<uint64_t>(b);
        push(add(Kind::real, bits));
    }
    void push_global(std::string_view module, std::string_view name) {
        if (module.size() > kLongestGlobal || name.size() > kLongestGlobal)
            fail("has a name of more than {} bytes", kLongestGlobal);
        const std::string full = fmt::format("{}.{}", module, name);
        if (reaches_the_system(module, name))
            fail("names {}, which no checkpoint needs: nothing was run, and the file is refused", printable(full));
        const auto [known, fresh] = global_index_.emplace(full, tree_.globals_.size());
        if (fresh) tree_.globals_.push_back(full);
        push(add(Kind::global, known->second));
    }
    void push_stack_global() {
        const Ref name = pop(), module = pop();
        if (tree_.kind(name) != Kind::text || tree_.kind(module) != Kind::text)
            fail("names a global by something that is no text");
        push_global(tree_.text(module), tree_.text(name));
    }

    void put(uint64_t index) {
        // Picklers number from 0 without gaps; a tool that leaves entries out may leave some. The file's length bounds
        // nothing: it may have a hole of gigabytes.
        if (index > 4 * puts_++ + kMemoGap)
            fail("has the memo index {}, but has written to its memo {} times", index, puts_ - 1);
        if (memo_.size() <= index) memo_.resize(index + 1, none_);
        memo_[index] = top();
        memo_used_ = std::max(memo_used_, index + 1);
    }
    void get(uint64_t index) {
        if (index >= memo_.size()) fail("reads memo {}, which was never written", index);
        push(memo_[index]);
    }

    std::vector<Ref>& children_of(Ref node, const char* doing) {
        const Kind kind = tree_.kind(node);
        if (kind != Kind::list && kind != Kind::dict && kind != Kind::set && kind != Kind::object)
            fail("{} something that is no container", doing);
        return tree_.children_[tree_.nodes_[node].value];
    }
    void extend(std::vector<Ref> items, bool pairs) {
        if (pairs && items.size() % 2 != 0) fail("has a key without a value");
        const Ref target = top();
        if (pairs && tree_.kind(target) != Kind::dict && tree_.kind(target) != Kind::object)
            fail("puts keys into something that is no dictionary");
        if (!pairs && tree_.kind(target) == Kind::dict) fail("appends to a dictionary");
        auto& children = children_of(target, "adds to");
        children.insert(children.end(), items.begin(), items.end());
    }
    void build() {
        const Ref state = pop();
        const Ref target = top();
        // torch's state dicts carry an attribute (_metadata); only an object keeps it
        if (tree_.kind(target) == Kind::object) children_of(target, "builds")[2] = state;
    }

    bool step(uint8_t opcode) {
        switch (opcode) {
            case 0x80: return protocol();
            case 0x95: take(8); return true;  // FRAME: a hint for buffering
            case '.': tree_.root_ = pop(); return false;
            case '(': marks_.push_back(stack_.size()); return true;
            case '0': drop(); return true;
            case '1': pop_to_mark(); return true;
            case '2': push(top()); return true;
            case 'N': push(none_); return true;
            case 0x88: push(true_); return true;
            case 0x89: push(false_); return true;
            case 'J': push(add(Kind::integer, static_cast<uint64_t>(int64_t{number<int32_t>()}))); return true;
            case 'K': push(add(Kind::integer, number<uint8_t>())); return true;
            case 'M': push(add(Kind::integer, number<uint16_t>())); return true;
            case 0x8a: push_long(number<uint8_t>()); return true;
            case 0x8b: push_long(number<uint32_t>()); return true;
            case 'G': push_real(); return true;
            case 'T': push_text(Kind::text, number<uint32_t>()); return true;
            case 'U': push_text(Kind::text, number<uint8_t>()); return true;
            case 'X': push_text(Kind::text, number<uint32_t>()); return true;
            case 0x8c: push_text(Kind::text, number<uint8_t>()); return true;
            case 0x8d: push_text(Kind::text, number<uint64_t>()); return true;
            case 'B': push_text(Kind::bytes, number<uint32_t>()); return true;
            case 'C': push_text(Kind::bytes, number<uint8_t>()); return true;
            case 0x8e:
            case 0x96: push_text(Kind::bytes, number<uint64_t>()); return true;
            case ']': push(container(Kind::list)); return true;
            case '}': push(container(Kind::dict)); return true;
            case 0x8f: push(container(Kind::set)); return true;
            case ')': push(container(Kind::tuple)); return true;
            case 't': {
                auto items = pop_to_mark();
                push(container(Kind::tuple, std::move(items)));
                return true;
            }
            case 0x91: {
                auto items = pop_to_mark();
                push(container(Kind::set, std::move(items)));
                return true;
            }
            case 0x85: push(tuple_of(1)); return true;
            case 0x86: push(tuple_of(2)); return true;
            case 0x87: push(tuple_of(3)); return true;
            case 'a': extend({pop()}, false); return true;
            case 'e':
            case 0x90: extend(pop_to_mark(), false); return true;
            case 's': {
                const Ref value = pop(), key = pop();
                extend({key, value}, true);
                return true;
            }
            case 'u': extend(pop_to_mark(), true); return true;
            case 'q': put(number<uint8_t>()); return true;
            case 'r': put(number<uint32_t>()); return true;
            case 0x94: put(memo_used_); return true;
            case 'h': get(number<uint8_t>()); return true;
            case 'j': get(number<uint32_t>()); return true;
            case 'c': {
                const std::string_view module = line();
                push_global(module, line());
                return true;
            }
            case 0x93: push_stack_global(); return true;
            case 'R':
            case 0x81: {
                const Ref arguments = pop(), callee = pop();
                push(object(callee, arguments));
                return true;
            }
            case 0x92: {
                pop();  // keyword arguments
                const Ref arguments = pop(), callee = pop();
                push(object(callee, arguments));
                return true;
            }
            case 'b': build(); return true;
            case 'Q': push(container(Kind::persistent, {pop()})); return true;
            default: fail("has the opcode 0x{:02x}, which torch.save does not write", opcode);
        }
    }
    bool protocol() {
        const auto version = number<uint8_t>();
        if (version < 2 || version > 5) fail("is of protocol {}; 2 to 5 are read", version);
        return true;
    }
    void drop() {
        if (!marks_.empty() && marks_.back() == stack_.size())
            marks_.pop_back();
        else
            pop();
    }

    Tree& tree_;
    const std::filesystem::path& file_;
    size_t at_ = 0;
    std::vector<Ref> stack_, memo_;
    std::vector<size_t> marks_;
    uint64_t memo_used_ = 0, puts_ = 0;
    std::unordered_map<std::string, uint64_t> global_index_;
    Ref none_ = 0, true_ = 0, false_ = 0;
};

Tree::Tree(std::span<const std::byte> bytes, const std::filesystem::path& file) : bytes_(bytes) {
    Parser(*this, file).run();
}

int64_t Tree::integer(Ref node) const {
    const Kind k = kind(node);
    return k == Kind::integer || k == Kind::boolean ? static_cast<int64_t>(nodes_[node].value) : 0;
}

double Tree::real(Ref node) const {
    return kind(node) == Kind::real ? std::bit_cast<double>(nodes_[node].value) : 0;
}

std::string_view Tree::text(Ref node) const {
    const Node& n = nodes_[node];
    if (n.kind == Kind::global) return globals_[n.value];
    if (n.kind != Kind::text && n.kind != Kind::bytes) return {};
    return {reinterpret_cast<const char*>(bytes_.data()) + n.value, n.length};
}

std::span<const Ref> Tree::items(Ref node) const {
    const Kind k = kind(node);
    if (k < Kind::list) return {};
    const std::span<const Ref> all = children_[nodes_[node].value];
    return k == Kind::object ? all.subspan(kObjectHead) : all;
}

Ref Tree::callee(Ref object) const {
    return children_[nodes_[object].value][0];
}
Ref Tree::arguments(Ref object) const {
    return children_[nodes_[object].value][1];
}
Ref Tree::state(Ref object) const {
    return children_[nodes_[object].value][2];
}

}  // namespace wavllm::pickle
