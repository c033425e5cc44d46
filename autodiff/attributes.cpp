#include <taper/autodiff/attributes.hpp>

#include <algorithm>
#include <charconv>
#include <ostream>
#include <sstream>

#include <taper/autodiff/attribute_value.hpp>

namespace taper {
namespace {

/// What a field of a type takes, for messages, in the order of AttributeValue.
constexpr const char* expectations[] = {"a whole number",          "a number",
                                        "true or false",           "one of its words",
                                        "a list of whole numbers", "a pointer"};

std::string listed(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
  return text;
}

}  // namespace

namespace detail {

void throw_other_attributes() {
  throw Error("attributes",
              "settings of one type were read as another: expected the struct that the operation "
              "lists");
}

void set_attribute(std::string_view op, const AttributeFields& fields, Attributes& attributes,
                   std::string_view name, const AttributeValue& value) {
  if (!fields.fit(attributes)) throw Error(op, "settings of another operation: expected its own");
  if (const AttributeField* field = fields.find(name)) return field->set(attributes, value, op);
  std::vector<std::string_view> names;
  for (const AttributeField& field : fields.list) names.push_back(field.name());
  throw Error(op, "a setting '", name, "': expected ", names.empty() ? "none" : listed(names));
}

}  // namespace detail

IndexList::IndexList(std::initializer_list<Index> values)
    : IndexList(std::span(values.begin(), values.size())) {}

IndexList::IndexList(std::span<const Index> values) : size_(static_cast<Index>(values.size())) {
  if (size_ > Shape::max_rank) throw Error("list", size_, " numbers: expected at most ", Shape::max_rank);
  std::ranges::copy(values, values_.begin());
}

std::ostream& operator<<(std::ostream& out, const AttributeValue& value) {
  const auto write = [&](const auto& given) {
    using Given = std::decay_t<decltype(given)>;
    if constexpr (std::is_same_v<Given, bool>) {
      out << (given ? "true" : "false");
    } else if constexpr (std::is_same_v<Given, double>) {
      char text[32];
      out.write(text, std::to_chars(text, text + sizeof(text), given).ptr - text);
    } else if constexpr (std::is_same_v<Given, IndexList>) {
      out << '[';
      for (Index i = 0; i < given.size(); ++i) out << (i == 0 ? "" : ", ") << given[i];
      out << ']';
    } else {
      out << given;
    }
  };
  std::visit(write, value);
  return out;
}

AttributeValue AttributeField::get(const Attributes& attributes) const {
  switch (kind_) {
    case Kind::integer:
      return read<Index>(attributes);
    case Kind::real:
      return read<double>(attributes);
    case Kind::flag:
      return read<bool>(attributes);
    case Kind::list:
      return read<IndexList>(attributes);
    case Kind::pointer:
      return read<const void*>(attributes);
    case Kind::choice:
      break;
  }
  const int choice = read<int>(attributes);
  const bool known = choice >= 0 && choice < static_cast<int>(words_.size());
  return known ? words_[static_cast<std::size_t>(choice)] : std::string_view("?");
}

void AttributeField::set(Attributes& attributes, const AttributeValue& value, std::string_view where) const {
  const auto write = [&](const auto& given) {
    std::memcpy(attributes.data() + offset_, &given, sizeof(given));
  };
  const auto refuse = [&](const auto&... expected) {
    std::ostringstream text;
    text << value;
    throw Error(where, name_, " = ", text.str(), ": expected ", expected...);
  };
  const auto expected = static_cast<std::size_t>(kind_);
  if (kind_ == Kind::real && std::holds_alternative<Index>(value)) {
    return write(static_cast<double>(std::get<Index>(value)));
  }
  if (value.index() != expected) refuse(kind_ == Kind::choice ? listed(words_) : expectations[expected]);
  if (kind_ != Kind::choice) return std::visit(write, value);
  const auto word = std::ranges::find(words_, std::get<std::string_view>(value));
  if (word == words_.end()) refuse(listed(words_));
  write(static_cast<int>(word - words_.begin()));
}

bool AttributeField::same(const Attributes& a, const Attributes& b) const {
  return std::memcmp(a.data() + offset_, b.data() + offset_, size_) == 0;
}

const AttributeField* AttributeFields::find(std::string_view name) const {
  const auto found = std::ranges::find(list, name, &AttributeField::name);
  return found == list.end() ? nullptr : &*found;
}

bool AttributeFields::same(const Attributes& a, const Attributes& b) const {
  return std::ranges::all_of(list, [&](const AttributeField& field) { return field.same(a, b); });
}

}  // namespace taper
