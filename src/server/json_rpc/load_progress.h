// Tells a client how far the loading of a model is.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "server/json_rpc/frame_writer.h"
#include "server/json_rpc/rpc_error.h"

namespace krserve::server::rpc {

// One load_progress notification waits at most, with the newest numbers.
class LoadProgress : public std::enable_shared_from_this<LoadProgress> {
 public:
  LoadProgress(FrameWriter& writer, Json request, std::string model)
      : writer_(writer), request_(std::move(request)), model_(std::move(model)) {}

  // Steps below one percent are left out. The loading thread.
  void update(double fraction, const std::string& what);

 private:
  std::string next_frame();

  FrameWriter& writer_;
  const Json request_;
  const std::string model_;
  std::mutex mutex_;
  double fraction_ = -1;
  std::string what_;
  bool due_ = false;
};

}  // namespace krserve::server::rpc
