#pragma once

#include <filesystem>
#include <string>

/// What programs write: files, as a whole or not at all, and standard output, which is looked after.
namespace taper::apps {

/// Makes sure that no file that is opened later takes the place of a standard stream that is closed. To be
/// called first.
void hold_standard_streams();

/// Throws Error when something that was printed could not be written.
void flush_standard_output();

/// Whether a file can be written; asked before the work is done, without making it.
bool can_be_written(const std::filesystem::path& path);

/// What an option that names a file to write expected in place of this: nothing, if it can be written.
const char* expected_file(const std::string& path);
/// The same where - is standard output.
const char* expected_file_or_output(const std::string& path);

/// Two arguments of a command line that may be -, by name and value.
struct StreamArgument {
  const char* name;
  const std::string& value;
};
/// Throws Error, by the name of `where`, when both are -; `stream` is what that stands for.
void require_one_stream(const char* where, const StreamArgument& a, const StreamArgument& b,
                        const char* stream);

/// Says something on standard error, unless quiet.
void tell(bool quiet, const std::string& line);

/// Notes a file that is read or written: nothing else is written over it.
void note_file(const std::filesystem::path& path);

/// Throws Error, by the name of `where`, for a file that this program has read or written.
void require_unused(const std::filesystem::path& path, const char* where);

/// Writes a text, as valid UTF-8. Throws Error, by the name of `where`, when that cannot be done, and for a
/// file that this program has read or written.
void write_file(const std::filesystem::path& path, const std::string& text, const char* where);

}  // namespace taper::apps
