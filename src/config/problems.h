// Collects what is wrong in the configuration, so that one run reports all of it.
#pragma once

#include <string>
#include <vector>

namespace krserve {

class Problems {
 public:
  // Keeps the first 20 and counts the rest.
  void add(std::string text);
  bool empty() const { return count_ == 0; }
  // Throws ConfigError when there are any.
  void throw_if_any() const;

 private:
  std::vector<std::string> texts_;
  size_t count_ = 0;
};

}  // namespace krserve
