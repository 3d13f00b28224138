// Reads the text and JSON files of a model directory, with errors that name the file.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace krserve::text_files {

// Throws TextError if the file exists but cannot be read; nullopt if it does not exist.
std::optional<std::string> read(std::string_view where, const std::filesystem::path& path);

// As read(); throws TextError if the content is not a JSON object.
std::optional<nlohmann::json> read_json(std::string_view where, const std::filesystem::path& path);

// A special token in tokenizer_config.json: a string, or an object with "content".
std::optional<std::string> token_text(const nlohmann::json& value);

}  // namespace krserve::text_files
