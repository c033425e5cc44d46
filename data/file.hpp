#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace taper::data {

/// Throws Error, in the name of `where`, unless the path leads to a regular file.
void require_regular(const std::string& path, const char* where);

/// The bytes of a file as they are stored. `where` names the reader in errors. Throws Error when the file is
/// missing, not a regular file, unreadable, or larger than the memory that is free.
std::string read_bytes(const std::string& path, const char* where);

/// What a gzip file may unpack to: this many times its size, or this many bytes, whichever is more. Tables of
/// numbers unpack to some 2 to 20 times their size; a file made to exhaust the memory, to 1000 times.
inline constexpr std::uint64_t most_unpacked_ratio = 100, most_unpacked_small = std::uint64_t{256} << 20;

/// What gzip data unpack to, all members one after the other; `source` stands for the file in errors. Throws
/// Error as read_file does.
std::string gunzip(std::string_view packed, const std::string& source, const char* where);

/// The bytes of a file. A gzip file, known by its first two bytes, is unpacked, all its members one after the
/// other. `where` names the reader in errors. Throws Error when the file is missing, not a regular file or
/// unreadable, when gzip data is damaged, cut short, or followed by anything but zero padding, and when it
/// unpacks to more than is allowed above or than the memory that is free.
std::string read_file(const std::string& path, const char* where);

/// All that comes from standard input until it ends, unpacked like a file. Throws Error when it cannot be
/// read, and like read_file.
std::string read_standard_input(const char* where);

}  // namespace taper::data
