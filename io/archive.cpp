#include <taper/io/archive.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include <taper/data/quote.hpp>
#include <taper/instantiate.hpp>
#include <taper/io/dtype.hpp>
#include <taper/io/other_formats.hpp>

namespace taper::io {
namespace {

using data::quote;

constexpr std::size_t length_size = 8;  // bytes of the length in front of the header

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/// The shape as the library has it, of at most four dimensions.
Shape shape_of(const Archive& archive, const std::string& name, const StoredTensor& stored) {
  if (stored.shape.size() > Shape::max_rank) {
    archive.fail("has ", quote(name), " of shape ", stored.shape_text(), ": expected at most ",
                 Shape::max_rank, " dimensions");
  }
  std::vector<Index> dimensions;
  for (const std::uint64_t dimension : stored.shape) dimensions.push_back(static_cast<Index>(dimension));
  return Shape(dimensions.data(), static_cast<Index>(dimensions.size()));
}

/// Puts together the tensors and the metadata of a header, {"name": {"dtype": "F32", "shape": [2, 3],
/// "data_offsets": [0, 24]}}, as the parser reads on: it tells each value and each beginning and end, in
/// order. Keys of a tensor that the format does not know are passed over.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(const Archive& archive, std::map<std::string, StoredTensor>& tensors,
               std::map<std::string, std::string>& metadata)
      : archive_(archive), tensors_(tensors), metadata_(metadata) {}

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
    if (depth_ == 2 && in_metadata_) {
      metadata_[key_] = std::move(text);
      return true;
    }
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
  std::map<std::string, std::string>& metadata_;
  int depth_ = 0;  // 1 in the header, 2 in a tensor or the metadata, 3 in a list of them
  std::set<std::string> names_, keys_;
  std::string name_, key_;
  bool in_metadata_ = false;
  StoredTensor tensor_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint64_t>* counts_ = nullptr;  // the list that is open, when it is one of a tensor's
};

}  // namespace

std::string StoredTensor::shape_text() const {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t axis = 0; axis < std::min(shape.size(), most); ++axis) {
    text += (text.empty() ? "" : "x") + std::to_string(shape[axis]);
  }
  if (shape.size() > most) text += "x... (" + std::to_string(shape.size()) + " dimensions)";
  return text.empty() ? "scalar" : text;
}

bool StoredTensor::has_shape(const Shape& other) const {
  if (shape.size() != static_cast<std::size_t>(other.rank())) return false;
  for (Index axis = 0; axis < other.rank(); ++axis) {
    if (shape[static_cast<std::size_t>(axis)] != static_cast<std::uint64_t>(other[axis])) return false;
  }
  return true;
}

struct Archive::Header {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

const std::map<std::string, StoredTensor>& Archive::tensors() const {
  return header_->tensors;
}

const std::map<std::string, std::string>& Archive::metadata() const {
  return header_->metadata;
}

Archive::Archive(const std::string& path) : Archive(std::make_shared<const FileBytes>(path, "load"), path) {}

Archive::Archive(std::string bytes, std::string source)
    : Archive(std::make_shared<const FileBytes>(std::move(bytes)), std::move(source)) {}

Archive::Archive(std::shared_ptr<const FileBytes> file, std::string source)
    : name_(std::move(source)), bytes_(std::move(file)) {
  const FileBytes::Hold hold(*bytes_);
  require_unchanged();
  const std::string_view bytes = bytes_->view();
  if (bytes.size() < length_size) {
    fail("has ", bytes.size(), " bytes: expected at least the ", length_size, " of the header's length");
  }
  std::uint64_t length = 0;
  for (std::size_t i = length_size; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  const bool is_long_enough = length <= bytes.size() - length_size;
  const char first = bytes.size() > length_size ? bytes[length_size] : '\0';
  if (first != '{' && !(is_long_enough && is_blank(first))) {
    const std::string other = describe_other_format(bytes);
    if (!other.empty()) fail("is ", other, ": expected a safetensors file");
  }
  if (!is_long_enough) {
    fail("has ", bytes.size(), " bytes: expected a header of ", length, " and the tensors behind it");
  }
  if (length > most_header_bytes) {
    fail("has a header of ", length, " bytes: expected at most ", most_header_bytes);
  }
  data_ = length_size + static_cast<std::size_t>(length);
  const std::string_view text = bytes.substr(length_size, static_cast<std::size_t>(length));
  // The parser would pass over a byte order mark, and take a zero byte for the end.
  const std::size_t wrong = text.starts_with('\xef') ? 0 : text.find('\0');
  if (wrong != text.npos) {
    fail("has a header that is no JSON from byte ", wrong + 1, " on: expected a safetensors file");
  }
  const auto header = std::make_shared<Header>();
  HeaderReader reader(*this, header->tensors, header->metadata);
  nlohmann::json::sax_parse(text, &reader);
  header_ = header;
  check_offsets();
}

bool Archive::contains(const std::string& name) const {
  return tensors().contains(name);
}

const char* Archive::data(const StoredTensor& stored) const {
  return bytes_->view().data() + data_ + stored.begin;
}

const StoredTensor& Archive::tensor(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found != tensors().end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, stored] : tensors()) names.push_back(known);
  fail("has no tensor ", quote(name), ": expected ",
       names.empty() ? "another file, as this one has none" : "one of " + data::quote_some(names));
}

const StoredTensor& Archive::require(const std::string& name, const char* dtype, const Shape& shape) const {
  const StoredTensor& stored = tensor(name);
  if (!stored.has_shape(shape)) {
    fail("has ", quote(name), " of shape ", stored.shape_text(), ": expected ", shape);
  }
  if (stored.dtype != dtype) {
    fail("has ", quote(name), " of dtype ", quote(stored.dtype), ": expected \"", dtype, "\"");
  }
  const std::uint64_t bytes = bytes_of(dtype) * static_cast<std::uint64_t>(shape.size());
  if (stored.end - stored.begin != bytes) {
    fail("has ", stored.end - stored.begin, " bytes of ", quote(name), ": expected ", bytes, " for ", dtype,
         " of shape ", shape);
  }
  return stored;
}

template <class T>
const StoredTensor& Archive::require(const std::string& name, const Shape& shape,
                                     const ReadOptions& options) const {
  const StoredTensor& stored = tensor(name);
  if (stored.dtype == dtype_of<T> || !is_floating(stored.dtype)) return require(name, dtype_of<T>, shape);
  if (!options.convert) {
    fail("has ", quote(name), " of dtype \"", stored.dtype, "\": expected \"", dtype_of<T>,
         "\", or that the option convert asks for it");
  }
  require(name, stored.dtype.c_str(), shape);
  const Index wrong = find_overflow<T>(stored.dtype, data(stored), shape.size());
  if (wrong < shape.size()) {
    double element = 0;
    convert(stored.dtype, data(stored) + static_cast<std::size_t>(wrong) * bytes_of(stored.dtype), 1,
            &element);
    fail("has ", element, " at position ", wrong, " of ", quote(name), ": expected what fits ", dtype_of<T>);
  }
  return stored;
}

template <class T> Tensor<T> Archive::read(const std::string& name, const ReadOptions& options) const {
  const StoredTensor& stored = tensor(name);
  Tensor<T> result;
  while_unchanged([&] {
    const Shape shape = shape_of(*this, name, stored);
    require<T>(name, shape, options);
    result = Tensor<T>(shape);
    convert(stored.dtype, data(stored), result.size(), result.data());
  });
  return result;
}

void Archive::require_unchanged() const {
  if (bytes_->changed()) {
    fail("has been written to since it was opened: expected it to stay as it was");
  }
}

// The tensors must fill the rest of the file without gaps or overlaps, as the format has it.
void Archive::check_offsets() const {
  const std::size_t size = bytes_->view().size() - data_;
  std::vector<const std::pair<const std::string, StoredTensor>*> sorted;
  for (const auto& tensor : tensors()) {
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

#define TAPER_INSTANTIATE(T)                                                                             \
  template Tensor<T> Archive::read(const std::string&, const ReadOptions&) const;                        \
  template const StoredTensor& Archive::require<T>(const std::string&, const Shape&, const ReadOptions&) \
      const;
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io
