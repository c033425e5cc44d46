#include <taper/autodiff/op.hpp>

#include <algorithm>

namespace taper {
namespace {

template <class T> std::vector<const Op<T>*>& entries() {
  // Operations are constants of many files, made and destroyed in no particular order: the list must be
  // there before the first and after the last, so it is never destroyed.
  static auto* list = new std::vector<const Op<T>*>;
  return *list;
}

}  // namespace

template <class T> Op<T>::Op(const OpRecord<T>& record) : OpRecord<T>(record) {
  entries<T>().push_back(this);
}

template <class T> Op<T>::~Op() {
  std::erase(entries<T>(), this);
}

template <class T> std::span<const Op<T>* const> Op<T>::registry() {
  return entries<T>();
}

template class Op<float>;
template class Op<double>;

}  // namespace taper
