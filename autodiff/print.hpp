#pragma once

#include <iosfwd>
#include <string>

#include <taper/autodiff/tape.hpp>

namespace taper {

/// A node as it is printed: `%3 = affine(%0, %1, %2)  128x32  fc1`.
template <class T> std::string line(const Tape<T>& tape, const Node<T>& node);

/// One line for each node.
template <class T> std::ostream& operator<<(std::ostream& out, const Tape<T>& tape);

/// The tape as a graph in the language of Graphviz: `tape.dot | dot -Tsvg`.
template <class T> void write_dot(std::ostream& out, const Tape<T>& tape);

}  // namespace taper
