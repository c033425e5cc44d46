#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper {

namespace detail {
/// Throws the Error of settings that were read as those of another type.
[[noreturn]] void throw_other_attributes();
}  // namespace detail

/// The settings of one use of an operation (an axis, a slope, the ends of a slice), copied into its node.
/// They are a small struct of the operation's own, held in place:
///
///     struct SliceAttributes { Index axis, begin, end; };
///     apply(slice_op<T>, {x}, SliceAttributes{1, 0, 3});
///     const auto [axis, begin, end] = as<SliceAttributes>(pass.attributes());
class Attributes {
 public:
  static constexpr std::size_t capacity = 64;

  /// None.
  Attributes() {}  // with `= default`, all of it would be cleared first
  template <class S>
  requires(std::is_class_v<S> && !std::is_same_v<S, Attributes>) Attributes(const S& settings)
      : type_(&typeid(S)) {
    static_assert(std::is_trivially_copyable_v<S>, "settings are copied byte by byte");
    static_assert(sizeof(S) <= capacity && alignof(S) <= alignof(void*), "settings are held in place");
    std::memcpy(bytes_.data(), &settings, sizeof(S));
  }

  /// The type of the struct; null for none.
  const std::type_info* type() const { return type_; }
  /// The memory of the struct, for AttributeFields.
  std::byte* data() { return bytes_.data(); }
  const std::byte* data() const { return bytes_.data(); }

 private:
  const std::type_info* type_ = nullptr;
  alignas(void*) std::array<std::byte, capacity> bytes_;
};

/// The struct. Throws Error when they are settings of another type.
template <class S> S as(const Attributes& attributes) {
  const std::type_info* const type = attributes.type();
  if (type != &typeid(S) && (type == nullptr || *type != typeid(S))) detail::throw_other_attributes();
  S settings;
  std::memcpy(&settings, attributes.data(), sizeof(S));
  return settings;
}

/// Up to four whole numbers, one for each axis: a setting like the dimensions of a reshape.
class IndexList {
 public:
  IndexList() = default;
  /// Throws Error for more than four.
  IndexList(std::initializer_list<Index> values);
  explicit IndexList(std::span<const Index> values);

  Index size() const { return size_; }
  Index operator[](Index i) const { return values_[static_cast<std::size_t>(i)]; }
  Index& operator[](Index i) { return values_[static_cast<std::size_t>(i)]; }
  const Index* begin() const { return values_.data(); }
  const Index* end() const { return values_.data() + size_; }
  /// Those beyond the size are zero.
  friend bool operator==(const IndexList&, const IndexList&) = default;

 private:
  Index size_ = 0;
  std::array<Index, Shape::max_rank> values_{};
};

/// The value of one setting: see attribute_value.hpp.
struct AttributeValue;

/// One field of a struct of settings, by name: `{"axis", &SliceAttributes::axis}`. A choice is an enumeration
/// that counts from 0, with a word for each.
class AttributeField {
 public:
  template <class S>
  AttributeField(std::string_view name, Index S::*field) : AttributeField(name, Kind::integer, field) {}
  template <class S>
  AttributeField(std::string_view name, double S::*field) : AttributeField(name, Kind::real, field) {}
  template <class S>
  AttributeField(std::string_view name, bool S::*field) : AttributeField(name, Kind::flag, field) {}
  template <class S>
  AttributeField(std::string_view name, IndexList S::*field) : AttributeField(name, Kind::list, field) {}
  template <class S>
  AttributeField(std::string_view name, const void* S::*field) : AttributeField(name, Kind::pointer, field) {}
  template <class S, class E>
  requires std::is_enum_v<E> AttributeField(std::string_view name, E S::*field,
                                            std::span<const std::string_view> words)
      : AttributeField(name, Kind::choice, field) {
    static_assert(sizeof(E) == sizeof(int), "an enumeration without another base");
    words_ = words;
  }

  std::string_view name() const { return name_; }
  /// The words of a choice.
  std::span<const std::string_view> words() const { return words_; }
  AttributeValue get(const Attributes& attributes) const;
  /// Throws Error, in the name of `where`, for a value of another type or a word that there is not. A whole
  /// number does for a real one.
  void set(Attributes& attributes, const AttributeValue& value, std::string_view where) const;
  /// Whether both have the same bits there.
  bool same(const Attributes& a, const Attributes& b) const;

 private:
  enum class Kind { integer, real, flag, choice, list, pointer };

  template <class S, class F>
  AttributeField(std::string_view name, Kind kind, F S::*field) : name_(name), kind_(kind) {
    const S settings{};
    offset_ = static_cast<std::size_t>(reinterpret_cast<const char*>(&(settings.*field)) -
                                       reinterpret_cast<const char*>(&settings));
    size_ = sizeof(F);
  }
  template <class F> F read(const Attributes& attributes) const {
    F value;
    std::memcpy(&value, attributes.data() + offset_, sizeof(F));
    return value;
  }

  std::string_view name_;
  Kind kind_;
  std::size_t offset_, size_;
  std::span<const std::string_view> words_;
};

/// The settings that an operation has, as its record lists them: empty, or
/// `attribute_fields<SliceAttributes>({{"axis", &SliceAttributes::axis}, ...})`.
struct AttributeFields {
  /// Of the struct; null for no settings.
  const std::type_info* type = nullptr;
  /// The struct as `S{}` makes it; null for no settings.
  Attributes (*defaults)() = nullptr;
  std::vector<AttributeField> list;

  /// Whether settings are of this operation's type.
  bool fit(const Attributes& attributes) const {
    return attributes.type() == type ||
           (type != nullptr && attributes.type() != nullptr && *attributes.type() == *type);
  }
  /// The field of this name, or null.
  const AttributeField* find(std::string_view name) const;
  /// Whether all listed fields have the same bits, in settings that fit.
  bool same(const Attributes& a, const Attributes& b) const;
};

template <class S> AttributeFields attribute_fields(std::initializer_list<AttributeField> list) {
  return {&typeid(S), [] { return Attributes(S{}); }, list};
}

template <class T> struct OpRecord;

/// The settings that an operation has before any is set.
template <class T> Attributes default_attributes(const OpRecord<T>& op) {
  return op.attributes.defaults == nullptr ? Attributes() : op.attributes.defaults();
}

}  // namespace taper
