#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <taper/autodiff/tensor.hpp>

namespace taper::data {

/// A number that depends on every bit of these bytes and on what came before: other bytes have another one,
/// but for one case in 2^64 and those that somebody makes on purpose. The same on every platform.
std::uint64_t checksum(std::string_view bytes, std::uint64_t before = 0);

/// The same of columns: of their shapes and the bytes of their elements.
template <class T> std::uint64_t checksum(std::span<const View<const T>> columns);

}  // namespace taper::data
