#pragma once
// What a sound file says about its own length, checked against the bytes that are there. libsndfile shortens a cut wav
// or ogg file without a word; training on half a clip with the whole transcript is the kind of error nobody ever finds.

#include <cstdint>
#include <memory>
#include <string>

namespace wavllm {

/// Random-access bytes of one file, pipe or stdin.
class ByteSource {
public:
    virtual ~ByteSource() = default;
    virtual int64_t size() const = 0;
    /// Copies up to n bytes from offset; returns how many there were. Throws FileError on an I/O error.
    virtual int64_t read_at(int64_t offset, void* destination, int64_t n) const = 0;
};

/// Opens a path, or stdin for "-". Regular files are read where needed; pipes and stdin are held in memory whole.
/// Throws FileError if it is missing, not readable, a folder, or empty.
std::unique_ptr<ByteSource> open_bytes(const std::string& path);

/// The name that messages use: the path, or "standard input" for "-".
std::string display_name(const std::string& path);

enum class Container { wav, flac, ogg, mp3 };

/// The container that the first bytes show. Throws FileError if it is none of the four.
Container sniff_container(const ByteSource& bytes, const std::string& name);

/// Throws FileError if the container's own lengths run past the end of the file: a RIFF or RF64 chunk, or the last Ogg
/// page (which must also carry the end-of-stream flag, RFC 3533 section 6). FLAC and MP3 state their length in samples;
/// the reader compares that after decoding. A wav data chunk of length 0xFFFFFFFF or 0x7FFFF000..0x80000000 means
/// "unknown", as programs that write to a pipe leave it, and is taken to reach to the end.
void check_complete(const ByteSource& bytes, Container container, const std::string& name);

}  // namespace wavllm
