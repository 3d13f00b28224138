// Where checks of a back end, and what they measure, are put down.
#pragma once

#include <string>
#include <vector>

namespace krserve {

class CheckLog {
 public:
  CheckLog() = default;
  CheckLog(const CheckLog&) = delete;
  CheckLog& operator=(const CheckLog&) = delete;
  virtual ~CheckLog() = default;

  virtual void passed(const std::string& what) = 0;
  // `why` may have several lines.
  virtual void failed(const std::string& what, const std::string& why) = 0;
  // Neither right nor wrong: cannot be told here.
  virtual void not_run(const std::string& what, const std::string& why) = 0;
  virtual void fact(const std::string& name, const std::string& value) = 0;
  // At least one sample, in any order.
  virtual void measured(const std::string& name, const std::string& unit,
                        std::vector<double> samples) = 0;
  // What comes next: named if the process dies of it.
  virtual void doing(const std::string& what) = 0;
};

}  // namespace krserve
