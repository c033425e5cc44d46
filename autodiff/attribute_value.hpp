#pragma once

#include <iosfwd>
#include <string_view>
#include <variant>

#include <taper/autodiff/attributes.hpp>
#include <taper/autodiff/op.hpp>

/// The settings of operations as values, for those who print them, compare them or write them to a file. The
/// tape and its users do without.
namespace taper {

/// The value of one setting: a whole number, a real one, yes or no, the word for one of several choices, a
/// list of whole numbers, or a pointer to something that outlives the tape (which cannot be written to a
/// file).
struct AttributeValue : std::variant<Index, double, bool, std::string_view, IndexList, const void*> {
  using variant::variant;
};

/// "3", "0.25", "true", "relu", "[2, -1]", "0x7f..". Real numbers have the fewest digits that give them back.
std::ostream& operator<<(std::ostream& out, const AttributeValue& value);

/// Calls f(name, value), an AttributeValue, for each setting, in the order of the record.
template <class T, class F>
void for_attributes(const OpRecord<T>& op, const Attributes& attributes, const F& f) {
  for (const AttributeField& field : op.attributes.list) f(field.name(), field.get(attributes));
}

namespace detail {
void set_attribute(std::string_view op, const AttributeFields& fields, Attributes& attributes,
                   std::string_view name, const AttributeValue& value);
}  // namespace detail

/// Sets one by name. Throws Error for a name that the operation does not have, a value of another type, and
/// settings of another operation.
template <class T>
void set_attribute(const OpRecord<T>& op, Attributes& attributes, std::string_view name,
                   const AttributeValue& value) {
  detail::set_attribute(op.name, op.attributes, attributes, name, value);
}

}  // namespace taper
