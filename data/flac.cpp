#include "data/flac.h"

#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "tensor/error.h"

namespace wavllm {

namespace {

struct Close {
    void operator()(SNDFILE* file) const {
        sf_close(file);
    }
};

/// What libsndfile writes to: it goes back to the header at the end, so a string with a position.
struct Sink {
    std::string bytes;
    size_t position = 0;
};

SF_VIRTUAL_IO sink_callbacks() {
    SF_VIRTUAL_IO io{};
    io.get_filelen = [](void* user) -> sf_count_t {
        return static_cast<sf_count_t>(static_cast<Sink*>(user)->bytes.size());
    };
    io.seek = [](sf_count_t offset, int whence, void* user) -> sf_count_t {
        auto* sink = static_cast<Sink*>(user);
        const size_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? sink->position : sink->bytes.size();
        sink->position = base + static_cast<size_t>(offset);
        return static_cast<sf_count_t>(sink->position);
    };
    io.read = [](void* destination, sf_count_t count, void* user) -> sf_count_t {
        auto* sink = static_cast<Sink*>(user);
        const size_t n = std::min(static_cast<size_t>(count), sink->bytes.size() - sink->position);
        std::memcpy(destination, sink->bytes.data() + sink->position, n);
        sink->position += n;
        return static_cast<sf_count_t>(n);
    };
    io.write = [](const void* source, sf_count_t count, void* user) -> sf_count_t {
        auto* sink = static_cast<Sink*>(user);
        const size_t end = sink->position + static_cast<size_t>(count);
        if (end > sink->bytes.size()) sink->bytes.resize(end);
        std::memcpy(sink->bytes.data() + sink->position, source, static_cast<size_t>(count));
        sink->position = end;
        return count;
    };
    io.tell = [](void* user) -> sf_count_t { return static_cast<sf_count_t>(static_cast<Sink*>(user)->position); };
    return io;
}

}  // namespace

std::string encode_flac16(std::span<const float> samples, int rate) {
    if (samples.empty()) throw Error("encode_flac16: there are no samples");
    std::vector<int16_t> whole(samples.size());
    for (size_t i = 0; i < samples.size(); ++i) {
        if (std::isnan(samples[i])) throw Error("encode_flac16: sample {} of {} is NaN", i, samples.size());
        const double scaled = std::clamp(static_cast<double>(samples[i]) * 32768.0, -32768.0, 32767.0);
        whole[i] = static_cast<int16_t>(std::lrint(scaled));
    }
    Sink sink;
    SF_VIRTUAL_IO io = sink_callbacks();
    SF_INFO info{};
    info.samplerate = rate;
    info.channels = 1;
    info.format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
    std::unique_ptr<SNDFILE, Close> file(sf_open_virtual(&io, SFM_WRITE, &info, &sink));
    if (!file) throw Error("encode_flac16: libsndfile cannot write FLAC: {}", sf_strerror(nullptr));
    double level = 0.3;  // of 1: smaller files cost more time than they are worth
    sf_command(file.get(), SFC_SET_COMPRESSION_LEVEL, &level, sizeof(level));
    const auto n = static_cast<sf_count_t>(whole.size());
    if (sf_write_short(file.get(), whole.data(), n) != n)
        throw Error("encode_flac16: libsndfile failed: {}", sf_strerror(file.get()));
    file.reset();
    return std::move(sink.bytes);
}

int64_t flac_length(const std::filesystem::path& path, int rate) {
    SF_INFO info{};
    const std::unique_ptr<SNDFILE, Close> file(sf_open(path.c_str(), SFM_READ, &info));
    const bool fits = file && (info.format & SF_FORMAT_TYPEMASK) == SF_FORMAT_FLAC && info.channels == 1;
    return fits && info.samplerate == rate && info.frames > 0 ? info.frames : 0;
}

}  // namespace wavllm
