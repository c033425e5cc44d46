#pragma once

#include <string>
#include <string_view>

namespace taper::io {

/// What a file that is no safetensors file seems to be, by its first bytes: "a page in HTML" or "a file of
/// PyTorch (.pt, .pth) or NumPy (.npz), which is a zip archive", for example; "" where they tell nothing.
std::string describe_other_format(std::string_view bytes);

}  // namespace taper::io
