#include "data/synth/voices.h"

#include <algorithm>
#include <set>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

using enum SpeechEngine;

constexpr Voice kVoices[] = {
    // statistical parametric voices of CMU ARCTIC readers: an American woman, an American man, a Scot
    {"flite-slt", flite, "slt"},
    {"flite-slt-large", flite, "slt", 0.90},
    {"flite-slt-small", flite, "slt", 1.10},
    {"flite-rms", flite, "rms"},
    {"flite-rms-large", flite, "rms", 0.91},
    {"flite-rms-small", flite, "rms", 1.13},
    {"flite-awb", flite, "awb"},
    {"flite-awb-large", flite, "awb", 0.92},
    {"flite-awb-small", flite, "awb", 1.14},
    // diphones of an American man
    {"flite-kal", flite, "kal16"},
    {"flite-kal-large", flite, "kal16", 0.90},
    {"flite-kal-small", flite, "kal16", 1.16},
    {"espeak-gb", espeak, "gmw/en"},
    {"espeak-gb-f2", espeak, "gmw/en+f2"},
    {"espeak-gb-annie", espeak, "gmw/en+Annie"},
    {"espeak-gb-klatt4", espeak, "gmw/en+klatt4"},
    {"espeak-us", espeak, "gmw/en-US"},
    {"espeak-us-f3", espeak, "gmw/en-US+f3"},
    {"espeak-us-m3", espeak, "gmw/en-US+m3"},
    {"espeak-us-andy", espeak, "gmw/en-US+Andy"},
    {"espeak-us-steph", espeak, "gmw/en-US+steph"},
    {"espeak-us-klatt2", espeak, "gmw/en-US+klatt2"},
    {"espeak-us-michael", espeak, "gmw/en-US+Michael"},
    {"espeak-us-belinda", espeak, "gmw/en-US+belinda"},
    {"espeak-nyc", espeak, "gmw/en-US-nyc+m1"},
    {"espeak-nyc-f4", espeak, "gmw/en-US-nyc+f4"},
    {"espeak-scotland", espeak, "gmw/en-GB-scotland"},
    {"espeak-scotland-f1", espeak, "gmw/en-GB-scotland+f1"},
    {"espeak-rp-m7", espeak, "gmw/en-GB-x-rp+m7"},
    {"espeak-rp-alicia", espeak, "gmw/en-GB-x-rp+Alicia"},
    {"espeak-lancaster-m2", espeak, "gmw/en-GB-x-gbclan+m2"},
    {"espeak-midlands-f5", espeak, "gmw/en-GB-x-gbcwmd+f5"},
    {"espeak-caribbean", espeak, "gmw/en-029+m4"},
    {"espeak-caribbean-linda", espeak, "gmw/en-029+linda"},
};

bool matches(std::string_view name, std::string_view wanted) {
    if (wanted == "all") return true;
    if (wanted.ends_with('*')) return name.starts_with(wanted.substr(0, wanted.size() - 1));
    return name == wanted;
}

}  // namespace

std::span<const Voice> all_voices() {
    return kVoices;
}

std::vector<Voice> find_voices(std::string_view list) {
    std::set<std::string_view> chosen;
    while (true) {
        const size_t comma = list.find(',');
        const std::string_view wanted = list.substr(0, comma);
        bool found = false;
        for (const Voice& v : kVoices)
            if (matches(v.name, wanted)) {
                chosen.insert(v.name);
                found = true;
            }
        if (!found) {
            std::vector<std::string> known;
            for (const Voice& v : kVoices) known.emplace_back(v.name);
            throw UsageError("there is no voice \"{}\"; did you mean {}? (all, flite-* and espeak-* name several)",
                             printable(wanted), nearest_name(wanted, known));
        }
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    std::vector<Voice> voices;
    for (const Voice& v : kVoices)
        if (chosen.count(v.name)) voices.push_back(v);
    return voices;
}

}  // namespace wavllm
