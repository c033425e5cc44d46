#pragma once

#include <cstddef>
#include <string_view>

#include <taper/autodiff/shape.hpp>

/// The types of elements in safetensors files. Those that are read as numbers are F16, BF16, F32 and F64.
namespace taper::io {

/// What T is called in files.
template <class T> constexpr const char* dtype_of = sizeof(T) == 4 ? "F32" : "F64";

/// Bytes of one element of BOOL or of one of the four; 0 for any other.
std::size_t bytes_of(std::string_view dtype);

/// Whether it is one of the four.
bool is_floating(std::string_view dtype);

/// The position of the first stored element that is finite and beyond what T can hold, or `count` if there is
/// none. `from` need not be aligned.
template <class T> Index find_overflow(std::string_view dtype, const char* from, Index count);

/// Reads stored elements as T, `dtype` being one of the four. A wider T takes them exactly, subnormal ones
/// too; a narrower one the nearest that it has, of two as near the one whose last bit is 0 (IEEE 754). What
/// is beyond its largest becomes infinite; a NaN stays one, and keeps its bits where nothing is converted.
/// `from` need not be aligned.
template <class T> void convert(std::string_view dtype, const char* from, Index count, T* to);

}  // namespace taper::io
