#include "text/stop_matcher.h"

#include <utility>

namespace krserve {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)), nodes_(1) {
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (!stops_[i].empty()) {
      insert(i);
    }
  }
  link();
}

void StopMatcher::insert(size_t index) {
  size_t node = 0;
  for (const char c : stops_[index]) {
    const auto byte = static_cast<unsigned char>(c);
    size_t next = child(node, byte);
    if (next == kNone) {
      next = nodes_.size();
      const size_t depth = nodes_[node].depth + 1;
      nodes_[node].next.emplace_back(byte, next);
      nodes_.emplace_back().depth = depth;
    }
    node = next;
  }
  if (nodes_[node].match == kNone) {
    nodes_[node].match = index;
  }
}

void StopMatcher::link() {
  // Breadth first: a node's suffix is shorter, so its link is there before it is needed.
  std::vector<size_t> queue = {0};
  for (size_t at = 0; at < queue.size(); ++at) {
    const size_t parent = queue[at];
    for (const auto& [byte, node] : nodes_[parent].next) {
      nodes_[node].fail = parent == 0 ? 0 : step(nodes_[parent].fail, byte);
      if (nodes_[node].match == kNone) {
        nodes_[node].match = nodes_[nodes_[node].fail].match;
      }
      queue.push_back(node);
    }
  }
}

size_t StopMatcher::child(size_t node, unsigned char byte) const {
  for (const auto& [edge, next] : nodes_[node].next) {
    if (edge == byte) {
      return next;
    }
  }
  return kNone;
}

size_t StopMatcher::step(size_t node, unsigned char byte) const {
  for (;;) {
    const size_t next = child(node, byte);
    if (next != kNone) {
      return next;
    }
    if (node == 0) {
      return 0;
    }
    node = nodes_[node].fail;
  }
}

StopMatcher::Result StopMatcher::push(std::string_view piece) {
  Result result;
  if (stopped_ || finished_) {
    result.stopped = stopped_;
    return result;
  }
  std::string text = std::move(held_);
  held_.clear();
  for (const char c : piece) {
    text.push_back(c);
    node_ = step(node_, static_cast<unsigned char>(c));
    const size_t match = nodes_[node_].match;
    if (match != kNone) {
      text.resize(text.size() - stops_[match].size());
      stopped_ = true;
      result.text = std::move(text);
      result.stopped = true;
      result.stop_index = match;
      return result;
    }
  }
  const size_t safe = text.size() - nodes_[node_].depth;
  held_ = text.substr(safe);
  text.resize(safe);
  result.text = std::move(text);
  return result;
}

std::string StopMatcher::finish() {
  finished_ = true;
  return std::exchange(held_, {});
}

void StopMatcher::reset() {
  node_ = 0;
  held_.clear();
  stopped_ = false;
  finished_ = false;
}

}  // namespace krserve
