#pragma once

#include <filesystem>
#include <string>

namespace taper::data {

/// The bytes of a file as they are stored. `where` names the reader in errors. Throws Error when the file is
/// missing, not a regular file or unreadable.
std::string read_bytes(const std::filesystem::path& path, const char* where);

/// The bytes of a file. A gzip file, known by its first two bytes, is unpacked, all its members one after the
/// other. `where` names the reader in errors. Throws Error when the file is missing, not a regular file or
/// unreadable, and when gzip data is damaged, cut short, or followed by anything but zero padding.
std::string read_file(const std::filesystem::path& path, const char* where);

}  // namespace taper::data
