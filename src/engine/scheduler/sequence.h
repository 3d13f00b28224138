// A request on its way through the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/request.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"

namespace krserve::engine {

enum class SequenceState {
  kWaiting,   // no slot yet
  kRunning,   // has a slot; scheduled every step
  kDraining,  // preempted: its steps in flight bring their tokens, then it waits again
  kFinished,  // the client has its last chunk; steps in flight are discarded
};

inline constexpr uint32_t kNoSlot = UINT32_MAX;

struct Sequence {
  Sequence(Request asked, Detokenizer text)
      : request(std::move(asked)), detokenizer(std::move(text)), stops(request.stop) {}

  RequestId id = 0;
  Request request;
  ChunkSink sink;
  SequenceState state = SequenceState::kWaiting;
  uint64_t seed = 0;
  uint32_t max_tokens = 0;  // resolved

  // Tokens the host knows: the prompt, then what was drawn.
  std::vector<int32_t> tokens;
  uint32_t prompt_tokens = 0;

  // What has been scheduled, which runs ahead of what the host knows.
  uint32_t slot = kNoSlot;
  std::vector<uint32_t> pages;
  uint32_t computed = 0;  // positions whose forward pass was scheduled
  uint32_t drawn = 0;     // output tokens scheduled to be drawn, those known included
  uint32_t steps_in_flight = 0;
  // Positions below are given to the device as token ids; those above it drew itself.
  uint32_t known_at_admission = 0;
  bool clear_counts = false;  // the slot's token counts are another sequence's

  Detokenizer detokenizer;
  StopMatcher stops;

  uint64_t submitted_ns = 0;
  uint64_t scheduled_ns = 0;
  uint64_t first_token_ns = 0;
  uint64_t last_token_ns = 0;

  uint32_t output_tokens() const { return static_cast<uint32_t>(tokens.size()) - prompt_tokens; }
  // Positions that exist, known to the host or drawn on the device.
  uint32_t length() const { return prompt_tokens + drawn; }
  bool all_drawn() const { return drawn >= max_tokens; }
};

using SequencePtr = std::shared_ptr<Sequence>;

}  // namespace krserve::engine
