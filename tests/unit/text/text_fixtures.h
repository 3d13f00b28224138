// Finds the data files of the text tests and makes model directories to load from.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace krserve::test {

inline std::filesystem::path data_dir() {
  return std::filesystem::path(KR_SOURCE_DIR) / "tests/unit/text/data";
}

inline std::string read_data(const std::string& name) {
  std::ifstream in(data_dir() / name, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

// Written by data/make_expected.py with jinja2 and the Python tokenizers library. Ordered: key
// order is part of what templates print.
inline const nlohmann::ordered_json& expected() {
  static const auto json = nlohmann::ordered_json::parse(read_data("expected.json"));
  return json;
}

// A model directory that is removed with this.
class TempModelDir {
 public:
  TempModelDir() {
    std::string name = (std::filesystem::temp_directory_path() / "krtext_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TempModelDir() { std::filesystem::remove_all(path_); }
  TempModelDir(const TempModelDir&) = delete;
  TempModelDir& operator=(const TempModelDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }

 private:
  std::filesystem::path path_;
};

// The message of the E that `body` throws; fails the test if it throws none.
template <class E, class F>
std::string message_of(F&& body) {
  try {
    body();
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace krserve::test
