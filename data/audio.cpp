#include "data/audio.h"

#include <sndfile.h>
#include <soxr.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "data/audio_container.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

constexpr int kLowestRate = 1000, kHighestRate = 768000;  // outside, a header is damaged rather than unusual
constexpr int64_t kLongestSeconds = 24 * 3600;            // keeps a few hostile bytes from decoding to all memory
constexpr int64_t kBlockSamples = 1 << 16;

/// libsndfile reads through this; an exception must not cross its C frames, so it is kept and thrown afterwards.
struct Stream {
    const ByteSource& bytes;
    int64_t position = 0;
    std::string error;
};

SF_VIRTUAL_IO stream_callbacks() {
    SF_VIRTUAL_IO io{};
    io.get_filelen = [](void* user) -> sf_count_t { return static_cast<Stream*>(user)->bytes.size(); };
    io.seek = [](sf_count_t offset, int whence, void* user) -> sf_count_t {
        auto* stream = static_cast<Stream*>(user);
        const int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? stream->position : stream->bytes.size();
        stream->position = std::max<int64_t>(0, base + offset);
        return stream->position;
    };
    io.read = [](void* destination, sf_count_t count, void* user) -> sf_count_t {
        auto* stream = static_cast<Stream*>(user);
        try {
            const int64_t got = stream->bytes.read_at(stream->position, destination, count);
            stream->position += got;
            return got;
        } catch (const std::exception& error) {
            stream->error = error.what();
            return 0;
        }
    };
    io.write = [](const void*, sf_count_t, void*) -> sf_count_t { return 0; };
    io.tell = [](void* user) -> sf_count_t { return static_cast<Stream*>(user)->position; };
    return io;
}

/// Mono samples, block by block.
class Decoder {
public:
    Decoder(const ByteSource& bytes, std::string name) : stream_{bytes, 0, {}}, name_(std::move(name)) {
        container_ = sniff_container(bytes, name_);
        check_complete(bytes, container_, name_);
        SF_VIRTUAL_IO io = stream_callbacks();
        file_.reset(sf_open_virtual(&io, SFM_READ, &info_, &stream_));
        if (!stream_.error.empty()) throw FileError("{}", stream_.error);
        if (!file_) throw FileError("{}: cannot decode the audio file: {}", name_, sf_strerror(nullptr));
        if (info_.samplerate < kLowestRate || info_.samplerate > kHighestRate)
            throw FileError("{}: the header gives a sample rate of {} Hz; expected {} to {}", name_, info_.samplerate,
                            kLowestRate, kHighestRate);
        if (info_.channels < 1) throw FileError("{}: the header gives {} channels", name_, info_.channels);
        block_frames_ = std::max<int64_t>(1, kBlockSamples / info_.channels);
        interleaved_.resize(static_cast<size_t>(block_frames_ * info_.channels));
    }

    int rate() const {
        return info_.samplerate;
    }
    bool can_seek() const {  // only where seeking is exact to the sample
        return info_.seekable && (container_ == Container::wav || container_ == Container::flac);
    }
    /// Skips to a frame; false if the file has no such frame.
    bool seek(int64_t frame) {
        position_ = frame;
        return sf_seek(file_.get(), frame, SEEK_SET) == frame;
    }

    /// The next block of mono samples; empty at the end.
    std::span<const float> next() {
        const int64_t frames = sf_readf_float(file_.get(), interleaved_.data(), block_frames_);
        if (!stream_.error.empty()) throw FileError("{}", stream_.error);
        if (frames < block_frames_) check_end(position_ + frames);
        const int channels = info_.channels;
        mono_.resize(static_cast<size_t>(frames));
        for (int64_t i = 0; i < frames; ++i) {
            const float* frame = interleaved_.data() + i * channels;
            double sum = 0;
            for (int c = 0; c < channels; ++c) sum += static_cast<double>(frame[c]);
            if (!std::isfinite(sum))
                throw FileError("{}: sample {} is NaN or infinite; write the file again with finite samples", name_,
                                position_ + i);
            mono_[static_cast<size_t>(i)] = static_cast<float>(sum / channels);
        }
        position_ += frames;
        return mono_;
    }

private:
    void check_end(int64_t frames_read) {
        if (const int code = sf_error(file_.get()))
            throw FileError("{}: the audio is damaged or cut off after {} samples: {}", name_, frames_read,
                            sf_error_number(code));
        // a stream of unknown length has a zero or a maximal count; a real one (36 bits in FLAC) must be reached
        if (frames_read < info_.frames && info_.frames < int64_t{1} << 40)
            throw FileError("{}: the audio is damaged or cut off: the header announces {} samples, {} could be decoded",
                            name_, info_.frames, frames_read);
    }

    struct Close {
        void operator()(SNDFILE* file) const {
            sf_close(file);
        }
    };
    Stream stream_;
    std::string name_;
    Container container_{};
    SF_INFO info_{};
    std::unique_ptr<SNDFILE, Close> file_;
    int64_t block_frames_ = 0;
    int64_t position_ = 0;
    std::vector<float> interleaved_;
    std::vector<float> mono_;
};

/// Streams blocks through soxr.
class Resampler {
public:
    Resampler(int from, int to, const std::string& name) : from_(from), to_(to), name_(name) {
        const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
        const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
        const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
        soxr_error_t error = nullptr;
        soxr_.reset(soxr_create(from, to, 1, &error, &io, &quality, &runtime));
        if (error) fail(error);
    }
    void push(std::span<const float> block, std::vector<float>& out) {
        taken_ += static_cast<int64_t>(block.size());
        process(block, out);
    }
    /// Appends what is still inside the filter, to exactly ceil(samples in * to / from) samples in all.
    void finish(std::vector<float>& out) {
        const size_t expected = static_cast<size_t>((taken_ * to_ + from_ - 1) / from_);
        // soxr rounds the length to nearest; silence behind the end makes it produce the last, partial sample too
        const std::vector<float> silence(static_cast<size_t>(from_ / to_ + 2), 0.0f);
        process(silence, out);
        std::vector<float> tail(1 << 12);
        size_t done = 0;
        do {
            if (soxr_error_t error = soxr_process(soxr_.get(), nullptr, 0, nullptr, tail.data(), tail.size(), &done))
                fail(error);
            out.insert(out.end(), tail.begin(), tail.begin() + static_cast<int64_t>(done));
        } while (done > 0);
        if (out.size() < expected) fail("too few samples came out");
        out.resize(expected);
    }

private:
    void process(std::span<const float> block, std::vector<float>& out) {
        const size_t room = block.size() * static_cast<size_t>(to_) / static_cast<size_t>(from_) + (1 << 12);
        while (!block.empty()) {
            const size_t before = out.size();
            size_t used = 0, made = 0;
            out.resize(before + room);
            soxr_error_t error =
                soxr_process(soxr_.get(), block.data(), block.size(), &used, out.data() + before, room, &made);
            out.resize(before + made);
            if (error) fail(error);
            block = block.subspan(used);
        }
    }
    [[noreturn]] void fail(const char* reason) const {
        throw FileError("{}: resampling from {} to {} Hz failed: {}", name_, from_, to_, reason);
    }
    struct Delete {
        void operator()(soxr* handle) const {
            soxr_delete(handle);
        }
    };
    int64_t from_, to_;
    const std::string& name_;
    int64_t taken_ = 0;
    std::unique_ptr<soxr, Delete> soxr_;
};

}  // namespace

std::vector<float> read_audio(const std::string& path, int target_rate, AudioSpan span) {
    const std::string name = display_name(path);
    if (target_rate < kLowestRate || target_rate > kHighestRate)
        throw UsageError("read_audio: target_rate is {} Hz; expected {} to {}", target_rate, kLowestRate, kHighestRate);
    if (span.start < 0 || span.end <= span.start)
        throw FileError("{}: start_frame {} and end_frame {} do not make a span; expected 0 <= start < end", name,
                        span.start, span.end);
    const std::unique_ptr<ByteSource> bytes = open_bytes(path);
    Decoder decoder(*bytes, name);
    std::unique_ptr<Resampler> resampler;
    if (decoder.rate() != target_rate) resampler = std::make_unique<Resampler>(decoder.rate(), target_rate, name);

    std::vector<float> out;
    int64_t first = 0;  // position of out[0] in the clip
    if (!resampler && span.start > 0 && decoder.can_seek() && decoder.seek(span.start)) first = span.start;
    bool ended = false;
    while (!ended && first + static_cast<int64_t>(out.size()) < span.end) {
        const std::span<const float> block = decoder.next();
        ended = block.empty();
        if (resampler) {
            ended ? resampler->finish(out) : resampler->push(block, out);
        } else {
            out.insert(out.end(), block.begin(), block.end());
        }
        if (static_cast<int64_t>(out.size()) > kLongestSeconds * target_rate)
            throw FileError("{}: is longer than {} hours; split it", name, kLongestSeconds / 3600);
    }
    const int64_t length = first + static_cast<int64_t>(out.size());
    if (length == 0) throw FileError("{}: the audio file holds no samples", name);
    if (span.start >= length || (ended && span.end != AudioSpan::kToEnd && span.end > length))
        throw FileError("{}: the span from start_frame {} to {} is not inside the clip, which has {} samples at {} Hz",
                        name, span.start, span.end == AudioSpan::kToEnd ? "the end" : std::to_string(span.end), length,
                        target_rate);
    out.resize(static_cast<size_t>(std::min(length, span.end) - first));
    out.erase(out.begin(), out.begin() + (span.start - first));
    return out;
}

void write_wav16(const std::string& path, std::span<const float> samples, int rate) {
    const size_t data_bytes = samples.size() * 2;
    if (data_bytes > 0x7FFFF000u - 36)
        throw FileError("{}: {} samples are too many for a wav file; split them", path, samples.size());
    std::vector<unsigned char> bytes;
    bytes.reserve(44 + data_bytes);
    const auto text = [&](const char* id) { bytes.insert(bytes.end(), id, id + 4); };
    const auto number = [&](uint32_t value, int n) {
        for (int i = 0; i < n; ++i) bytes.push_back(static_cast<unsigned char>(value >> (8 * i)));
    };
    text("RIFF"), number(static_cast<uint32_t>(36 + data_bytes), 4), text("WAVE");
    text("fmt "), number(16, 4), number(1, 2), number(1, 2);  // PCM, one channel
    number(static_cast<uint32_t>(rate), 4), number(static_cast<uint32_t>(rate) * 2, 4), number(2, 2), number(16, 2);
    text("data"), number(static_cast<uint32_t>(data_bytes), 4);
    for (size_t i = 0; i < samples.size(); ++i) {
        if (std::isnan(samples[i])) throw FileError("{}: sample {} is NaN; nothing was written", path, i);
        const double scaled = std::clamp(static_cast<double>(samples[i]) * 32768.0, -32768.0, 32767.0);
        number(static_cast<uint16_t>(static_cast<int16_t>(std::lrint(scaled))), 2);
    }
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (!file) throw FileError("{}: cannot write: {}", path, std::strerror(errno));
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    const int error = errno;
    if (std::fclose(file) != 0 || !written)
        throw FileError("{}: cannot write: {}", path, std::strerror(written ? errno : error));
}

}  // namespace wavllm
