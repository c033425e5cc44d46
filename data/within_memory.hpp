#pragma once

#include <new>
#include <stdexcept>
#include <string_view>

#include <taper/autodiff/error.hpp>

namespace taper::data {

/// What `read` returns; what does not fit in memory is an Error of `where` that names `source`.
template <class Read> auto within_memory(const Read& read, std::string_view source, std::string_view where) {
  try {
    return read();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  throw Error(where, source, " does not fit in memory: expected as much to be free");
}

}  // namespace taper::data
