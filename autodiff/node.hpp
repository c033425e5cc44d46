#pragma once

#include <cstdint>

#include <taper/autodiff/aligned.hpp>
#include <taper/autodiff/attributes.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper {

template <class T> class Op;

/// One line of the tape: which operation, on which inputs, giving what. A leaf has no operation: its value
/// is put there from outside. What every pass reads comes first, in one cache line.
template <class T> struct alignas(alignment) Node {
  Node() {}  // with `= default`, all of it would be cleared first

  const Op<T>* op = nullptr;
  T* value = nullptr;
  T* gradient = nullptr;
  std::uint64_t written = 0;      // the backward pass that last wrote its gradient
  std::uint32_t first_input = 0;  // where the tape lists the inputs
  std::uint32_t inputs = 0;       // how many there are
  bool requires_grad = false;     // for a computed one: because some leaf below it does
  bool writable = false;          // a leaf whose value the caller may replace
  Shape shape;                    // its size first
  T* scratch = nullptr;
  Attributes attributes;
  std::uint32_t label = 0;  // the module that recorded it, or a leaf's own name
};

}  // namespace taper
