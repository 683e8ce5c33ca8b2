#include "models/checkpoint/torch/torch_tensors.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;
using pickle::Kind;
using pickle::Ref;
using pickle::Tree;

namespace {

constexpr std::array<TorchType, 10> kTypes{{{"FloatStorage", DType::f32, 4},
                                            {"HalfStorage", DType::f16, 2},
                                            {"BFloat16Storage", DType::bf16, 2},
                                            {"DoubleStorage", DType::f64, 8},
                                            {"LongStorage", DType::i64, 8},
                                            {"IntStorage", DType::i32, 4},
                                            {"ShortStorage", DType::i32, 2},
                                            {"CharStorage", DType::i32, 1},
                                            {"ByteStorage", DType::u8, 1},
                                            {"BoolStorage", DType::u8, 1}}};

constexpr size_t kMostDimensions = 16, kLongestName = 512, kDeepest = 64;
constexpr size_t kMostShown = 20'000, kMostShownBytes = 4 << 20;  // values of metadata, and they with their keys

// A pickle's objects may be shared, so a few bytes can refer to millions of paths. A step through them and what is kept
// of each tensor are therefore bounded by the pickle's length: torch.save takes about 70 bytes to describe a tensor
// besides its name. What is free lets a small file share as it likes.
constexpr uint64_t kFreeSteps = 100'000, kStepsPerByte = 8;
constexpr uint64_t kFreeBytes = 1 << 20, kKeptPerByte = 16, kTensorBytes = 64;

/// Globals that build plain values and tensors; every other one is foreign.
constexpr std::array<std::string_view, 20> kPlain{"collections.OrderedDict",
                                                  "collections.defaultdict",
                                                  "_codecs.encode",
                                                  "__builtin__.set",
                                                  "builtins.set",
                                                  "__builtin__.frozenset",
                                                  "builtins.frozenset",
                                                  "__builtin__.dict",
                                                  "builtins.dict",
                                                  "__builtin__.list",
                                                  "builtins.list",
                                                  "__builtin__.bytearray",
                                                  "builtins.bytearray",
                                                  "__builtin__.int",
                                                  "builtins.int",
                                                  "torch.Size",
                                                  "torch._utils._rebuild_tensor",
                                                  "torch._utils._rebuild_tensor_v2",
                                                  "torch._utils._rebuild_parameter",
                                                  "torch._utils._rebuild_parameter_with_state"};

std::string_view last_part(std::string_view global) {
    return global.substr(global.rfind('.') + 1);
}
bool is_torch(std::string_view global) {
    return global.starts_with("torch.");
}
bool is_plain(std::string_view global) {
    return std::find(kPlain.begin(), kPlain.end(), global) != kPlain.end() ||
           (is_torch(global) && torch_type(last_part(global)) != nullptr);
}

class Reader {
public:
    Reader(LoadedCheckpoint& out, const Tree& tree, const StorageBytes& storage, uint64_t file_bytes)
        : out_(out),
          tree_(tree),
          storage_(storage),
          copies_left_(4 * file_bytes),
          steps_left_(kFreeSteps + kStepsPerByte * tree.length()),
          kept_left_(kFreeBytes + kKeptPerByte * tree.length()) {}

    void run() {
        const Ref root = tree_.root();
        std::string_view under;
        for (const std::string_view key : {"model", "state_dict", "model_state_dict"})
            each_pair(root, [&](Ref name, Ref inside) {
                if (under.empty() && tree_.text(name) == key && has_pairs(inside) && holds_tensor(inside)) under = key;
            });
        json content = json::object();
        if (under.empty()) {
            wanted_ = true;
            content = value(root, "", 0, false);
        } else {
            each_pair(root, [&](Ref node, Ref inside) {
                const std::string key = key_text(node);
                wanted_ = key == under;
                json shown = value(inside, wanted_ ? "" : key, 1, false);
                if (can_show(shown, key)) content[key] = std::move(shown);
            });
            out_.facts["tensors_under"] = under;
        }
        if (others_ > 0) out_.facts["other_tensors"] = others_;
        if (json foreign = foreign_names(); !foreign.empty()) out_.facts["foreign"] = std::move(foreign);
        if (content.is_object() && !content.empty()) out_.facts["content"] = std::move(content);
    }

private:
    template <class... Args>
    [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
        throw FileError("{}: {}", out_.path().string(), fmt::format(format, std::forward<Args>(args)...));
    }
    void count_step() {
        if (steps_left_-- == 0)
            fail(
                "its objects refer to each other more than {} times over, out of proportion to the {} bytes of its "
                "pickle",
                kFreeSteps + kStepsPerByte * tree_.length(), tree_.length());
    }
    /// To be called before something is kept for a tensor, which takes so many bytes besides its name.
    void count_kept(const std::string& name, uint64_t bytes) {
        bytes += kTensorBytes + name.size();
        if (bytes > kept_left_)
            fail("the tensors that it names, \"{}\" the last, are out of proportion to the {} bytes of its pickle",
                 printable(name, 60), tree_.length());
        kept_left_ -= bytes;
    }
    void refuse(const std::string& name, const std::string& why) {
        count_kept(name, why.size());
        out_.refuse(name, why);
    }

    std::string_view callee(Ref node) const {
        return tree_.kind(node) == Kind::object ? tree_.text(tree_.callee(node)) : std::string_view();
    }

    /// Calls visit(key, value) for each pair, if it is a dictionary of any kind.
    template <class F>
    void each_pair(Ref node, F visit) const {
        if (!is_dictionary(node)) return;
        const std::span<const Ref> items = tree_.items(node);
        for (size_t i = 0; i + 1 < items.size(); i += 2) visit(items[i], items[i + 1]);
        if (tree_.kind(node) == Kind::dict) return;
        // Python 2 gives an ordered dictionary its content as the call's argument, a list of pairs.
        const auto arguments = tree_.items(tree_.arguments(node));
        if (!arguments.empty() && tree_.kind(arguments[0]) == Kind::list)
            for (const Ref pair : tree_.items(arguments[0]))
                if (const auto two = tree_.items(pair); two.size() == 2) visit(two[0], two[1]);
    }
    bool has_pairs(Ref node) const {
        bool any = false;
        each_pair(node, [&](Ref, Ref) { any = true; });
        return any;
    }
    bool is_dictionary(Ref node) const {
        const std::string_view type = callee(node);
        return tree_.kind(node) == Kind::dict || type == "collections.OrderedDict" ||
               type == "collections.defaultdict" || type == "builtins.dict" || type == "__builtin__.dict";
    }

    std::string key_text(Ref key) const {
        if (tree_.kind(key) == Kind::text) return std::string(tree_.text(key));
        if (tree_.is_integer(key)) return fmt::format("{}", tree_.integer(key));
        return fmt::format("(key {})", key);
    }

    static bool is_rebuild(std::string_view global) {
        return is_torch(global) && last_part(global).starts_with("_rebuild_");
    }
    /// Whether a tensor's storage is anywhere below.
    bool holds_tensor(Ref node, size_t depth = 0) {
        count_step();
        if (depth > kDeepest) return false;  // value() says so
        if (tree_.kind(node) == Kind::persistent || is_rebuild(callee(node))) return true;
        for (const Ref item : tree_.items(node))
            if (holds_tensor(item, depth + 1)) return true;
        return tree_.kind(node) == Kind::object &&
               (holds_tensor(tree_.arguments(node), depth + 1) || holds_tensor(tree_.state(node), depth + 1));
    }

    /// Each foreign global and how many objects it would have made.
    json foreign_names() const {
        constexpr size_t kMostNames = 200;
        std::map<std::string_view, int64_t> calls;
        for (size_t i = 0; i < tree_.size(); ++i)
            if (const std::string_view type = callee(static_cast<Ref>(i)); !type.empty()) ++calls[type];
        json result = json::object();
        for (const std::string& global : tree_.globals())
            if (!is_plain(global) && result.size() < kMostNames) result[global] = calls[global];
        return result;
    }

    std::string join(const std::string& name, const std::string& key) const {
        if (name.size() + key.size() > kLongestName)
            fail("a name begins with \"{}\" and is longer than {} bytes", printable(name + key, 60), kLongestName);
        return name.empty() ? key : name + "." + key;
    }

    /// Walks everything: tensors go to the checkpoint, the rest becomes JSON (null: nothing to show).
    json value(Ref node, const std::string& name, size_t depth, bool inside_foreign) {
        count_step();
        if (depth > kDeepest)
            fail("{} is nested deeper than {} or contains itself",
                 name.empty() ? "its content" : "\"" + printable(name) + "\"", kDeepest);
        const std::string_view type = callee(node);
        if (is_rebuild(type)) {
            tensor(node, name, inside_foreign);
            return nullptr;
        }
        if (is_dictionary(node)) return entries(node, name, depth, inside_foreign);
        switch (tree_.kind(node)) {
            case Kind::none: return show("None");
            case Kind::boolean: return show(tree_.integer(node) != 0);
            case Kind::integer: return show(tree_.integer(node));
            case Kind::big_integer: return show("(a number of more than 64 bits)");
            case Kind::real: return show(tree_.real(node));
            case Kind::text: return show(printable(tree_.text(node), 200));
            case Kind::bytes: return show(fmt::format("({} bytes)", tree_.text(node).size()));
            case Kind::global: return show(fmt::format("({})", printable(tree_.text(node))));
            case Kind::persistent: return show("(a storage)");
            case Kind::list:
            case Kind::tuple:
            case Kind::set: return sequence(tree_.items(node), name, depth, inside_foreign);
            case Kind::dict:
            case Kind::object: break;
        }
        return object(node, name, depth, inside_foreign);
    }

    json object(Ref node, const std::string& name, size_t depth, bool inside_foreign) {
        const std::string_view type = callee(node);
        const auto arguments = tree_.items(tree_.arguments(node));
        if (type == "_codecs.encode" && !arguments.empty()) return show("(bytes)");
        if ((type.ends_with("set") || type == "torch.Size" || type.ends_with(".list")) && is_plain(type) &&
            arguments.size() == 1)
            return value(arguments[0], name, depth + 1, inside_foreign);
        const std::string title = fmt::format("({})", type.empty() ? "a call of what is no name" : printable(type));
        if (wanted_ && !name.empty() && holds_tensor(tree_.arguments(node)))
            refuse(name, fmt::format("it needs {}, which is foreign code: nothing is ever called", printable(type)));
        json state = value(tree_.state(node), name, depth + 1, true);
        json inside = sequence(tree_.items(tree_.arguments(node)), name, depth + 1, true);
        json items = sequence(tree_.items(node), name, depth + 1, true);
        json all = json::object();
        if (state.is_object() && can_show(state, "state")) all["state"] = std::move(state);
        if (inside.is_array() && can_show(inside, "arguments")) all["arguments"] = std::move(inside);
        if (items.is_array() && can_show(items, "items")) all["items"] = std::move(items);
        return all.empty() || !can_show(all, title) ? show(title) : json{{title, std::move(all)}};
    }

    json entries(Ref dictionary, const std::string& name, size_t depth, bool inside_foreign) {
        json out = json::object();
        each_pair(dictionary, [&](Ref node, Ref inside) {
            const std::string key = key_text(node);
            json shown = value(inside, join(name, key), depth + 1, inside_foreign);
            if (can_show(shown, key)) out[key] = std::move(shown);
        });
        return out.empty() ? json(nullptr) : out;
    }
    json sequence(std::span<const Ref> items, const std::string& name, size_t depth, bool inside_foreign) {
        json out = json::array();
        for (size_t i = 0; i < items.size(); ++i) {
            json shown = value(items[i], join(name, fmt::format("{}", i)), depth + 1, inside_foreign);
            if (can_show(shown, "")) out.push_back(std::move(shown));
        }
        return out.empty() ? json(nullptr) : out;
    }
    /// Whether there is something to show and room for it under this key.
    bool can_show(const json& shown, std::string_view key) {
        if (shown.is_null() || (shown.is_structured() && shown.empty())) return false;
        shown_bytes_ +=
            kTensorBytes + key.size() + (shown.is_string() ? shown.get_ref<const std::string&>().size() : 0);
        return shown_bytes_ <= kMostShownBytes;
    }
    template <class T>
    json show(T&& v) {
        if (++shown_ > kMostShown) return nullptr;
        return json(std::forward<T>(v));
    }

    // --- tensors

    void tensor(Ref node, const std::string& name, bool inside_foreign) {
        if (!wanted_) {
            ++others_;
            return;
        }
        if (inside_foreign) {
            refuse(name, "it lies inside an object of foreign code, which is not built; save a state dict instead");
            return;
        }
        std::string problem;
        // a parameter wraps a tensor
        for (int wrapped = 0; wrapped < 4 && callee(node).starts_with("torch._utils._rebuild_parameter"); ++wrapped) {
            const auto arguments = tree_.items(tree_.arguments(node));
            if (arguments.empty()) return refuse(name, "its parameter is without a tensor");
            node = arguments[0];
        }
        const std::string_view how = callee(node);
        if (how != "torch._utils._rebuild_tensor_v2" && how != "torch._utils._rebuild_tensor")
            return refuse(name, how.empty() ? "its parameter is without a tensor"
                                            : fmt::format("it needs {}, which is foreign code: nothing is ever called",
                                                          printable(how)));
        const auto arguments = tree_.items(tree_.arguments(node));
        if (arguments.size() < 4 || tree_.kind(arguments[0]) != Kind::persistent || !tree_.is_integer(arguments[1]))
            fail("tensor \"{}\" is not described as torch.save does", printable(name));
        const auto storage = torch_storage(tree_, arguments[0], problem);
        if (!storage) fail("tensor \"{}\": {}", printable(name), problem);
        const TorchType* type = torch_type(storage->type);
        if (type == nullptr)
            return refuse(name, fmt::format("its storage is a {}, which is not read", printable(storage->type)));
        StoredTensor t{name, type->dtype, dimensions(arguments[2], name, "shape"), {}};
        const std::vector<int64_t> strides = dimensions(arguments[3], name, "strides");
        if (strides.size() != t.shape.size())
            fail("tensor \"{}\" has {} dimensions, but {} strides", printable(name), t.shape.size(), strides.size());
        count_kept(name, t.shape.size() * sizeof(int64_t));
        place(t, *storage, *type, tree_.integer(arguments[1]), strides);
        out_.list.push_back(std::move(t));
    }

    std::vector<int64_t> dimensions(Ref node, const std::string& name, const char* what) {
        if (callee(node) == "torch.Size" && tree_.items(tree_.arguments(node)).size() == 1)
            node = tree_.items(tree_.arguments(node))[0];
        const auto items = tree_.items(node);
        if (tree_.kind(node) != Kind::tuple && tree_.kind(node) != Kind::list)
            fail("tensor \"{}\" has no proper {}", printable(name), what);
        if (items.size() > kMostDimensions)
            fail("tensor \"{}\" has {} dimensions; at most {} are read", printable(name), items.size(),
                 kMostDimensions);
        std::vector<int64_t> result;
        for (const Ref item : items) {
            if (!tree_.is_integer(item) || tree_.integer(item) < 0)
                fail("the {} of tensor \"{}\" should be whole numbers", what, printable(name));
            result.push_back(tree_.integer(item));
        }
        return result;
    }

    /// Finds the tensor's elements in its storage; t.bytes is set.
    void place(StoredTensor& t, const TorchStorage& storage, const TorchType& type, int64_t offset,
               const std::vector<int64_t>& strides) {
        const std::span<const std::byte> bytes = storage_(storage, type);  // checked: it is all there
        const uint64_t count = checked_elements(out_.path(), t.name, t.shape);
        uint64_t last = static_cast<uint64_t>(offset);
        bool fits = offset >= 0, row_major = true;
        int64_t expected = 1;
        for (size_t d = t.shape.size(); d-- > 0 && count > 0;) {
            uint64_t reach = 0;
            fits = fits &&
                   !__builtin_mul_overflow(static_cast<uint64_t>(t.shape[d] - 1), static_cast<uint64_t>(strides[d]),
                                           &reach) &&
                   !__builtin_add_overflow(last, reach, &last);
            row_major = row_major && (t.shape[d] == 1 || strides[d] == expected);
            expected *= t.shape[d];
        }
        if (!fits || (count > 0 ? last >= storage.elements : static_cast<uint64_t>(offset) > storage.elements))
            fail("tensor \"{}\" reaches element {} of storage \"{}\", which has {}", printable(t.name), last,
                 printable(storage.key), storage.elements);
        if (count == 0) return;
        const auto width = static_cast<uint64_t>(type.bytes);
        const uint64_t first = (storage.first + static_cast<uint64_t>(offset)) * width;
        const auto wanted = static_cast<uint64_t>(info(type.dtype).block_bytes);
        if (row_major && width == wanted) {
            t.bytes = bytes.subspan(first, count * width);
            return;
        }
        uint64_t needed = 0;
        if (__builtin_mul_overflow(count, wanted, &needed) || needed > copies_left_)
            fail("tensor \"{}\" repeats its storage to {} elements, out of proportion to the file", printable(t.name),
                 count);
        copies_left_ -= needed;
        t.bytes = out_.keep(gathered(t.shape, strides, bytes.subspan(first), type));
    }

    static std::vector<std::byte> gathered(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
                                           std::span<const std::byte> from, const TorchType& type) {
        const auto width = static_cast<size_t>(type.bytes);
        const auto wanted = static_cast<size_t>(info(type.dtype).block_bytes);
        std::vector<std::byte> result;
        size_t count = wanted;
        for (const int64_t d : shape) count *= static_cast<size_t>(d);
        result.reserve(count);
        std::vector<int64_t> index(shape.size(), 0);
        int64_t at = 0;
        while (true) {
            const std::byte* source = from.data() + static_cast<size_t>(at) * width;
            if (width == wanted) {
                result.insert(result.end(), source, source + width);
            } else {
                int16_t both = 0;
                std::memcpy(&both, source, width);
                const int32_t wide = width == 1 ? static_cast<int8_t>(both) : both;
                const auto* raw = reinterpret_cast<const std::byte*>(&wide);
                result.insert(result.end(), raw, raw + sizeof wide);
            }
            size_t d = shape.size();
            while (d > 0 && ++index[d - 1] == shape[d - 1]) {
                at -= (shape[d - 1] - 1) * strides[d - 1];
                index[--d] = 0;
            }
            if (d == 0) return result;
            at += strides[d - 1];
        }
    }

    LoadedCheckpoint& out_;
    const Tree& tree_;
    const StorageBytes& storage_;
    uint64_t copies_left_, steps_left_, kept_left_;
    size_t shown_ = 0, shown_bytes_ = 0;
    int64_t others_ = 0;
    bool wanted_ = false;  // tensors met now belong to the model
};

}  // namespace

const TorchType* torch_type(std::string_view storage) {
    const auto* found = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.storage == storage; });
    return found == kTypes.end() ? nullptr : found;
}

std::optional<TorchStorage> torch_storage(const Tree& tree, Ref node, std::string& problem) {
    const auto id = tree.items(tree.items(node)[0]);
    if (id.size() < 5 || tree.text(id[0]) != "storage" || tree.kind(id[1]) != Kind::global ||
        tree.kind(id[2]) != Kind::text || tree.text(id[2]).size() > kLongestName || !tree.is_integer(id[4]) ||
        tree.integer(id[4]) < 0) {
        problem = "its storage is not named as torch.save does";
        return std::nullopt;
    }
    TorchStorage s{.type = std::string(last_part(tree.text(id[1]))),
                   .key = std::string(tree.text(id[2])),
                   .elements = static_cast<uint64_t>(tree.integer(id[4]))};
    s.root = s.elements;
    if (!is_torch(tree.text(id[1]))) s.type = std::string(tree.text(id[1]));  // foreign: no type of ours
    if (id.size() > 5 && tree.kind(id[5]) == Kind::tuple) {
        const auto view = tree.items(id[5]);  // key, offset, elements
        if (view.size() != 3 || !tree.is_integer(view[1]) || !tree.is_integer(view[2]) || tree.integer(view[1]) < 0 ||
            tree.integer(view[2]) < 0 || static_cast<uint64_t>(tree.integer(view[1])) > s.root ||
            static_cast<uint64_t>(tree.integer(view[2])) > s.root - static_cast<uint64_t>(tree.integer(view[1]))) {
            problem = "its storage is a view that does not lie in its root";
            return std::nullopt;
        }
        s.first = static_cast<uint64_t>(tree.integer(view[1]));
        s.elements = static_cast<uint64_t>(tree.integer(view[2]));
    }
    return s;
}

void read_torch_tree(LoadedCheckpoint& out, const Tree& tree, const StorageBytes& storage, uint64_t file_bytes) {
    Reader(out, tree, storage, file_bytes).run();
}

}  // namespace wavllm
