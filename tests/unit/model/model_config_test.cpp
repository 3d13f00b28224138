#include "model/formats/model_config.h"

#include "model_files.h"

namespace krserve {
namespace {

using test::Json;
using test::model_error;
using test::TempDir;
using test::write_file;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What Qwen/Qwen2.5-0.5B-Instruct has.
Json qwen2() {
  return {{"model_type", "qwen2"},       {"hidden_size", 896},
          {"num_hidden_layers", 24},     {"num_attention_heads", 14},
          {"num_key_value_heads", 2},    {"intermediate_size", 4864},
          {"vocab_size", 151936},        {"max_position_embeddings", 32768},
          {"rms_norm_eps", 1e-6},        {"rope_theta", 1000000.0},
          {"tie_word_embeddings", true}, {"use_sliding_window", false},
          {"sliding_window", 32768},     {"hidden_act", "silu"},
          {"bos_token_id", 151643},      {"eos_token_id", 151645}};
}

Json llama() {
  Json config = qwen2();
  config["model_type"] = "llama";
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  return config;
}

ModelConfig read(const Json& config) {
  const TempDir dir;
  write_file(dir / "config.json", config.dump());
  return read_model_config(dir.path());
}

std::string read_error(const Json& config) {
  return model_error([&] { read(config); });
}

// The message after `key` was set to `value`.
std::string set_error(Json config, const std::string& key, const Json& value) {
  config[key] = value;
  return read_error(config);
}

TEST(ModelConfig, ReadsQwen2) {
  const ModelConfig config = read(qwen2());
  EXPECT_EQ(config.architecture, Architecture::kQwen2);
  EXPECT_EQ(config.hidden_size, 896u);
  EXPECT_EQ(config.layers, 24u);
  EXPECT_EQ(config.heads, 14u);
  EXPECT_EQ(config.kv_heads, 2u);
  EXPECT_EQ(config.head_dim, 64u);
  EXPECT_EQ(config.intermediate_size, 4864u);
  EXPECT_EQ(config.vocab_size, 151936u);
  EXPECT_EQ(config.max_position_embeddings, 32768u);
  EXPECT_DOUBLE_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_DOUBLE_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_EQ(config.tie_word_embeddings, true);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.attention_output_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_FALSE(config.quantization.has_value());
  EXPECT_EQ(config.bos_token_id, 151643u);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(151645u));
}

TEST(ModelConfig, ReadsQwen3WithItsOwnHeadDim) {
  Json json = qwen2();
  json["model_type"] = "qwen3";
  json["head_dim"] = 128;
  const ModelConfig config = read(json);
  EXPECT_EQ(config.architecture, Architecture::kQwen3);
  EXPECT_EQ(config.head_dim, 128u);
  EXPECT_EQ(config.q_size(), 14u * 128u);
  EXPECT_EQ(config.kv_size(), 2u * 128u);
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.qkv_bias);
}

TEST(ModelConfig, ReadsLlamaWithBiasAndDefaults) {
  Json json = llama();
  json["attention_bias"] = true;
  for (const char* key : {"num_key_value_heads", "tie_word_embeddings", "rope_theta",
                          "rms_norm_eps", "bos_token_id", "eos_token_id", "hidden_act"}) {
    json.erase(key);
  }
  json["head_dim"] = nullptr;
  const ModelConfig config = read(json);
  EXPECT_EQ(config.kv_heads, 14u);
  EXPECT_EQ(config.head_dim, 64u);
  EXPECT_EQ(config.tie_word_embeddings, std::nullopt);
  EXPECT_DOUBLE_EQ(config.rope_theta, 10000.0);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_TRUE(config.attention_output_bias);
  EXPECT_TRUE(config.eos_token_ids.empty());
  EXPECT_FALSE(config.bos_token_id.has_value());
}

TEST(ModelConfig, ReadsEveryGoldenDirectory) {
  for (const char* name : {"qwen2-bf16", "qwen3-bf16", "llama-bf16", "llama-f16-sharded",
                           "qwen2-q4-g64", "llama-q4-g32", "qwen3-q8-g64-mixed"}) {
    EXPECT_EQ(read_model_config(test::kGolden / name).vocab_size, 512u) << name;
  }
}

TEST(ModelConfig, RopeScalingHasAllItsSpellings) {
  ModelConfig config = read(llama());
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_DOUBLE_EQ(config.rope_scaling.factor, 32.0);
  EXPECT_EQ(config.rope_scaling.original_max_position_embeddings, 8192u);

  Json json = qwen2();
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  config = read(json);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_DOUBLE_EQ(config.rope_scaling.factor, 4.0);
  EXPECT_DOUBLE_EQ(config.rope_theta, 1e6);

  json["rope_scaling"] = {{"rope_type", "default"}};
  EXPECT_EQ(read(json).rope_scaling.kind, RopeScaling::Kind::kNone);
}

TEST(ModelConfig, RopeParametersOfTransformers5) {
  Json json = qwen2();
  json.erase("rope_theta");
  json["rope_parameters"] = llama()["rope_scaling"];
  json["rope_parameters"]["rope_theta"] = 500000.0;
  const ModelConfig config = read(json);
  EXPECT_DOUBLE_EQ(config.rope_theta, 5e5);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLlama3);
}

TEST(ModelConfig, UnsupportedRopeIsRefusedByName) {
  EXPECT_THAT(set_error(qwen2(), "rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}),
              AllOf(HasSubstr("rope_scaling.type is \"yarn\""), HasSubstr("linear, llama3")));
  EXPECT_THAT(set_error(qwen2(), "rope_scaling", {{"rope_type", "dynamic"}, {"factor", 4.0}}),
              HasSubstr("rope_scaling.rope_type is \"dynamic\""));
  EXPECT_THAT(set_error(qwen2(), "rope_parameters", {{"rope_type", "longrope"}}),
              HasSubstr("rope_parameters.rope_type is \"longrope\""));
  EXPECT_THAT(set_error(qwen2(), "rope_parameters", {{"full_attention", {{"factor", 1}}}}),
              HasSubstr("one set of parameters for all layers"));
  EXPECT_THAT(set_error(qwen2(), "rope_scaling", "linear"), HasSubstr("expected an object"));
  EXPECT_THAT(set_error(qwen2(), "rope_scaling", {{"type", "linear"}}),
              HasSubstr("rope_scaling.factor missing"));
  EXPECT_THAT(set_error(qwen2(), "rope_scaling", {{"type", "linear"}, {"factor", 0}}),
              HasSubstr("rope_scaling.factor is 0"));
  EXPECT_THAT(set_error(qwen2(), "partial_rotary_factor", 0.5), HasSubstr("partial rotary"));
  EXPECT_THAT(set_error(qwen2(), "rope_parameters", {{"partial_rotary_factor", 0.5}}),
              HasSubstr("partial rotary"));
}

TEST(ModelConfig, IncompleteLlama3ScalingIsRefused) {
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    Json json = llama();
    json["rope_scaling"].erase(key);
    EXPECT_THAT(read_error(json), HasSubstr(std::string("rope_scaling.") + key + " missing"));
  }
  Json json = llama();
  json["rope_scaling"]["high_freq_factor"] = 1.0;
  EXPECT_THAT(read_error(json), HasSubstr("above low_freq_factor"));
}

TEST(ModelConfig, RequiredKeysAreRequired) {
  for (const char* key : {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    Json json = qwen2();
    json.erase(key);
    EXPECT_THAT(read_error(json),
                AllOf(HasSubstr(std::string(key) + " missing"), HasSubstr("config.json")));
  }
}

TEST(ModelConfig, SizesOfWrongTypeOrRangeAreRefused) {
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "head_dim", "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    for (const Json& bad : {Json(0), Json(-8), Json("64"), Json(64.0), Json(true), Json::array(),
                            Json(uint64_t{1} << 40), Json(1e30)}) {
      EXPECT_THAT(set_error(qwen2(), key, bad), AllOf(HasSubstr(key), HasSubstr("expected")))
          << key << " = " << bad;
    }
  }
}

TEST(ModelConfig, NumbersAndFlagsOfWrongTypeOrRangeAreRefused) {
  for (const Json& bad : {Json(0), Json(-1e-6), Json("1e-6"), Json(2.0), Json(true)}) {
    EXPECT_THAT(set_error(qwen2(), "rms_norm_eps", bad), HasSubstr("rms_norm_eps is"));
  }
  for (const Json& bad : {Json(0), Json(-1), Json("10000"), Json(1e13)}) {
    EXPECT_THAT(set_error(qwen2(), "rope_theta", bad), HasSubstr("rope_theta is"));
  }
  for (const char* key :
       {"tie_word_embeddings", "use_sliding_window", "attention_bias", "mlp_bias"}) {
    EXPECT_THAT(set_error(qwen2(), key, "yes"), HasSubstr("true or false"));
  }
  EXPECT_THAT(set_error(qwen2(), "hidden_act", 3), HasSubstr("expected a string"));
}

TEST(ModelConfig, HeadsMustDivide) {
  EXPECT_THAT(set_error(qwen2(), "num_key_value_heads", 3),
              AllOf(HasSubstr("num_key_value_heads is 3"), HasSubstr("14")));
  EXPECT_THAT(set_error(qwen2(), "hidden_size", 897), HasSubstr("no multiple of"));
  EXPECT_THAT(set_error(qwen2(), "head_dim", 63), HasSubstr("an even size"));
  Json odd = qwen2();
  odd["hidden_size"] = 14 * 63;
  EXPECT_THAT(read_error(odd), HasSubstr("an even size"));
  Json wide = qwen2();
  wide["num_attention_heads"] = 1;
  wide["num_key_value_heads"] = 1;
  wide["hidden_size"] = 8192;
  EXPECT_THAT(read_error(wide), HasSubstr("an even size up to 1024"));
}

TEST(ModelConfig, UnsupportedModelsAreRefused) {
  EXPECT_THAT(set_error(qwen2(), "model_type", "mixtral"),
              AllOf(HasSubstr("model_type is \"mixtral\""), HasSubstr("qwen2, qwen3, llama")));
  EXPECT_THAT(set_error(qwen2(), "use_sliding_window", true), HasSubstr("sliding-window"));
  EXPECT_THAT(set_error(qwen2(), "layer_types", {"full_attention", "sliding_attention"}),
              HasSubstr("full_attention"));
  EXPECT_THAT(set_error(qwen2(), "layer_types", 7), HasSubstr("full_attention"));
  EXPECT_THAT(set_error(llama(), "mlp_bias", true), HasSubstr("mlp_bias is true"));
  EXPECT_THAT(set_error(qwen2(), "hidden_act", "gelu"), HasSubstr("hidden_act is \"gelu\""));
}

TEST(ModelConfig, MlxQuantizationAndItsOverrides) {
  Json json = qwen2();
  json["quantization"] = {{"bits", 4},
                          {"group_size", 64},
                          {"mode", "affine"},
                          {"lm_head", false},
                          {"model.embed_tokens", {{"bits", 8}, {"group_size", 32}}},
                          {"model.layers.0.mlp.up_proj", true}};
  const ModelConfig config = read(json);
  ASSERT_TRUE(config.quantization.has_value());
  EXPECT_EQ(config.quantization->of("model.layers.1.mlp.up_proj"), (Quantization{4, 64}));
  EXPECT_EQ(config.quantization->of("model.embed_tokens"), (Quantization{8, 32}));
  EXPECT_EQ(config.quantization->of("model.layers.0.mlp.up_proj"), (Quantization{4, 64}));
  EXPECT_EQ(config.quantization->of("lm_head"), std::nullopt);
}

TEST(ModelConfig, QuantizationConfigOfMlxIsReadToo) {
  Json json = qwen2();
  json["quantization_config"] = {{"bits", 8}, {"group_size", 128}};
  EXPECT_EQ(read(json).quantization->base, (Quantization{8, 128}));
}

TEST(ModelConfig, UnsupportedQuantizationIsRefused) {
  const auto quantization_error = [](const Json& value) {
    return set_error(qwen2(), "quantization", value);
  };
  EXPECT_THAT(quantization_error({{"bits", 3}, {"group_size", 64}}),
              AllOf(HasSubstr("quantization.bits is 3"), HasSubstr("4 or 8")));
  EXPECT_THAT(quantization_error({{"bits", 4}, {"group_size", 48}}), HasSubstr("32, 64 or 128"));
  EXPECT_THAT(quantization_error({{"bits", "4"}, {"group_size", 64}}), HasSubstr("an integer"));
  EXPECT_THAT(quantization_error({{"bits", 4}}), HasSubstr("quantization.group_size missing"));
  EXPECT_THAT(quantization_error({{"group_size", 64}}), HasSubstr("quantization.bits missing"));
  EXPECT_THAT(quantization_error(4), HasSubstr("expected an object"));
  EXPECT_THAT(quantization_error({{"bits", 4}, {"group_size", 32}, {"mode", "mxfp4"}}),
              AllOf(HasSubstr("quantization.mode is \"mxfp4\"; expected \"affine\""),
                    HasSubstr("4 or 8 bits in groups of 32, 64 or 128")));
  // Its group of 16 is not what is wrong with it.
  EXPECT_THAT(quantization_error({{"bits", 4}, {"group_size", 16}, {"mode", "nvfp4"}}),
              HasSubstr("mode is \"nvfp4\""));
  EXPECT_THAT(quantization_error({{"bits", 4}, {"group_size", 64}, {"model.norm", "no"}}),
              HasSubstr("model.norm is \"no\""));
  EXPECT_THAT(quantization_error({{"bits", 4}, {"group_size", 64}, {"lm_head", {{"bits", 5}}}}),
              HasSubstr("quantization.lm_head.bits is 5"));
  EXPECT_THAT(set_error(qwen2(), "quantization_config", {{"quant_method", "gptq"}, {"bits", 4}}),
              HasSubstr("quant_method is \"gptq\""));
}

TEST(ModelConfig, CodeThatComesWithAModelIsRefused) {
  EXPECT_THAT(set_error(qwen2(), "model_file", "model.py"),
              HasSubstr("model_file is \"model.py\"; expected none"));
}

TEST(ModelConfig, EosIdsAreMergedWithGenerationConfig) {
  const TempDir dir;
  Json json = qwen2();
  json["eos_token_id"] = {128009, 128001};
  write_file(dir / "config.json", json.dump());
  write_file(dir / "generation_config.json", R"({"eos_token_id": [128008, 128009]})");
  EXPECT_THAT(read_model_config(dir.path()).eos_token_ids, ElementsAre(128001, 128008, 128009));
}

TEST(ModelConfig, BadSpecialTokensAreRefused) {
  for (const Json& bad : {Json(-1), Json("</s>"), Json(151936), Json(1.5), Json({1, "x"})}) {
    EXPECT_THAT(set_error(qwen2(), "eos_token_id", bad), HasSubstr("eos_token_id is"));
  }
  EXPECT_THAT(set_error(qwen2(), "bos_token_id", 151936), HasSubstr("bos_token_id is 151936"));
  const TempDir dir;
  write_file(dir / "config.json", qwen2().dump());
  write_file(dir / "generation_config.json", R"({"eos_token_id": "x"})");
  EXPECT_THAT(model_error([&] { read_model_config(dir.path()); }),
              HasSubstr("generation_config.json: eos_token_id is"));
  write_file(dir / "generation_config.json", "{");
  EXPECT_THAT(model_error([&] { read_model_config(dir.path()); }), HasSubstr("not valid JSON"));
}

TEST(ModelConfig, EveryTruncationIsRefused) {
  const TempDir dir;
  const std::string whole = llama().dump();
  for (size_t length = 0; length < whole.size(); ++length) {
    write_file(dir / "config.json", whole.substr(0, length));
    EXPECT_THROW(read_model_config(dir.path()), ModelError) << length;
  }
}

TEST(ModelConfig, MissingFileAndDuplicateKeysAreRefused) {
  const TempDir dir;
  EXPECT_THAT(model_error([&] { read_model_config(dir.path()); }), HasSubstr("config.json"));
  write_file(dir / "config.json", R"({"hidden_size": 1, "hidden_size": 2})");
  EXPECT_THAT(model_error([&] { read_model_config(dir.path()); }),
              HasSubstr("'hidden_size' appears twice"));
}

}  // namespace
}  // namespace krserve
