#pragma once

/// The version of the library, in numbers that the preprocessor compares. CMake reads them here.
#define TAPER_VERSION_MAJOR 0
#define TAPER_VERSION_MINOR 1
#define TAPER_VERSION_PATCH 0

#define TAPER_VERSION_TEXT(major, minor, patch) #major "." #minor "." #patch
#define TAPER_VERSION_OF(major, minor, patch) TAPER_VERSION_TEXT(major, minor, patch)

namespace taper {

/// The same as text, "0.1.0".
inline constexpr const char* version =
    TAPER_VERSION_OF(TAPER_VERSION_MAJOR, TAPER_VERSION_MINOR, TAPER_VERSION_PATCH);

}  // namespace taper

#undef TAPER_VERSION_OF
#undef TAPER_VERSION_TEXT
