// JSON files of a model directory, read with errors that name file, key, value and expectation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace krserve {

using Json = nlohmann::json;

// Parses `text`, which must hold one JSON object without duplicate keys on its first level and
// nested at most 64 deep. Throws ModelError; `source` (a path) opens the message.
Json parse_json_object(std::string_view text, std::string_view where, const std::string& source);

// The same for a file of at most 256 MiB.
Json read_json_file(const std::filesystem::path& path, std::string_view where);

// Typed, range-checked reads of one object's fields. A null field counts as absent.
// Keeps a reference: the object must outlive the reader.
class JsonFields {
 public:
  // `prefix` names the object inside the file, "rope_scaling." for example.
  JsonFields(const Json& object, std::string source, std::string where, std::string prefix = "");

  bool has(const std::string& key) const;
  const Json& json() const { return object_; }
  uint64_t integer(const std::string& key, uint64_t min, uint64_t max) const;
  uint64_t integer_or(const std::string& key, uint64_t min, uint64_t max, uint64_t fallback) const;
  // min < value <= max.
  double number(const std::string& key, double min, double max) const;
  double number_or(const std::string& key, double min, double max, double fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::string text(const std::string& key) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  JsonFields object(const std::string& key) const;
  // An integer or a list of integers; empty when absent.
  std::vector<uint64_t> integers_or_none(const std::string& key, uint64_t max) const;

  // Throws ModelError: "<source>: <key> is <value>; expected <expected>".
  [[noreturn]] void refuse(const std::string& key, std::string_view expected) const;

 private:
  const Json& require(const std::string& key, std::string_view expected) const;

  const Json& object_;
  std::string source_;
  std::string where_;
  std::string prefix_;
};

}  // namespace krserve
