// Turns a page into a program: extract PAGE.md PROGRAM.cpp OUTPUT.txt
//
// A block of C++ with a main function is the program. Otherwise the page is read as one program from top to
// bottom: lines that begin with #include or `using namespace` and everything above the line `// ---` of a
// block stand outside of main, the rest inside. Blocks of text (```text) are what the program must print.

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

namespace {

struct Page {
  std::string head, outside, inside, whole, output;

  void add_code(const std::string& block) {
    if (block.find("int main(") != std::string::npos) {
      whole = block;
      return;
    }
    const auto divider = block.find("// ---\n");
    std::istringstream lines(block);
    std::size_t position = 0;
    for (std::string line; std::getline(lines, line); position += line.size() + 1) {
      const bool above = divider != std::string::npos && position < divider;
      const bool is_head = line.starts_with("#include") || line.starts_with("using namespace");
      (is_head ? head : above ? outside : inside) += line + '\n';
    }
  }

  std::string program() const {
    return whole.empty()
               ? head + "namespace {\n" + outside + "}  // namespace\nint main() {\n" + inside + "}\n"
               : whole;
  }
};

}  // namespace

int main(int, char** argv) {
  std::ifstream markdown(argv[1]);
  Page page;
  std::string kind, block;
  for (std::string line; std::getline(markdown, line);) {
    const bool fence = line.starts_with("```");
    if (fence && kind.empty()) {
      kind = line.size() > 3 ? line.substr(3) : "plain";
    } else if (fence) {
      if (kind == "cpp") page.add_code(block);
      if (kind == "text") page.output += block;
      kind.clear();
      block.clear();
    } else if (!kind.empty()) {
      block += line + '\n';
    }
  }
  std::ofstream(argv[2]) << page.program();
  std::ofstream(argv[3]) << page.output;
  const bool found = !page.whole.empty() || !page.inside.empty();
  if (!found) std::cerr << argv[1] << ": no block of C++ was found\n";
  return found ? 0 : 1;
}
