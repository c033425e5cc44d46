#include <taper/autodiff/op.hpp>

#include <algorithm>

#include <taper/instantiate.hpp>

namespace taper {
namespace {

template <class T> std::vector<const Op<T>*>& entries() {
  // Operations are constants of many files, made and destroyed in no particular order: the list must be
  // there before the first and after the last, so it is never destroyed.
  static auto* list = new std::vector<const Op<T>*>;
  return *list;
}

/// Throws the Error of a record that is not complete, or contradicts itself.
template <class T> void require_complete(const OpRecord<T>& record) {
  if (record.name.empty()) throw Error("op", "a record without a name: expected one");
  const auto refuse = [&](const auto&... parts) { throw Error(record.name, "a record ", parts...); };
  const Arity& arity = record.arity;
  if (arity.most == 0) refuse("without arity: expected the number of inputs");
  if (arity.least < 1 || arity.least > arity.most) {
    refuse("for ", arity.least, " to ", arity.most, " inputs: expected 1 <= least <= most");
  }
  if (record.shape == nullptr) refuse("without shape: expected a rule");
  if (record.forward == nullptr) refuse("without forward: expected a function that writes the output");
  for (const AttributeField& field : record.attributes.list) {
    if (record.attributes.find(field.name()) != &field) {
      refuse("with two settings '", field.name(), "': expected names of their own");
    }
  }
  const auto beyond = [&](unsigned bits) { return arity.most < 32 && (bits >> arity.most) != 0; };
  if (beyond(record.constants) || beyond(record.reads_before_write)) {
    refuse("that marks an input beyond its ", arity, ": expected marks of those alone");
  }
  if (record.no_derivative) {
    if (record.backward != nullptr) refuse("with backward and no_derivative: expected one of them");
    return;
  }
  if (record.backward == nullptr) {
    refuse("without backward: expected a function that writes gradients, or no_derivative");
  }
  const bool all_constant = arity.most < 32 && record.constants == (1u << arity.most) - 1;
  if (all_constant) refuse("with backward, all of whose inputs are constants: expected no_derivative");
}

}  // namespace

namespace detail {

void throw_no_input(std::string_view name, Index input, Index inputs) {
  throw Error(name, "reads input ", input, " (counted from 0) of ", inputs,
              ": expected a record whose arity says so");
}

}  // namespace detail

template <class T> Op<T>::Op(const OpRecord<T>& record) : OpRecord<T>(record) {
  require_complete(record);
  if (find(record.name) != nullptr)
    throw Error(record.name, "a second operation of this name: expected another");
  entries<T>().push_back(this);
}

template <class T> Op<T>::~Op() {
  std::erase(entries<T>(), this);
}

template <class T> std::span<const Op<T>* const> Op<T>::registry() {
  return entries<T>();
}

template <class T> const Op<T>* Op<T>::find(std::string_view name) {
  const auto found = std::ranges::find(entries<T>(), name, [](const Op* op) { return op->name; });
  return found == entries<T>().end() ? nullptr : *found;
}

TAPER_INSTANTIATE_CLASS(Op)

}  // namespace taper
