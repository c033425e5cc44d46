#pragma once

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

#include <taper/autodiff/error.hpp>

/// The text of the taper::Error that `run` throws; that of any other exception would fail the test anyway.
template <class Run> std::string error_text(const Run& run) {
  try {
    run();
  } catch (const taper::Error& error) {
    return error.what();
  }
  return "(no error was thrown)";
}

/// Checks that the expression throws taper::Error, and that its text contains each of the words that follow:
/// CHECK_ERROR(read_csv(path), "line 17", "total_rooms").
#define CHECK_ERROR(expression, ...)                                                    \
  do {                                                                                  \
    const std::string error_text_ = error_text([&] { static_cast<void>(expression); }); \
    for (const std::string& words_ : std::initializer_list<std::string>{__VA_ARGS__}) { \
      INFO("expected words: ", words_);                                                 \
      INFO("error text: ", error_text_);                                                \
      CHECK(error_text_.find(words_) != std::string::npos);                             \
    }                                                                                   \
  } while (false)
