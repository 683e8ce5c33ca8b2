#pragma once
// The members of a zip archive as ranges of its memory map: for files that store without compression, as torch.save
// does. (models/download/wheel.h unpacks compressed archives.)

#include <map>
#include <memory>
#include <string>

#include "models/checkpoint/mapped_file.h"

namespace wavllm {

/// Reads the directory of an archive: zip and zip64, one disk. Throws FileError, naming the file and the member, for a
/// member that is compressed or encrypted (so there is no bomb to unpack), has a size that disagrees with itself, lies
/// outside the file or over another, or has a name that leaves its folder or occurs twice. Checksums of the members are
/// not compared, as torch.load does not: that would read the whole file, and torch can be told to leave them out.
std::map<std::string, std::span<const std::byte>, std::less<>> stored_zip_members(const MappedFile& file);

}  // namespace wavllm
