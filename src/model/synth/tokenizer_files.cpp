#include "model/synth/tokenizer_files.h"

#include <nlohmann/json.hpp>

namespace krserve::synth {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kChatTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}";

// Code points below 2048 are all that the byte alphabet needs.
std::string utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

bool is_printable(uint32_t byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// GPT-2's bytes_to_unicode: printable bytes stand for themselves and come first.
Json byte_vocabulary() {
  Json vocabulary = Json::object();
  uint32_t id = 0;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    if (is_printable(byte)) vocabulary[utf8(byte)] = id++;
  }
  for (uint32_t next = 256; id < 256; ++next) vocabulary[utf8(next)] = id++;
  return vocabulary;
}

Json byte_level() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", false},
          {"use_regex", false}};
}

}  // namespace

std::string tokenizer_json(const Shape& shape) {
  Json vocabulary = byte_vocabulary();
  Json added = Json::array();
  for (const auto& [text, id] : special_tokens(shape)) {
    vocabulary[text] = id;  // without it, `tokenizers` would number the added token anew
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json model = {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", nullptr},
                      {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr},
                      {"fuse_unk", false},
                      {"byte_fallback", false},
                      {"ignore_merges", false},
                      {"vocab", vocabulary},
                      {"merges", Json::array()}};
  const Json json = {
      {"version", "1.0"},          {"truncation", nullptr},   {"padding", nullptr},
      {"added_tokens", added},     {"normalizer", nullptr},   {"pre_tokenizer", byte_level()},
      {"post_processor", nullptr}, {"decoder", byte_level()}, {"model", model}};
  return json.dump(2) + "\n";
}

std::string tokenizer_config_json(const Shape& shape) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"bos_token", nullptr},
               {"eos_token", "<|im_end|>"},
               {"pad_token", "<|endoftext|>"},
               {"model_max_length", shape.max_position_embeddings},
               {"clean_up_tokenization_spaces", false},
               {"chat_template", kChatTemplate}};
  if (shape.begin_of_text != 0) json["bos_token"] = "<|begin_of_text|>";
  return json.dump(2) + "\n";
}

}  // namespace krserve::synth
