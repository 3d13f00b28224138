#include "model/formats/weights.h"

#include <cmath>

#include "model/formats/float_bits.h"
#include "model_files.h"

namespace krserve {
namespace {

using test::Json;
using test::model_error;
using test::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Golden {
  explicit Golden(const std::filesystem::path& directory)
      : config(read_model_config(directory)),
        checkpoint(directory),
        weights(load_decoder_weights(checkpoint, config)) {}
  ModelConfig config;
  Checkpoint checkpoint;
  DecoderWeights weights;
};

float float_at(const TensorView& view, size_t i) {
  if (view.dtype == Dtype::kF32) return reinterpret_cast<const float*>(view.data)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(view.data)[i];
  return view.dtype == Dtype::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// The plain definition of MLX's affine format, one element at a time.
float element(const LinearWeights& linear, size_t row, size_t column) {
  const size_t k = linear.args.k;
  if (!linear.quantized()) return float_at(linear.weight, row * k + column);
  const size_t bits = linear.args.format == ops::WeightFormat::kQ4 ? 4 : 8;
  const size_t per_word = 32 / bits;
  const auto* words = reinterpret_cast<const uint32_t*>(linear.weight.data);
  const uint32_t word = words[row * (k / per_word) + column / per_word];
  const uint32_t q = (word >> (column % per_word * bits)) & ((1u << bits) - 1);
  const size_t group = row * (k / linear.args.group_size) + column / linear.args.group_size;
  return float_at(*linear.scales, group) * static_cast<float>(q) + float_at(*linear.biases, group);
}

// Counts elements of `linear` that differ from the f32 matrix `expected`.
size_t differing(const LinearWeights& linear, const TensorView& expected) {
  EXPECT_EQ(expected.shape, (std::vector<int64_t>{linear.args.n, linear.args.k}));
  size_t count = 0;
  for (size_t row = 0; row < linear.args.n; ++row) {
    for (size_t column = 0; column < linear.args.k; ++column) {
      const float want = float_at(expected, row * linear.args.k + column);
      if (std::abs(element(linear, row, column) - want) > 1e-6f * (1 + std::abs(want))) ++count;
    }
  }
  return count;
}

TEST(FloatBits, HalfPrecisionHasAllItsClasses) {
  EXPECT_EQ(f16_to_f32(0x3C00), 1.0f);
  EXPECT_EQ(f16_to_f32(0xC500), -5.0f);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0f);
  EXPECT_EQ(f16_to_f32(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(f16_to_f32(0x83FF), -1023 * std::ldexp(1.0f, -24));
  EXPECT_TRUE(std::signbit(f16_to_f32(0x8000)));
  EXPECT_TRUE(std::isinf(f16_to_f32(0x7C00)));
  EXPECT_TRUE(std::isnan(f16_to_f32(0x7E00)));
  EXPECT_EQ(bf16_to_f32(0x3FC0), 1.5f);
}

TEST(FloatBits, Bf16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.5f), 0x3FC0);
  EXPECT_EQ(f32_to_bf16(1.0f + 1.0f / 256), 0x3F80);
  EXPECT_EQ(f32_to_bf16(1.0f + 3.0f / 256), 0x3F82);
  EXPECT_EQ(f32_to_bf16(-1.0f - 1.01f / 256), 0xBF81);
}

TEST(FloatBits, HalfPrecisionRoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {  // every finite value comes back
    const auto half = static_cast<uint16_t>(bits);
    ASSERT_EQ(f32_to_f16(f16_to_f32(half)), half);
    ASSERT_EQ(f32_to_f16(-f16_to_f32(half)), half | 0x8000);
  }
  EXPECT_EQ(f32_to_f16(1.0f + std::ldexp(1.0f, -11)), 0x3C00);  // a tie, down to even
  EXPECT_EQ(f32_to_f16(1.0f + 3 * std::ldexp(1.0f, -11)), 0x3C02);
  EXPECT_EQ(f32_to_f16(std::ldexp(1.0f, -25)), 0x0000);
  EXPECT_EQ(f32_to_f16(3 * std::ldexp(1.0f, -25)), 0x0002);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xFC00);
}

TEST(Weights, ResolvesBf16Qwen2WithoutCopies) {
  const Golden golden(test::kGolden / "qwen2-bf16");
  const DecoderWeights& weights = golden.weights;
  ASSERT_EQ(weights.layers.size(), 2u);
  const LinearWeights& q = weights.layers[1].q;
  EXPECT_EQ(q.module, "model.layers.1.self_attn.q_proj");
  EXPECT_EQ(q.args.format, ops::WeightFormat::kBF16);
  EXPECT_EQ(q.args.n, 128u);
  EXPECT_EQ(q.bias.size(), 128u);
  EXPECT_EQ(q.weight.data, golden.checkpoint.require(q.module + ".weight").data);
  EXPECT_TRUE(weights.layers[0].o.bias.empty());
  EXPECT_TRUE(weights.layers[0].q_norm.empty());
  EXPECT_FALSE(weights.lm_head.has_value());
  EXPECT_EQ(&weights.head(), &weights.embeddings);
  EXPECT_EQ(weights.final_norm.size(), 128u);
  EXPECT_EQ(weights.final_norm[5], float_at(golden.checkpoint.require("model.norm.weight"), 5));
}

TEST(Weights, ResolvesQwen3Norms) {
  const Golden golden(test::kGolden / "qwen3-bf16");
  EXPECT_EQ(golden.weights.layers[0].q_norm.size(), 64u);
  EXPECT_EQ(golden.weights.layers[0].k_norm.size(), 64u);
  EXPECT_TRUE(golden.weights.layers[0].q.bias.empty());
  EXPECT_EQ(golden.weights.layers[0].q.args.n, 256u);
  EXPECT_EQ(golden.weights.layers[0].o.args.k, 256u);
}

TEST(Weights, ResolvesShardedF16LlamaWithBiases) {
  const Golden golden(test::kGolden / "llama-f16-sharded");
  const LayerWeights& layer = golden.weights.layers[0];
  EXPECT_EQ(layer.o.args.format, ops::WeightFormat::kF16);
  EXPECT_EQ(layer.o.bias.size(), 64u);
  EXPECT_EQ(layer.v.bias[3],
            float_at(golden.checkpoint.require("model.layers.0.self_attn.v_proj.bias"), 3));
  ASSERT_TRUE(golden.weights.lm_head.has_value());
  EXPECT_EQ(&golden.weights.head(), &*golden.weights.lm_head);
}

TEST(Weights, BytesCountEveryMatrixOnce) {
  const Golden golden(test::kGolden / "qwen2-bf16");
  const uint64_t matrices = 512 * 128 + 2 * (2 * 128 * 128 + 2 * 64 * 128 + 3 * 128 * 128);
  EXPECT_EQ(golden.weights.bytes(), matrices * 2 + 2 * (128 + 64 + 64) * sizeof(float));
}

TEST(Weights, FourBitUnpacksToWhatMlxDequantizes) {
  const Golden golden(test::kGolden / "qwen2-q4-g64");
  const Checkpoint expected(test::kGolden / "qwen2-q4-g64-dequantized-f32-sharded");
  const LayerWeights& layer = golden.weights.layers[1];
  for (const auto* linear : {&golden.weights.embeddings, &layer.q, &layer.k, &layer.v, &layer.o,
                             &layer.gate, &layer.up, &layer.down}) {
    EXPECT_EQ(linear->args.format, ops::WeightFormat::kQ4);
    EXPECT_EQ(linear->args.scale_type, ops::FloatType::kBF16);
    EXPECT_EQ(linear->args.group_size, 64u);
    EXPECT_EQ(differing(*linear, expected.require(linear->module + ".weight")), 0u)
        << linear->module;
  }
}

TEST(Weights, Group32UnpacksToWhatMlxDequantizes) {
  const Golden golden(test::kGolden / "llama-q4-g32");
  const SafetensorsFile expected(test::kGolden / "llama-q4-g32" / "dequantized.safetensors");
  EXPECT_EQ(golden.weights.embeddings.args.group_size, 32u);
  EXPECT_EQ(golden.weights.lm_head->args.format, ops::WeightFormat::kQ4);
  EXPECT_EQ(differing(golden.weights.embeddings, *expected.find("model.embed_tokens.weight")), 0u);
}

TEST(Weights, EightBitAndOverridesUnpackToWhatMlxDequantizes) {
  const Golden golden(test::kGolden / "qwen3-q8-g64-mixed");
  const SafetensorsFile expected(test::kGolden / "qwen3-q8-g64-mixed" / "dequantized.safetensors");
  const DecoderWeights& weights = golden.weights;
  EXPECT_EQ(weights.embeddings.args.format, ops::WeightFormat::kQ8);
  EXPECT_EQ(differing(weights.embeddings, *expected.find("model.embed_tokens.weight")), 0u);
  EXPECT_EQ(weights.layers[0].down.args.format, ops::WeightFormat::kBF16);
  EXPECT_EQ(weights.layers[1].q.args.format, ops::WeightFormat::kQ4);
  EXPECT_EQ(weights.layers[1].q.args.group_size, 32u);
  EXPECT_EQ(
      differing(weights.layers[1].q, *expected.find("model.layers.1.self_attn.q_proj.weight")), 0u);
}

// A checkpoint of one linear module "m" [64, 128], in 4 bit, group 64, which tests bend.
struct OneLinear {
  std::map<std::string, test::RawTensor> tensors = {
      {"m.weight", {"U32", {64, 16}, std::string(64 * 16 * 4, 'w')}},
      {"m.scales", {"F16", {64, 2}, std::string(64 * 2 * 2, '\x11')}},
      {"m.biases", {"F16", {64, 2}, std::string(64 * 2 * 2, '\x11')}}};
  QuantizationConfig quantization{{4, 64}, {}};
  LinearShape shape{64, 128, false};
  bool quantized = true;

  LinearWeights resolve(const TempDir& dir) const {
    test::write_file(dir / "model.safetensors", test::safetensors_bytes(tensors));
    ModelConfig config;
    if (quantized) config.quantization = quantization;
    return resolve_linear(Checkpoint(dir.path()), config, "m", shape);
  }
  std::string error() const {
    const TempDir dir;
    return model_error([&] { resolve(dir); });
  }
};

TEST(ResolveLinear, AcceptsTheModuleThatTheOtherTestsBend) {
  const TempDir dir;
  const LinearWeights linear = OneLinear().resolve(dir);
  EXPECT_EQ(linear.args.format, ops::WeightFormat::kQ4);
  EXPECT_EQ(linear.args.scale_type, ops::FloatType::kF16);
  EXPECT_EQ(linear.bytes(), 64u * 16 * 4 + 2 * 64 * 2 * 2);
}

TEST(ResolveLinear, QuantizedShapeMustMatchArchitectureAndBits) {
  OneLinear linear;
  linear.shape = {4864, 896, false};
  EXPECT_THAT(linear.error(),
              HasSubstr("[model.load] m.weight: shape [64, 16], expected [4864, 112] "
                        "(4 bit, group 64); re-download"));
  linear = {};
  linear.quantization.overrides["m"] = Quantization{8, 64};
  EXPECT_THAT(linear.error(), HasSubstr("expected [64, 32] (8 bit, group 64)"));
  linear = {};
  linear.quantization.overrides["m"] = Quantization{4, 32};
  EXPECT_THAT(linear.error(), HasSubstr("m.scales: shape [64, 2], expected [64, 4]"));
  linear = {};
  linear.tensors["m.biases"] = {"F16", {128}, std::string(256, 'x')};
  EXPECT_THAT(linear.error(), HasSubstr("m.biases: shape [128], expected [64, 2]"));
}

// As mlx-lm: config.json's general values need not be those of a module without an entry.
TEST(ResolveLinear, ShapesDecideWhereTheModuleHasNoEntry) {
  OneLinear linear;
  linear.quantization.base = {8, 128};
  const TempDir dir;
  EXPECT_EQ(linear.resolve(dir).args.format, ops::WeightFormat::kQ4);
  EXPECT_EQ(linear.resolve(dir).args.group_size, 64u);
  linear.tensors["m.weight"] = {"U32", {64, 24}, std::string(64 * 24 * 4, 'w')};
  EXPECT_THAT(linear.error(), AllOf(HasSubstr("m is quantized with 6 bit, group 64 by its shapes"),
                                    HasSubstr("4 or 8 bits in groups of 32, 64 or 128")));
}

TEST(ResolveLinear, GroupMustDivideTheColumns) {
  OneLinear linear;
  linear.shape.k = 96;
  EXPECT_THAT(linear.error(), HasSubstr("96 columns are no multiple of the group size 64"));
}

TEST(ResolveLinear, MissingPartsAreNamed) {
  OneLinear linear;
  linear.tensors.erase("m.biases");
  EXPECT_THAT(linear.error(), HasSubstr("'m.biases' is missing"));
  linear = {};
  linear.tensors.erase("m.weight");
  EXPECT_THAT(linear.error(), HasSubstr("'m.weight' is missing"));
  linear = {};
  linear.shape.has_bias = true;
  EXPECT_THAT(linear.error(), HasSubstr("'m.bias' is missing"));
}

TEST(ResolveLinear, DtypesMustBeTheFormatsOwn) {
  OneLinear linear;
  linear.tensors["m.weight"].dtype = "I32";
  EXPECT_THAT(linear.error(), HasSubstr("m.weight: dtype I32, expected U32"));
  linear = {};
  linear.tensors["m.scales"].dtype = "U16";
  EXPECT_THAT(linear.error(), HasSubstr("m.scales: dtype U16, expected F32, F16 or BF16"));
  linear = {};
  linear.tensors["m.biases"].dtype = "BF16";
  EXPECT_THAT(linear.error(), HasSubstr("m.biases: dtype BF16, expected F16"));
}

TEST(ResolveLinear, ConfigMustSayHowAModuleIsQuantized) {
  OneLinear linear;
  linear.quantized = false;
  EXPECT_THAT(linear.error(), HasSubstr("m.scales exists, but config.json does not say"));
  linear = {};
  linear.quantization.overrides["m"] = std::nullopt;
  EXPECT_THAT(linear.error(), HasSubstr("m.scales exists, but config.json does not say"));
  linear = {};
  linear.tensors.erase("m.scales");
  linear.quantization.overrides["m"] = Quantization{8, 64};
  EXPECT_THAT(linear.error(), HasSubstr("config.json says 8 bit, group 64, but m.scales"));
}

TEST(ResolveLinear, PlainWeightsAreCheckedToo) {
  OneLinear linear;
  linear.tensors = {{"m.weight", {"F32", {128, 64}, std::string(128 * 64 * 4, '\0')}}};
  EXPECT_THAT(linear.error(), AllOf(HasSubstr("m.weight: shape [128, 64], expected [64, 128];"),
                                    Not(HasSubstr("bit"))));
  linear.tensors["m.weight"].dtype = "U32";
  linear.tensors["m.weight"].shape = {64, 128};
  EXPECT_THAT(linear.error(), HasSubstr("m.weight: dtype U32, expected F32, F16 or BF16"));
  linear.tensors["m.weight"].dtype = "F32";
  const TempDir dir;
  EXPECT_EQ(linear.resolve(dir).args.format, ops::WeightFormat::kF32);
}

TEST(ResolveLinear, UnexpectedBiasIsRefused) {
  OneLinear linear;
  linear.tensors["m.bias"] = {"F32", {64}, std::string(256, '\0')};
  EXPECT_THAT(linear.error(), HasSubstr("m.bias exists"));
  linear.shape.has_bias = true;
  const TempDir dir;
  EXPECT_EQ(linear.resolve(dir).bias.size(), 64u);
}

TEST(ReadVector, ChecksShapeDtypeAndValues) {
  const TempDir dir;
  test::write_file(dir / "model.safetensors",
                   test::safetensors_bytes({{"bf", {"BF16", {1}, std::string("\xC0\x3F", 2)}},
                                            {"inf", {"F16", {1}, std::string("\x00\x7C", 2)}},
                                            {"int", {"I32", {1}, std::string(4, '\0')}},
                                            {"two", {"F32", {2}, std::string(8, '\0')}}}));
  const Checkpoint checkpoint(dir.path());
  EXPECT_EQ(read_vector(checkpoint, "bf", 1), std::vector<float>{1.5f});
  EXPECT_THAT(model_error([&] { read_vector(checkpoint, "two", 3); }),
              HasSubstr("two: shape [2], expected [3]"));
  EXPECT_THAT(model_error([&] { read_vector(checkpoint, "int", 1); }), HasSubstr("dtype I32"));
  EXPECT_THAT(model_error([&] { read_vector(checkpoint, "inf", 1); }),
              HasSubstr("inf: element 0 is inf"));
  EXPECT_THAT(model_error([&] { read_vector(checkpoint, "none", 1); }), HasSubstr("missing"));
}

// config.json and weights of different models: every tensor must be found out, not only the first.
TEST(DecoderWeights, AnyMissingTensorIsRefusedByName) {
  const auto source = test::kGolden / "llama-f16-sharded";
  const Json index = test::read_json(source / "model.safetensors.index.json");
  const TempDir dir;
  for (const auto& entry : std::filesystem::directory_iterator(source)) {
    std::filesystem::copy(entry.path(), dir.path());
  }
  const ModelConfig config = read_model_config(dir.path());
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    Json without = index;
    without["weight_map"].erase(tensor);
    test::write_file(dir / "model.safetensors.index.json", without.dump());
    const Checkpoint checkpoint(dir.path());
    EXPECT_THAT(model_error([&] { load_decoder_weights(checkpoint, config); }),
                HasSubstr("'" + tensor + "' is missing"));
  }
}

TEST(DecoderWeights, WithoutAWordTheTensorsSayWhetherTheHeadIsTied) {
  for (const auto& [model, tied] : {std::pair("llama-bf16", false), {"qwen2-bf16", true}}) {
    const Checkpoint checkpoint(test::kGolden / model);
    ModelConfig config = read_model_config(test::kGolden / model);
    EXPECT_EQ(config.tie_word_embeddings, tied);
    config.tie_word_embeddings.reset();
    EXPECT_EQ(load_decoder_weights(checkpoint, config).lm_head.has_value(), !tied);
  }
}

TEST(DecoderWeights, ConfigOfAnotherModelIsRefused) {
  const Checkpoint checkpoint(test::kGolden / "qwen2-bf16");
  ModelConfig config = read_model_config(test::kGolden / "qwen2-bf16");
  config.intermediate_size = 192;
  EXPECT_THAT(model_error([&] { load_decoder_weights(checkpoint, config); }),
              HasSubstr("mlp.gate_proj.weight: shape [128, 128], expected [192, 128]"));
  config = read_model_config(test::kGolden / "qwen2-bf16");
  config.layers = 3;
  EXPECT_THAT(model_error([&] { load_decoder_weights(checkpoint, config); }),
              HasSubstr("'model.layers.2.input_layernorm.weight' is missing"));
}

}  // namespace
}  // namespace krserve
