#pragma once
// Tensors in files: safetensors (8 bytes header length, JSON header, data) and torchvision's zip .pth. Every malformed
// file is refused with its reason; a file is written beside and renamed, so that a failure leaves the former one
// intact.

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace weft {

using Metadata = std::map<std::string, std::string>;

/// All tensors of a file as they lie there (F32, F16, BF16, I32, I64, U8). Throws Error: the file, what is wrong,
/// where.
std::map<std::string, Tensor> load_safetensors(const std::filesystem::path& path, Metadata* metadata = nullptr);
void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                      const Metadata& metadata = {});

/// torchvision's zip .pth: unpickles tensors and plain containers, executes nothing; any other opcode or global is
/// refused by name.
std::map<std::string, Tensor> load_torch(const std::filesystem::path& path);

/// By the file's first bytes: "safetensors", which is what everything else is taken for, or "torch's .pth". Throws
/// Error where it cannot be read, or is in torch's format from before version 1.6.
std::string_view tensor_format(const std::filesystem::path& path);
/// Either, by tensor_format.
std::map<std::string, Tensor> load_tensors(const std::filesystem::path& path);

}  // namespace weft
