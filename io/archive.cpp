#include <taper/io/archive.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include <taper/data/file.hpp>
#include <taper/data/quote.hpp>

namespace taper::io {
namespace {

using data::quote;

constexpr std::size_t length_size = 8;  // bytes of the length in front of the header

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t axis = 0; axis < std::min(shape.size(), most); ++axis) {
    text += (text.empty() ? "" : "x") + std::to_string(shape[axis]);
  }
  if (shape.size() > most) text += "x... (" + std::to_string(shape.size()) + " dimensions)";
  return text.empty() ? "scalar" : text;
}

bool same_shape(const std::vector<std::uint64_t>& stored, const Shape& shape) {
  if (stored.size() != static_cast<std::size_t>(shape.rank())) return false;
  for (Index axis = 0; axis < shape.rank(); ++axis) {
    if (stored[static_cast<std::size_t>(axis)] != static_cast<std::uint64_t>(shape[axis])) return false;
  }
  return true;
}

/// Puts together the tensors of a header, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0,
/// 24]}}, as the parser reads on: it tells each value and each beginning and end, in order. Keys of a tensor
/// that the format does not know are passed over.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(const Archive& archive, std::map<std::string, StoredTensor>& tensors)
      : archive_(archive), tensors_(tensors) {}

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_integer(number_integer_t) override { return other(); }
  bool number_float(number_float_t, const string_t&) override { return other(); }
  bool binary(binary_t&) override { return other(); }

  bool number_unsigned(number_unsigned_t number) override {
    if (depth_ != 3 || !counts_) return other();
    counts_->push_back(number);
    return true;
  }

  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) return true;
    if (depth_ != 2 || key_ != "dtype") return other();
    tensor_.dtype = std::move(text);
    return true;
  }

  bool key(string_t& name) override {
    std::set<std::string>& known = depth_ == 1 ? names_ : keys_;
    if (depth_ < 3 && !known.insert(name).second) {
      archive_.fail("has ", quote(name), " twice in its header: expected it once");
    }
    if (depth_ == 1) name_ = name;
    if (depth_ == 2) key_ = std::move(name);
    return true;
  }

  bool start_object(std::size_t) override {
    if (depth_ > 1) nested();
    if (++depth_ != 2) return true;
    in_metadata_ = name_ == "__metadata__";
    tensor_ = {};
    keys_.clear();
    return true;
  }

  bool end_object() override {
    if (--depth_ != 1 || in_metadata_) return true;
    for (const char* required : {"shape", "data_offsets", "dtype"}) {
      if (!keys_.contains(required)) bad(required);
    }
    if (offsets_.size() != 2) {
      archive_.fail("has ", quote(name_), " with ", offsets_.size(), " data_offsets: expected 2");
    }
    tensor_.begin = offsets_[0], tensor_.end = offsets_[1];
    tensors_.emplace(name_, std::move(tensor_));
    return true;
  }

  bool start_array(std::size_t) override {
    if (counts_ != nullptr) bad(key_);
    if (depth_ == 2 && !in_metadata_ && key_ == "shape") counts_ = &tensor_.shape;
    if (depth_ == 2 && !in_metadata_ && key_ == "data_offsets") counts_ = &offsets_;
    if (counts_ != nullptr) {
      counts_->clear();
    } else {
      nested();
    }
    ++depth_;
    return true;
  }

  bool end_array() override {
    --depth_;
    counts_ = nullptr;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    if (dynamic_cast<const nlohmann::json::parse_error*>(&error) != nullptr) {
      archive_.fail("has a header that is no JSON from byte ", position, " on: expected a safetensors file");
    }
    archive_.fail(
        "has a header that is no valid JSON: expected a safetensors file");  // a number out of range
  }

 private:
  /// Any value that is none of a tensor's: refused where one of those belongs.
  bool other() const {
    if (depth_ == 0) archive_.fail("has a header that is no JSON object: expected a safetensors file");
    if (depth_ == 1 && name_ == "__metadata__") bad_metadata();
    if (depth_ == 1) bad("shape");
    if (in_metadata_) bad_metadata();
    if (counts_ != nullptr ||
        (depth_ == 2 && (key_ == "shape" || key_ == "data_offsets" || key_ == "dtype"))) {
      bad(key_);
    }
    return true;
  }
  /// The same for one that holds others.
  void nested() const {
    other();
    if (depth_ > 2)
      archive_.fail("has a header that is nested deeper than tensors: expected a safetensors file");
  }

  [[noreturn]] void bad(const std::string& key) const {
    if (key == "dtype") archive_.fail("has ", quote(name_), " without a dtype: expected one");
    archive_.fail("has ", quote(name_), " without a valid ", key, ": expected a list of counts");
  }
  [[noreturn]] void bad_metadata() const {
    archive_.fail("has \"__metadata__\" that are not texts by name: expected such");
  }

  const Archive& archive_;
  std::map<std::string, StoredTensor>& tensors_;
  int depth_ = 0;  // 1 in the header, 2 in a tensor or the metadata, 3 in a list of them
  std::set<std::string> names_, keys_;
  std::string name_, key_;
  bool in_metadata_ = false;
  StoredTensor tensor_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint64_t>* counts_ = nullptr;  // the list that is open, when it is one of a tensor's
};

}  // namespace

Archive::Archive(const std::filesystem::path& path)
    : Archive(data::read_bytes(path, "load"), path.string()) {}

Archive::Archive(std::string bytes, std::string source) : name_(std::move(source)), bytes_(std::move(bytes)) {
  if (bytes_.size() < length_size) {
    fail("has ", bytes_.size(), " bytes: expected at least the ", length_size, " of the header's length");
  }
  std::uint64_t length = 0;
  for (std::size_t i = length_size; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes_[i]);
  if (length > bytes_.size() - length_size) {
    fail("has ", bytes_.size(), " bytes: expected a header of ", length, " and the tensors behind it");
  }
  if (length > most_header_bytes) {
    fail("has a header of ", length, " bytes: expected at most ", most_header_bytes);
  }
  data_ = length_size + static_cast<std::size_t>(length);
  const std::string_view header =
      std::string_view(bytes_).substr(length_size, static_cast<std::size_t>(length));
  // The parser would pass over a byte order mark, and take a zero byte for the end.
  const std::size_t wrong = header.starts_with('\xef') ? 0 : header.find('\0');
  if (wrong != header.npos) {
    fail("has a header that is no JSON from byte ", wrong + 1, " on: expected a safetensors file");
  }
  HeaderReader reader(*this, tensors_);
  nlohmann::json::sax_parse(header, &reader);
  check_offsets();
}

const StoredTensor& Archive::require(const std::string& name, const char* dtype, const Shape& shape,
                                     std::size_t bytes) const {
  const StoredTensor& stored = tensors_.at(name);
  if (!same_shape(stored.shape, shape)) {
    fail("has ", quote(name), " of shape ", shape_text(stored.shape), ": expected ", shape);
  }
  if (stored.dtype != dtype) {
    fail("has ", quote(name), " of dtype ", quote(stored.dtype), ": expected \"", dtype, "\"");
  }
  if (stored.end - stored.begin != bytes) {
    fail("has ", stored.end - stored.begin, " bytes of ", quote(name), ": expected ", bytes, " for ", dtype,
         " of shape ", shape);
  }
  return stored;
}

// The tensors must fill the rest of the file without gaps or overlaps, as the format has it.
void Archive::check_offsets() const {
  const std::size_t size = bytes_.size() - data_;
  std::vector<const std::pair<const std::string, StoredTensor>*> sorted;
  for (const auto& tensor : tensors_) {
    const auto& [name, stored] = tensor;
    if (stored.begin > stored.end || stored.end > size) {
      fail("has ", quote(name), " in bytes ", stored.begin, " to ", stored.end, ": expected a part of the ",
           size, " behind the header");
    }
    sorted.push_back(&tensor);
  }
  std::ranges::stable_sort(
      sorted, {}, [](const auto* tensor) { return std::pair(tensor->second.begin, tensor->second.end); });
  std::uint64_t end = 0;
  for (const auto* tensor : sorted) {
    const auto& [name, stored] = *tensor;
    if (stored.begin != end) {
      fail("has ", quote(name), " from byte ", stored.begin, " on: expected ", end,
           ", where the tensor before it ends");
    }
    end = stored.end;
  }
  if (end != size) fail("has ", size, " bytes behind the header: expected the ", end, " of its tensors");
}

}  // namespace taper::io
