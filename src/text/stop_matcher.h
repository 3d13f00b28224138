// Finds stop strings in text that arrives in pieces and says what is safe to send on.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace krserve {

// Runs all stop strings at once (Aho-Corasick): work is linear in the text, whatever the strings.
// Strings are compared as bytes. If several match, the one that is complete first counts, and of
// those the longest, so that no more than needed comes out before it.
class StopMatcher {
 public:
  struct Result {
    // Text that no stop string can claim any more.
    std::string text;
    // A stop string was complete: `text` ends before it, what followed it is dropped.
    bool stopped = false;
    // Which one, if stopped; an index into the constructor's list.
    size_t stop_index = 0;
  };

  // Empty strings never match.
  explicit StopMatcher(std::vector<std::string> stops);

  // After a stop, and after finish(), pieces are dropped until reset().
  Result push(std::string_view piece);
  // No more text comes: what was held back is text after all.
  std::string finish();
  // Forgets the text, keeps the strings.
  void reset();

  bool stopped() const noexcept { return stopped_; }
  // Bytes held back now; less than the longest stop string.
  size_t held_bytes() const noexcept { return held_.size(); }

 private:
  struct Node {
    // Edges in no order; a node has few.
    std::vector<std::pair<unsigned char, size_t>> next;
    // The node of the longest proper suffix that is a prefix of some stop string.
    size_t fail = 0;
    // Bytes from the root: how much text must be held back here.
    size_t depth = 0;
    // The longest stop string that ends here, or kNone.
    size_t match = kNone;
  };
  static constexpr size_t kNone = static_cast<size_t>(-1);

  void insert(size_t index);
  void link();
  size_t child(size_t node, unsigned char byte) const;
  size_t step(size_t node, unsigned char byte) const;

  std::vector<std::string> stops_;
  std::vector<Node> nodes_;
  size_t node_ = 0;
  std::string held_;
  bool stopped_ = false;
  bool finished_ = false;
};

}  // namespace krserve
