#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../common.hpp"

/// The program for people who write no C++: verbs, one file each.
namespace taper::apps {

/// One of the things that the program does.
class Verb {
 public:
  virtual ~Verb() = default;
  virtual const char* name() const = 0;
  virtual const char* summary() const = 0;  ///< A sentence.
  virtual const char* example() const = 0;  ///< A line that can be typed.
  virtual void add_to(Command& command) = 0;
  virtual void run() = 0;
};

std::unique_ptr<Verb> make_fit();
std::unique_ptr<Verb> make_predict();
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_shrink();
std::unique_ptr<Verb> make_select();
std::unique_ptr<Verb> make_path();
std::unique_ptr<Verb> make_tune();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_completion();

/// All of them, in the order of the help.
std::vector<std::unique_ptr<Verb>> make_verbs();

/// The command line of a verb, with its example and what the exit status means.
std::unique_ptr<Command> make_command(Verb& verb);

}  // namespace taper::apps
