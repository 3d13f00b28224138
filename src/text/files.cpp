#include "text/files.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "text/text_error.h"

namespace krserve::text_files {

std::optional<std::string> read(std::string_view where, const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return std::nullopt;
  }
  if (error || std::filesystem::is_directory(status)) {
    throw_error<TextError>(where, "{} cannot be read: {}", path.string(),
                           error ? error.message() : "it is a directory");
  }
  std::ifstream in(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(in), {}};
  if (!in.is_open() || in.bad()) {
    throw_error<TextError>(where, "{} cannot be read: {}; check its permissions", path.string(),
                           std::strerror(errno));
  }
  return content;
}

std::optional<nlohmann::json> read_json(std::string_view where, const std::filesystem::path& path) {
  const auto content = read(where, path);
  if (!content) {
    return std::nullopt;
  }
  try {
    auto json = nlohmann::json::parse(*content);
    if (json.is_object()) {
      return json;
    }
  } catch (const nlohmann::json::exception& e) {
    throw_error<TextError>(where, "{} ({} bytes) is not valid JSON: {}; fetch the file again",
                           path.string(), content->size(), e.what());
  }
  throw_error<TextError>(where, "{} must hold a JSON object; fetch the file again", path.string());
}

std::optional<std::string> token_text(const nlohmann::json& value) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (value.is_object()) {
    const auto content = value.find("content");
    if (content != value.end() && content->is_string()) {
      return content->get<std::string>();
    }
  }
  return std::nullopt;
}

}  // namespace krserve::text_files
