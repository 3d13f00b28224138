// tokenizer.json and tokenizer_config.json of a byte-level vocabulary, for models without training.
#pragma once

#include <string>

#include "model/synth/shapes.h"

namespace krserve::synth {

// Byte-level BPE without merges: the 256 bytes take ids 0..255 in GPT-2's order (as Qwen and
// Llama 3 have them), special tokens the ids of the shape. Other ids decode to nothing.
std::string tokenizer_json(const Shape& shape);

// Names the special tokens and holds a ChatML template.
std::string tokenizer_config_json(const Shape& shape);

}  // namespace krserve::synth
