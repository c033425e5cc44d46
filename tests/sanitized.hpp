#pragma once

/// TAPER_SANITIZED is defined, and `sanitized` true, where the tests are compiled with a sanitizer that has
/// its own allocator and uses address space as it likes: there is nothing to count or to limit then.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAPER_SANITIZED  // as GCC says it
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define TAPER_SANITIZED  // as clang does
#endif
#endif

#ifdef TAPER_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
