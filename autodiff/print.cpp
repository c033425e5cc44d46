#include <taper/autodiff/print.hpp>

#include <charconv>
#include <ostream>
#include <sstream>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

template <class T> std::string leaf_kind(const Node<T>& node) {
  if (!node.requires_grad) return "constant";
  return node.writable ? "variable" : "parameter";
}

/// A setting; real numbers with the fewest digits that give back what the operation computes with.
template <class T> void write(std::ostream& out, const AttributeValue& value) {
  const double* const real = std::get_if<double>(&value);
  if (real == nullptr) {
    out << value;
  } else {
    char text[32];
    out.write(text, std::to_chars(text, text + sizeof(text), static_cast<T>(*real)).ptr - text);
  }
}

/// `slice(%2, axis=1, begin=0, end=3)`, or `parameter` for a leaf.
template <class T> std::string expression(const Tape<T>& tape, const Node<T>& node) {
  if (node.op == nullptr) return leaf_kind(node);
  std::ostringstream text;
  text << node.op->name << '(';
  const char* separator = "";
  for (const std::uint32_t input : tape.inputs(node)) {
    text << separator << '%' << input;
    separator = ", ";
  }
  for_attributes(*node.op, node.attributes, [&](std::string_view name, const AttributeValue& value) {
    write<T>(text << ", " << name << '=', value);
  });
  text << ')';
  return text.str();
}

/// Inside a quoted string of the dot language.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

}  // namespace

template <class T> std::string line(const Tape<T>& tape, const Node<T>& node) {
  std::ostringstream text;
  text << '%' << &node - tape.nodes().data() << " = " << expression(tape, node) << "  " << node.shape;
  const std::string path = tape.path(node);
  if (!path.empty()) text << "  " << path;
  return text.str();
}

template <class T> std::ostream& operator<<(std::ostream& out, const Tape<T>& tape) {
  for (const Node<T>& node : tape.nodes()) out << line(tape, node) << '\n';
  return out;
}

template <class T> void write_dot(std::ostream& out, const Tape<T>& tape) {
  out << "digraph tape {\n  node [shape=box, fontname=\"sans-serif\"];\n";
  std::size_t position = 0;
  for (const Node<T>& node : tape.nodes()) {
    const std::string path = tape.path(node);
    const std::string title = node.op == nullptr ? leaf_kind(node) : std::string(node.op->name);
    out << "  n" << position << " [label=\"" << escaped(title);
    if (!path.empty()) out << "\\n" << escaped(path);
    out << "\\n" << node.shape << '"' << (node.op == nullptr ? ", style=rounded" : "") << "];\n";
    for (const std::uint32_t input : tape.inputs(node)) out << "  n" << input << " -> n" << position << ";\n";
    ++position;
  }
  out << "}\n";
}

#define TAPER_INSTANTIATE(T)                                        \
  template std::string line(const Tape<T>&, const Node<T>&);        \
  template std::ostream& operator<<(std::ostream&, const Tape<T>&); \
  template void write_dot(std::ostream&, const Tape<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
