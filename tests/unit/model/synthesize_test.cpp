#include "model/synth/synthesize.h"

#include <sys/resource.h>

#include <cmath>
#include <csignal>

#include "model/formats/float_bits.h"
#include "model/formats/weights.h"
#include "model/synth/shapes.h"
#include "model/synth/tokenizer_files.h"
#include "model_files.h"

namespace krserve {
namespace {

using test::Json;
using test::model_error;
using test::TempDir;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Le;

constexpr const char* kFiles[] = {"config.json", "generation_config.json", "tokenizer.json",
                                  "tokenizer_config.json", "model.safetensors"};

std::string usage_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& e) {
    return e.what();
  }
  ADD_FAILURE() << "no UsageError was thrown";
  return "";
}

size_t entries(const std::filesystem::path& directory) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

float bf16_at(const TensorView& view, size_t i) {
  return bf16_to_f32(reinterpret_cast<const uint16_t*>(view.data)[i]);
}

struct Moments {
  double mean;
  double deviation;
};

// Of the weights that a 4 or 8 bit, or bf16, matrix stands for.
Moments moments(const LinearWeights& linear) {
  const size_t n = linear.args.n;
  const size_t k = linear.args.k;
  const size_t bits = linear.args.format == ops::WeightFormat::kQ4 ? 4 : 8;
  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i < n * k; ++i) {
    double w = 0;
    if (linear.quantized()) {
      const uint32_t word = reinterpret_cast<const uint32_t*>(linear.weight.data)[i * bits / 32];
      const uint32_t q = (word >> (i * bits % 32)) & ((1u << bits) - 1);
      const size_t group = i / linear.args.group_size;
      w = bf16_at(*linear.scales, group) * q + bf16_at(*linear.biases, group);
    } else {
      w = bf16_at(linear.weight, i);
    }
    sum += w;
    squares += w * w;
  }
  const double mean = sum / static_cast<double>(n * k);
  return {mean, std::sqrt(squares / static_cast<double>(n * k) - mean * mean)};
}

class SynthesizeTiny : public ::testing::TestWithParam<std::pair<uint32_t, uint32_t>> {};

TEST_P(SynthesizeTiny, LoadsWithBalancedWeights) {
  const auto [bits, group_size] = GetParam();
  const TempDir dir;
  synthesize("tiny", bits, group_size, dir / "m", 1);
  const ModelConfig config = read_model_config(dir / "m");
  const Checkpoint checkpoint(dir / "m");
  const DecoderWeights weights = load_decoder_weights(checkpoint, config);
  EXPECT_EQ(config.quantization.has_value(), bits != 16);
  const std::pair<const LinearWeights*, double> gains[] = {
      {&weights.layers[0].q, 2.0}, {&weights.layers[1].v, 1.0}, {&weights.layers[3].down, 4.0}};
  for (const auto& [linear, gain] : gains) {
    const Moments m = moments(*linear);
    const double expected = gain / std::sqrt(linear->args.k);
    EXPECT_NEAR(m.deviation, expected, 0.06 * expected) << linear->module;
    EXPECT_NEAR(m.mean, 0.0, 0.02 * expected) << linear->module;
  }
  EXPECT_NEAR(moments(weights.embeddings).deviation, 3.0 / 16.0, 0.01);
  for (const float w : weights.final_norm) EXPECT_NEAR(w, 1.0f, 0.2f);
}

INSTANTIATE_TEST_SUITE_P(Formats, SynthesizeTiny,
                         ::testing::Values(std::pair{4u, 32u}, std::pair{4u, 64u},
                                           std::pair{4u, 128u}, std::pair{8u, 64u},
                                           std::pair{16u, 64u}));

TEST(Synthesize, OneSeedGivesTheSameBytesTwice) {
  const TempDir dir;
  synthesize("tiny", 4, 64, dir / "a", 7);
  synthesize("tiny", 4, 64, dir / "b", 7);
  synthesize("tiny", 4, 64, dir / "c", 8);
  for (const char* file : kFiles) {
    EXPECT_TRUE(test::read_file(dir / "a" / file) == test::read_file(dir / "b" / file)) << file;
  }
  EXPECT_FALSE(test::read_file(dir / "a" / "model.safetensors") ==
               test::read_file(dir / "c" / "model.safetensors"));
}

TEST(Synthesize, LayersDifferFromEachOther) {
  const TempDir dir;
  synthesize("tiny", 4, 64, dir / "m", 1);
  const Checkpoint checkpoint(dir / "m");
  const TensorView& a = checkpoint.require("model.layers.0.mlp.up_proj.weight");
  const TensorView& b = checkpoint.require("model.layers.1.mlp.up_proj.weight");
  EXPECT_NE(std::memcmp(a.data, b.data, a.bytes), 0);
}

TEST(Synthesize, ProgressGrowsToOne) {
  const TempDir dir;
  std::vector<double> seen;
  synthesize("tiny", 4, 64, dir / "m", 1, [&](double fraction) { seen.push_back(fraction); });
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_THAT(seen, Each(Le(1.0)));
  EXPECT_EQ(seen.back(), 1.0);
}

TEST(Synthesize, BadArgumentsAreUsageErrors) {
  const TempDir dir;
  EXPECT_THAT(usage_error([&] { synthesize("gpt-9", 4, 64, dir / "m", 1); }),
              AllOf(HasSubstr("unknown shape 'gpt-9'"), HasSubstr("tiny, qwen2.5-0.5b")));
  EXPECT_THAT(usage_error([&] { synthesize("tiny", 5, 64, dir / "m", 1); }),
              HasSubstr("bits is 5"));
  EXPECT_THAT(usage_error([&] { synthesize("tiny", 4, 48, dir / "m", 1); }),
              HasSubstr("group size is 48"));
  EXPECT_EQ(entries(dir.path()), 0u);
}

TEST(Synthesize, OnlyAnEmptyDirectoryIsReplaced) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "m");
  synthesize("tiny", 4, 64, (dir / "m").string() + "/", 1);
  EXPECT_EQ(entries(dir / "m"), 5u);
  EXPECT_THAT(usage_error([&] { synthesize("tiny", 4, 64, dir / "m", 2); }),
              HasSubstr("is not empty"));
  test::write_file(dir / "f", "");
  EXPECT_THAT(usage_error([&] { synthesize("tiny", 4, 64, dir / "f", 2); }),
              HasSubstr("is a file"));
  EXPECT_EQ(entries(dir.path()), 2u);
}

TEST(Synthesize, MakesMissingParents) {
  const TempDir dir;
  synthesize("tiny", 4, 64, dir.path() / "x" / "y", 1);
  EXPECT_EQ(entries(dir.path() / "x"), 1u);
}

TEST(Synthesize, UnwritablePlaceIsAnError) {
  const TempDir dir;
  test::write_file(dir / "f", "x");
  EXPECT_THAT(model_error([&] { synthesize("tiny", 4, 64, dir.path() / "f" / "m", 1); }),
              AllOf(HasSubstr("cannot create"), HasSubstr("Not a directory")));
}

// A limit on the size of files stands in for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limited{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(Synthesize, FailedWriteLeavesNothingBehind) {
  const TempDir dir;
  for (const rlim_t bytes : {rlim_t{0}, rlim_t{500}, rlim_t{20'000}, rlim_t{1'000'000}}) {
    std::string message;
    {
      const FileSizeLimit limit(bytes);
      message = model_error([&] { synthesize("tiny", 4, 64, dir / "m", 1); });
    }
    EXPECT_THAT(message, HasSubstr("cannot write")) << bytes;
    EXPECT_EQ(entries(dir.path()), 0u) << bytes;
  }
}

TEST(Shapes, ConfigsOfAllShapesAreReadBack) {
  for (const synth::Shape& shape : synth::shapes()) {
    for (const uint32_t bits : {4u, 8u, 16u}) {
      const TempDir dir;
      test::write_file(dir / "config.json", synth::config_json(shape, bits, 64));
      test::write_file(dir / "generation_config.json", synth::generation_config_json(shape));
      const ModelConfig config = read_model_config(dir.path());
      EXPECT_EQ(config.architecture, shape.architecture);
      EXPECT_EQ(config.hidden_size, shape.hidden_size);
      EXPECT_EQ(config.head_dim, shape.head_dim);
      EXPECT_EQ(config.tie_word_embeddings, shape.tied);
      EXPECT_DOUBLE_EQ(config.rope_theta, shape.rope_theta);
      EXPECT_EQ(config.rope_scaling.kind == RopeScaling::Kind::kLlama3, shape.llama3_rope);
      EXPECT_THAT(config.eos_token_ids, ElementsAre(shape.end_of_text, shape.im_end));
    }
  }
}

// Parameters of the published models, as their cards state them.
TEST(Shapes, ParameterCountsAreThePublishedOnes) {
  const std::map<std::string_view, double> millions = {{"qwen2.5-0.5b", 494.0},
                                                       {"qwen2.5-1.5b", 1543.7},
                                                       {"qwen2.5-7b", 7615.6},
                                                       {"qwen3-0.6b", 596.0},
                                                       {"llama-3.2-1b", 1235.8}};
  for (const auto& [name, expected] : millions) {
    const synth::Shape& s = synth::find_shape(name);
    const double hidden = s.hidden_size;
    const double attention = hidden * s.head_dim * (2.0 * s.heads + 2.0 * s.kv_heads);
    const double layer = attention + 3.0 * hidden * s.intermediate_size;
    const double tables = (s.tied ? 1.0 : 2.0) * s.vocab_size * hidden;
    EXPECT_NEAR((s.layers * layer + tables) / 1e6, expected, 0.5) << name;
  }
}

TEST(TokenizerFiles, VocabularyHasEveryByteAndTheSpecialTokens) {
  for (const synth::Shape& shape : synth::shapes()) {
    const Json json = Json::parse(synth::tokenizer_json(shape));
    const Json& vocabulary = json["model"]["vocab"];
    std::vector<bool> seen(256);
    for (const auto& [text, id] : vocabulary.items()) {
      ASSERT_LT(id.get<uint32_t>(), shape.vocab_size);
      if (id < 256) seen[id.get<size_t>()] = true;
    }
    EXPECT_THAT(seen, Each(true));
    EXPECT_EQ(vocabulary.size(), 256 + json["added_tokens"].size());
    EXPECT_EQ(vocabulary["!"], 0);
    EXPECT_EQ(vocabulary["\u0120"], 220);  // the space, as in Qwen and Llama 3
    EXPECT_EQ(vocabulary["<|im_end|>"], shape.im_end);
    for (const Json& token : json["added_tokens"]) {
      EXPECT_EQ(vocabulary[token["content"].get<std::string>()], token["id"]);
    }
    EXPECT_THAT(synth::tokenizer_config_json(shape), HasSubstr("<|im_start|>assistant"));
  }
}

}  // namespace
}  // namespace krserve
