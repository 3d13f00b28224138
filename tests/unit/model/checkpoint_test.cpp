#include "model/formats/checkpoint.h"

#include "model_files.h"

namespace krserve {
namespace {

using test::Json;
using test::model_error;
using test::TempDir;
using test::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Two shards, "a" in the first and "b" in the second, and the index that says so.
void write_sharded(const TempDir& dir) {
  write_file(dir / "s1.safetensors",
             test::safetensors_bytes({{"a", {"U8", {3}, std::string(3, 'a')}}}));
  write_file(dir / "s2.safetensors",
             test::safetensors_bytes({{"b", {"U8", {4}, std::string(4, 'b')}}}));
  const Json index = {{"weight_map", {{"a", "s1.safetensors"}, {"b", "s2.safetensors"}}}};
  write_file(dir / "model.safetensors.index.json", index.dump());
}

void write_index(const TempDir& dir, const Json& weight_map) {
  write_file(dir / "model.safetensors.index.json", Json{{"weight_map", weight_map}}.dump());
}

TEST(Checkpoint, ReadsASingleFile) {
  const TempDir dir;
  write_file(dir / "model.safetensors",
             test::safetensors_bytes({{"a", {"U8", {3}, std::string(3, 'a')}}}));
  const Checkpoint checkpoint(dir.path());
  EXPECT_EQ(checkpoint.size(), 1u);
  EXPECT_EQ(checkpoint.bytes(), 3u);
  EXPECT_EQ(static_cast<char>(*checkpoint.require("a").data), 'a');
}

TEST(Checkpoint, ReadsShardsAndKeepsThemMappedWhenMoved) {
  const TempDir dir;
  write_sharded(dir);
  Checkpoint first(dir.path());
  const Checkpoint checkpoint(std::move(first));
  EXPECT_EQ(checkpoint.files().size(), 2u);
  EXPECT_EQ(checkpoint.bytes(), 7u);
  EXPECT_EQ(static_cast<char>(*checkpoint.require("a").data), 'a');
  EXPECT_EQ(static_cast<char>(*checkpoint.require("b").data), 'b');
}

TEST(Checkpoint, ReadsShardsWithoutAnIndexAsMlxLmDoes) {
  const TempDir dir;
  write_file(dir / "model-00001-of-00002.safetensors",
             test::safetensors_bytes({{"a", {"U8", {3}, std::string(3, 'a')}}}));
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }),
              HasSubstr("1 of 2 shards are there; re-download the others"));
  const auto second = dir / "model-00002-of-00002.safetensors";
  write_file(second, test::safetensors_bytes({{"b", {"U8", {4}, std::string(4, 'b')}}}));
  const Checkpoint checkpoint(dir.path());
  EXPECT_EQ(checkpoint.bytes(), 7u);
  EXPECT_EQ(static_cast<char>(*checkpoint.require("b").data), 'b');
  write_file(second, test::safetensors_bytes({{"a", {"U8", {1}, "a"}}}));
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }),
              HasSubstr("tensor 'a' is in several files and there is no model.safetensors.index"));
}

TEST(Checkpoint, ReadsShardsThatTransformersWrote) {
  const Checkpoint checkpoint(test::kGolden / "llama-f16-sharded");
  EXPECT_GE(checkpoint.files().size(), 2u);
  EXPECT_EQ(checkpoint.require("lm_head.weight").dtype, Dtype::kF16);
  checkpoint.advise(MapAdvice::kWillNeed);
}

TEST(Checkpoint, MissingTensorIsNamed) {
  const TempDir dir;
  write_sharded(dir);
  const Checkpoint checkpoint(dir.path());
  EXPECT_EQ(checkpoint.find("c"), nullptr);
  EXPECT_THAT(model_error([&] { checkpoint.require("c"); }),
              AllOf(HasSubstr("tensor 'c' is missing"), HasSubstr(dir.path().string())));
}

TEST(Checkpoint, MissingDirectoryIsRefused) {
  EXPECT_THAT(model_error([] { Checkpoint("/nonexistent/model"); }),
              HasSubstr("is not a directory"));
}

TEST(Checkpoint, DirectoryWithoutWeightsIsRefusedWithAHint) {
  const TempDir dir;
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }),
              HasSubstr("holds neither model.safetensors nor"));
  write_file(dir / "pytorch_model.bin", "x");
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }),
              HasSubstr("pytorch_model.bin is of an unsupported format"));
}

TEST(Checkpoint, MissingShardIsNamed) {
  const TempDir dir;
  write_sharded(dir);
  std::filesystem::remove(dir / "s2.safetensors");
  EXPECT_THAT(
      model_error([&] { Checkpoint(dir.path()); }),
      AllOf(HasSubstr("1 of 2 shards are missing: s2.safetensors"), HasSubstr("re-download")));
}

TEST(Checkpoint, TensorThatIsNotInItsShardIsRefused) {
  const TempDir dir;
  write_sharded(dir);
  write_index(dir, {{"a", "s1.safetensors"}, {"b", "s1.safetensors"}});
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }),
              HasSubstr("tensor 'b' is not in its shard s1.safetensors"));
}

TEST(Checkpoint, TruncatedShardIsRefused) {
  const TempDir dir;
  write_sharded(dir);
  const std::string whole = test::read_file(dir / "s2.safetensors");
  write_file(dir / "s2.safetensors", whole.substr(0, whole.size() - 1));
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }),
              AllOf(HasSubstr("s2.safetensors"), HasSubstr("tensor 'b'")));
}

TEST(Checkpoint, ShardOutsideTheDirectoryIsRefused) {
  const TempDir dir;
  write_sharded(dir);
  for (const char* shard : {"../s1.safetensors", "/etc/passwd", "x/s1.safetensors", "..", ""}) {
    write_index(dir, {{"a", shard}});
    EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }), HasSubstr("in the same directory"))
        << shard;
  }
}

TEST(Checkpoint, MalformedIndexIsRefused) {
  const TempDir dir;
  write_sharded(dir);
  write_index(dir, {{"a", 7}});
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }), HasSubstr("expected a string"));
  write_index(dir, Json::array({1}));
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }), HasSubstr("expected an object"));
  write_index(dir, Json::object());
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }), HasSubstr("one entry for each"));
  write_file(dir / "model.safetensors.index.json", "{}");
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }), HasSubstr("weight_map missing"));
  write_file(dir / "model.safetensors.index.json", "");
  EXPECT_THAT(model_error([&] { Checkpoint(dir.path()); }), HasSubstr("0 bytes"));
}

}  // namespace
}  // namespace krserve
