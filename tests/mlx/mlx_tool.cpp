// Runs parts of krserve for tests/mlx: ops of the CPU on one matrix, and the engine on prompts.
//
//   mlx_tool ops DIR N K OUT           the module "w" and the activations "x" of DIR's weights, at
//                                      every level of the processor: rows.LEVEL, y.LEVEL
//   mlx_tool generate MODEL IN OUT     greedy tokens, without an end, of every prompt of IN
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/cpu_kernels.h"
#include "kernels/ops/embed_rows.h"
#include "kernels/ops/matmul.h"
#include "model/formats/safetensors_writer.h"
#include "model/formats/weights.h"
#include "support/engine_client.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace krserve {
namespace {

using Json = nlohmann::json;

// The parameters of a step whose rows carry the tokens 0, 1, 2 ...
struct Step {
  explicit Step(uint32_t count) : layout(ops::step_layout(count, 0)), bytes(layout.pages_offset) {
    const ops::StepHeader header{count, 0, 0, 0};
    std::memcpy(bytes.data(), &header, sizeof(header));
    for (uint32_t i = 0; i < count; ++i) {
      const ops::StepRow row{static_cast<int32_t>(i), 0, 0, 0, 0};
      std::memcpy(bytes.data() + layout.rows_offset + i * sizeof(row), &row, sizeof(row));
    }
  }
  ops::StepLayout layout;
  std::vector<std::byte> bytes;
};

void* address(const TensorView& view) {
  return const_cast<std::byte*>(view.data);
}

void run_op(kernels::SimdLevel level, ops::Op op, const void* args,
            const std::vector<void*>& buffers) {
  const kernels::CpuKernel& kernel =
      kernels::cpu_kernel_table(level).kernels[static_cast<uint32_t>(op)];
  const kernels::Call call{args, buffers.data(), 0};
  kernels::Scratch scratch;
  kernel.run(call, 0, kernel.task_count(call), scratch);
}

std::vector<float> dequantized(kernels::SimdLevel level, const LinearWeights& w) {
  Step step(w.args.n);
  std::vector<float> out(size_t{w.args.n} * w.args.k);
  const ops::EmbedRowsArgs args{w.args, step.layout};
  run_op(level, ops::Op::kEmbedRows, &args,
         {step.bytes.data(), address(w.weight), address(*w.scales), address(*w.biases), nullptr,
          out.data()});
  return out;
}

std::vector<float> product(kernels::SimdLevel level, const LinearWeights& w,
                           std::vector<float>& x) {
  const auto rows = static_cast<uint32_t>(x.size() / w.args.k);
  Step step(rows);
  std::vector<float> y(size_t{rows} * w.args.n);
  const ops::MatmulArgs args{w.args, ops::RowCount::kRows, 0};
  run_op(level, ops::Op::kMatmul, &args,
         {step.bytes.data(), x.data(), address(w.weight), address(*w.scales), address(*w.biases),
          nullptr, y.data()});
  return y;
}

int run_ops(const std::string& directory, uint32_t n, uint32_t k, const std::string& out) {
  const Checkpoint checkpoint(directory);
  ModelConfig config;
  config.quantization.emplace();  // the shapes say the rest
  const LinearWeights w = resolve_linear(checkpoint, config, "w", {n, k, false});
  const TensorView& view = checkpoint.require("x");
  std::vector<float> x(view.bytes / sizeof(float));
  std::memcpy(x.data(), view.data, view.bytes);
  std::vector<TensorSpec> specs;
  std::vector<std::vector<float>> results;
  for (const kernels::SimdLevel level : kernels::kAllSimdLevels) {
    if (!kernels::simd_level_supported(level)) continue;
    const std::string name(kernels::to_string(level));
    results.push_back(dequantized(level, w));
    specs.push_back({"rows." + name, Dtype::kF32, {n, k}});
    results.push_back(product(level, w, x));
    specs.push_back({"y." + name, Dtype::kF32, {static_cast<int64_t>(x.size() / k), n}});
  }
  SafetensorsWriter writer(out, specs, "mlx");
  for (const auto& result : results) writer.append(result.data(), result.size() * sizeof(float));
  writer.finish();
  return 0;
}

std::vector<int32_t> prompt_of(const engine::Engine& engine, const Json& json) {
  if (json.contains("tokens")) return json.at("tokens");
  const std::string text = engine.chat_template().render(json.at("messages").dump());
  return engine.tokenizer().encode(text, false);
}

int run_generate(const std::string& model, const std::string& in, const std::string& out) {
  std::ifstream file(in);
  const Json prompts = Json::parse(file);
  RuntimeConfig config = test::small_config(true, true, true);
  config.metal_optimizations.memory_pool.heap_size_mb = 128;
  config.engine.threads = 0;
  config.engine.parallel = 8;
  config.engine.prefill_chunk_tokens = 256;
  config.engine.ctx_size = 0;
  config.engine.max_queued = 4096;
  const auto engine = engine::Engine::create(config, model);
  std::vector<test::Submitted> replies;
  Json result = Json::array();
  for (const Json& json : prompts) {
    auto request = test::greedy_request(prompt_of(*engine, json), json.at("max_tokens"));
    result.push_back({{"prompt", request.prompt}});
    replies.push_back(test::submit(*engine, std::move(request)));
  }
  for (size_t i = 0; i < replies.size(); ++i) result[i]["tokens"] = replies[i].wait().tokens;
  std::ofstream(out) << result;
  return 0;
}

}  // namespace
}  // namespace krserve

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    if (args.size() == 5 && args[0] == "ops") {
      return krserve::run_ops(args[1], static_cast<uint32_t>(std::stoul(args[2])),
                              static_cast<uint32_t>(std::stoul(args[3])), args[4]);
    }
    if (args.size() == 4 && args[0] == "generate") {
      return krserve::run_generate(args[1], args[2], args[3]);
    }
    std::fprintf(stderr, "usage: mlx_tool ops DIR N K OUT | generate MODEL IN OUT\n");
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mlx_tool: %s\n", error.what());
    return 1;
  }
}
