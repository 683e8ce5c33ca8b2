// Hostile files of torch.save: each is refused in one line, runs nothing and allocates nothing out of proportion.
// Witness: none needed; the files are made to be wrong in one place each.

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <random>

#include "models/checkpoint/checkpoint.h"
#include "tensor/error.h"
#include "tests/checkpoint/torch_files.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// Peak resident memory of this process since the last begin_peak(), in bytes.
int64_t peak_memory() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
    FAIL("/proc/self/status has no VmHWM");
    return 0;
}
int64_t begin_peak() {
    std::ofstream("/proc/self/clear_refs") << "5" << std::flush;  // else other tests' peak would hide what is measured
    return peak_memory();
}

/// What a refusal may take; the address sanitizer keeps what was freed.
#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kAllowance = int64_t{600} << 20;
#else
constexpr int64_t kAllowance = int64_t{100} << 20;
#endif

/// The one line that refuses the file; "" if it was accepted.
std::string refusal(const std::string& content) {
    static TempFolder folder;
    const auto path = folder.write("hostile.pt", content);
    const std::string line = message_of<FileError>([&] { open_checkpoint(path); });
    CHECK(line.find('\n') == std::string::npos);
    return line;
}
void check_refused(const std::string& content, const std::string& because) {
    const int64_t before = begin_peak();
    const std::string line = refusal(content);
    INFO(line);
    CHECK(line.find(because) != std::string::npos);
    CHECK(peak_memory() - before < kAllowance);
}

std::string in_archive(const PickleText& p) {
    PickleText copy = p;
    return torch_archive(copy.end());
}

enum class Outcome { accepted, refused };
Outcome survives(const std::filesystem::path& path) {
    try {
        const auto file = open_checkpoint(path);
        size_t sum = 0, total = 0;
        for (const StoredTensor& t : file->tensors()) {
            total += t.bytes.size();
            for (const std::byte byte : t.bytes) sum += static_cast<size_t>(byte);
        }
        file->metadata().dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
        CHECK(sum <= 255 * total);
        return Outcome::accepted;
    } catch (const FileError& error) {
        CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        return Outcome::refused;
    }
}

}  // namespace

TEST_CASE("hostile torch file: calls of the system") {
    const auto mark = std::filesystem::temp_directory_path() / "wavllm-was-here";
    std::filesystem::remove(mark);
    for (const auto& [module, name] :
         {std::pair("os", "system"), std::pair("posix", "system"), std::pair("builtins", "eval"),
          std::pair("__builtin__", "exec"), std::pair("subprocess", "Popen"), std::pair("runpy", "run_path")}) {
        PickleText p;
        p.global(module, name).op('(').text("touch " + mark.string()).op('t').op('R');
        check_refused(in_archive(p), std::string(module) + "." + name + ", which no checkpoint needs: nothing was run");
    }
    // the same by STACK_GLOBAL, inside the state dict, and as a callee that is itself a call
    PickleText p;
    p.op('}').text("w").text("posix").text("system").op('\x93').op('(').text("true").op('t').op('R').op('s');
    check_refused(in_archive(p), "posix.system");
    PickleText q;
    q.op('}').text("w").global("some.lib", "f").op(')').op('R').op('(').text("x").op('t').op('R').op('s');
    CHECK(refusal(in_archive(q)).empty());  // inert: a call of what a call would give
    CHECK(!std::filesystem::exists(mark));
}

TEST_CASE("hostile torch file: storages and tensors that do not fit") {
    const auto with = [](const std::string& key, int64_t elements, int64_t offset, const std::vector<int64_t>& shape,
                         const std::vector<int64_t>& strides) {
        return in_archive(PickleText().op('}').text("w").tensor(key, elements, offset, shape, strides).op('s'));
    };
    CHECK(refusal(with("0", 6, 0, {2, 3}, {3, 1})).empty());
    check_refused(with("0", int64_t{1} << 40, 0, {int64_t{1} << 40}, {1}), "should have 1099511627776 elements");
    check_refused(with("0", INT64_MAX, 0, {1}, {1}), "should have 9223372036854775807 elements");
    check_refused(with("0", -6, 0, {1}, {1}), "not named as torch.save does");
    check_refused(with("9", 6, 0, {1}, {1}), "storage \"9\" is not in the archive");
    check_refused(with("../../etc/passwd", 6, 0, {1}, {1}), "is not in the archive");
    check_refused(with("0", 6, 4, {3}, {1}), "reaches element 6");
    check_refused(with("0", 6, -1, {3}, {1}), "reaches");
    check_refused(with("0", 6, 0, {2, 3}, {4, 1}), "reaches element 6");
    check_refused(with("0", 6, 0, {2, 2}, {INT64_MAX, INT64_MAX}), "reaches");
    check_refused(with("0", 6, 0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0}), "more elements than 63 bits");
    check_refused(with("0", 6, 0, {int64_t{1} << 40}, {0}), "out of proportion");
    check_refused(with("0", 6, 0, {-1}, {1}), "whole numbers");
    check_refused(with("0", 6, 0, {2, 3}, {1}), "2 dimensions, but 1 strides");
    check_refused(with("0", 6, 0, std::vector<int64_t>(40, 1), std::vector<int64_t>(40, 1)), "at most 16");
    PickleText twice;
    twice.op('}').op('(').text("w").tensor("0", 6, 0, {6}, {1}).text("w").tensor("0", 6, 0, {6}, {1}).op('u');
    check_refused(in_archive(twice), "there twice");
    // many tensors that each repeat their storage, though none is large
    PickleText many;
    many.op('}').op('(');
    for (int i = 0; i < 2000; ++i) many.text("w" + std::to_string(i)).tensor("0", 6, 0, {1000, 1000}, {0, 0});
    check_refused(in_archive(many.op('u')), "out of proportion");
}

TEST_CASE("hostile torch file: pickles that are out of all proportion") {
    const size_t million = 1'000'000;
    PickleText self;  // a list that contains itself, by memo
    self.op(']').op('q').op('\0').op('h').op('\0').op('a');
    check_refused(in_archive(self), "contains itself");
    PickleText own_dict;  // and a dictionary
    own_dict.op('}').op('q').op('\0').text("k").op('h').op('\0').op('s');
    check_refused(in_archive(own_dict), "contains itself");
    PickleText deep;
    deep.op(')');
    for (size_t i = 0; i < 200'000; ++i) deep.op('\x85');
    check_refused(in_archive(deep), "nested deeper");
    PickleText laughs;  // ten lists, each ten times the one before
    laughs.op(']').op('q').op('\0');
    for (char level = 1; level < 30; ++level) {
        laughs.op(']').op('q').op(level).op('(');
        for (int i = 0; i < 10; ++i) laughs.op('h').op(static_cast<char>(level - 1));
        laughs.op('e');
    }
    check_refused(in_archive(laughs), "refer to each other more than");
    PickleText memo;
    memo.op('N').op('r').out.put<uint32_t>(0x7FFFFFFF);
    check_refused(in_archive(memo), "memo index 2147483647");
    PickleText unwritten;
    unwritten.op('j').out.put<uint32_t>(5);
    check_refused(in_archive(unwritten), "reads memo 5");
    PickleText objects;
    objects.out.text.append(2 * million, ']');
    check_refused(in_archive(objects), "more than 1000000 objects");
    PickleText marks;
    marks.out.text.append(8 * million, '(');
    check_refused(in_archive(marks), "takes more from its stack");
    PickleText long_text;
    long_text.op('X').out.put<uint32_t>(0xFFFFFFF0);
    check_refused(in_archive(long_text), "cut off");
    PickleText long_text8;
    long_text8.op('\x8d').out.put<uint64_t>(uint64_t{1} << 62);
    check_refused(in_archive(long_text8), "bytes");
    PickleText name;
    name.op('c').out.text.append(million, 'm');
    check_refused(in_archive(name), "does not end within");
    PickleText key;
    key.op('}').text(std::string(100'000, 'k')).integer(1).op('s');
    check_refused(in_archive(key), "longer than 512 bytes");
    // wrong by one opcode
    check_refused(in_archive(PickleText().op('t')), "a mark that it never set");
    check_refused(in_archive(PickleText().op('0')), "takes more from its stack");
    check_refused(in_archive(PickleText().op('(').op('R')), "takes more from its stack");
    check_refused(in_archive(PickleText().op('N').op('N').op('a')), "no container");
    check_refused(in_archive(PickleText().op('}').op('(').op('N').op('u')), "key without a value");
    check_refused(in_archive(PickleText().op('\x82')), "opcode 0x82");
    check_refused(in_archive(PickleText().op('i')), "opcode 0x69");
    check_refused(torch_archive("\x80\x09."), "protocol 9");
    check_refused(torch_archive(""), "cut off");
}

namespace {

/// So many levels of lists, each `fan` times the one before, the first of `leaf`; all under one long key.
std::string nested_lists(const PickleText& leaf, int levels, int fan) {
    PickleText p = leaf;
    p.op('q').op('\0');
    for (int level = 0; level < levels; ++level) {
        p.op('0').op(']').op('(');
        for (int i = 0; i < fan; ++i) p.op('h').op(static_cast<char>(level));
        p.op('e').op('q').op(static_cast<char>(level + 1));
    }
    p.op('0').op('}').op('(').text(std::string(480, 'k')).op('h').op(static_cast<char>(levels)).op('u');
    return in_archive(p);
}

}  // namespace

TEST_CASE("hostile torch file: shared lists make little out of little") {
    const PickleText tensor = PickleText().tensor("0", 6, 0, {6}, {1});
    const auto seconds_of = [](const auto& run) {
        const auto begin = std::chrono::steady_clock::now();
        run();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    const double time = seconds_of([&] {
        check_refused(nested_lists(tensor, 3, 157), "out of proportion to the");  // 3.9 million tensors in 2 kB
        check_refused(
            nested_lists(PickleText().global("torch._utils", "_rebuild_sparse_tensor").op(')').op('R'), 3, 157),
            "out of proportion to the");
        check_refused(nested_lists(PickleText().global("some.lib", "Box").op('(').op(']').op('t').op('R'), 3, 157),
                      "out of proportion to the");
    });
    CHECK(time < 20);
    // values that are shown, not refused: a few are
    const int64_t before = begin_peak();
    CHECK(refusal(nested_lists(PickleText().text(std::string(190, 'v')), 2, 157)).empty());
    CHECK(peak_memory() - before < kAllowance);
    // a dictionary that is the first of its own many values
    PickleText own;
    own.text("k").op('q').op('\1').op('0').op('}').op('q').op('\0').op('(');
    for (int i = 0; i < 2'000'000; ++i) own.op('h').op('\1').op('h').op('\0');
    check_refused(in_archive(own.op('u')), "contains itself");
    // what a checkpoint does share loads: eight models of the same 200 tensors
    PickleText models;
    models.op('}').op('(');
    for (int i = 0; i < 200; ++i) models.text("encoder.layers.weight" + std::to_string(i)).tensor("0", 6, 0, {6}, {1});
    models.op('u').op('q').op('\0').op('0').op('}').op('(');
    for (int i = 0; i < 8; ++i) models.text("model" + std::to_string(i)).op('h').op('\0');
    TempFolder folder;
    const auto shared_models = open_checkpoint(folder.write("shared.pt", in_archive(models.op('u'))));
    CHECK(shared_models->tensors().size() == 1600);
    CHECK(shared_models->at("model7.encoder.layers.weight199").bytes.size() == 24);
}

TEST_CASE("hostile torch file: a memo index as large as a hole in the file") {
    TempFolder folder;
    Bytes legacy;  // magic number, protocol, system; then a None put at 590 million
    legacy.raw("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02Nr");
    legacy.put<uint32_t>(590'000'000).raw(".");
    const auto path = folder.write("sparse.pt", legacy.text);
    std::filesystem::resize_file(path, 600'000'000);  // takes no room on the disk
    const int64_t before = begin_peak();
    const std::string line = message_of<FileError>([&] { open_checkpoint(path); });
    CHECK(line.find("memo index 590000000, but has written to its memo 0 times") != std::string::npos);
    CHECK(peak_memory() - before < kAllowance);
}

TEST_CASE("hostile torch file: archives that lie") {
    const std::string pickle = PickleText().op('}').text("w").tensor("0", 6, 0, {6}, {1}).op('s').end();
    using Lies = ZipText::Lies;
    const auto archive = [&](const Lies& lies, const std::string& name = "a/data/0") {
        return ZipText().add("a/data.pkl", pickle).add(name, floats(6), lies).end();
    };
    CHECK(refusal(archive({})).empty());
    check_refused(archive({.method = 8}), "is compressed");
    check_refused(archive({.method = 8, .unpacked_more = (int64_t{1} << 32) - 100}), "is compressed");  // zip bomb
    check_refused(archive({.unpacked_more = 1000}), "is compressed");
    check_refused(archive({.unpacked_more = 1 << 30, .packed_more = 1 << 30}), "lies outside");
    check_refused(archive({.flags = 1}), "encrypted");
    check_refused(archive({.offset_more = 3}), "not where the directory says");
    check_refused(archive({.offset_more = 1 << 28}), "not where the directory says");
    check_refused(archive({.local_name = "a/data/1"}), "another name");
    for (const char* name : {"../a/data/0", "a/../../x", "/etc/passwd", "a\\..\\x", ".."})
        check_refused(archive({}, name), "leaves its folder");
    check_refused(archive({}, std::string("a/da\0ta", 7)), "leaves its folder");
    check_refused(ZipText().add("a/data.pkl", pickle).add("a/x", "1").add("a/x", "2").end(), "there twice");
    check_refused(ZipText().add("a/data.pkl", pickle).end(7), "cannot");
    check_refused(ZipText().add("a/data.pkl", pickle).end(60000), "cannot hold");
    check_refused(ZipText().add("a/other", pickle).end(), "without NAME/data.pkl");
    check_refused(ZipText().add("a/data.pkl", pickle).add("a/byteorder", "big").end(), "byte order");
    // two members on the same bytes: the second one's local header is inside the first one's data
    const std::string inner = ZipText().add("a/data/1", floats(2)).end();
    const std::string local = inner.substr(0, 30 + 8 + 8);
    check_refused(ZipText()
                      .add("a/data.pkl", pickle)
                      .add("a/data/0", local)
                      .add("a/data/1", "", {.unpacked_more = 8, .packed_more = 8, .offset_more = -46})
                      .end(),
                  "overlap");
}

TEST_CASE("hostile torch file: cut off at every byte") {
    for (const char* name : {"golden/torch_variants.pt", "golden/torch_variants_legacy.pt"}) {
        const std::string whole = read_all(shared(name));
        TempFolder folder;
        for (size_t n = 0; n < whole.size(); ++n) {
            INFO(name << " cut to " << n);
            CHECK(survives(folder.write("cut.pt", whole.substr(0, n))) == Outcome::refused);
        }
    }
}

TEST_CASE("hostile torch file: bytes flipped, whole files and the pickle within") {
    TempFolder folder;
    std::mt19937 random(6);
    const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
    const auto mutate = [&](std::string text, size_t begin, size_t end) {
        for (size_t changes = 1 + below(3); changes > 0; --changes) {
            char& c = text[begin + below(end - begin)];
            switch (below(3)) {
                case 0: c = static_cast<char>(below(256)); break;
                case 1: c = static_cast<char>(c ^ (1 << below(8))); break;
                case 2: c = static_cast<char>(c + 1); break;
            }
        }
        return text;
    };
    const int64_t before = begin_peak();
    const std::string fixed = small_torch();
    struct Seed {
        std::string bytes;
        size_t begin, end;
        int files;
    };
    std::vector<Seed> seeds{{fixed, 0, fixed.size(), 2000}};
    for (const char* name : {"torch_variants.pt", "torch_variants_legacy.pt", "torch_variants_foreign.pt"}) {
        const std::string whole = read_all(shared(std::string("golden/") + name));
        seeds.push_back({whole, 0, whole.size(), 1500});
        seeds.push_back({whole, 64, 2000, 3000});  // the pickle
    }
    const std::string released = read_all(shared("golden/final_f16.pt"));
    seeds.push_back({released, 64, 40000, 60});                                 // the pickle
    seeds.push_back({released, released.size() - 30000, released.size(), 60});  // the directory
    for (const Seed& seed : seeds) {
        int accepted = 0;
        for (int i = 0; i < seed.files; ++i)
            accepted += survives(folder.write("m.pt", mutate(seed.bytes, seed.begin, seed.end))) == Outcome::accepted;
        // if none or all got through, the mutations would test nothing
        CHECK(accepted > 0);
        CHECK(accepted < seed.files);
    }
    CHECK(peak_memory() - before < kAllowance);
}
