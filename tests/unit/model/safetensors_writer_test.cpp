#include "model/formats/safetensors_writer.h"

#include "model_files.h"

namespace krserve {
namespace {

using test::model_error;
using test::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const TempDir dir;
  SafetensorsWriter writer(dir / "x", {{"b", Dtype::kU32, {2, 1}}, {"a", Dtype::kU8, {3}}}, "pt");
  EXPECT_EQ(writer.total_bytes(), 11u);
  writer.append("abcde", 5);
  writer.append("fghxyz", 6);
  EXPECT_EQ(writer.written_bytes(), 11u);
  writer.finish();

  const SafetensorsFile file(dir / "x");
  EXPECT_EQ(std::memcmp(file.find("b")->data, "abcdefgh", 8), 0);
  EXPECT_EQ(std::memcmp(file.find("a")->data, "xyz", 3), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.find("b")->data) % 64, 0u);
}

TEST(SafetensorsWriter, PiecesMayComeInAnyOrder) {
  const TempDir dir;
  SafetensorsWriter writer(dir / "x", {{"a", Dtype::kU8, {3}}, {"b", Dtype::kU8, {2}}}, "mlx");
  writer.write_at(3, "de", 2);
  writer.write_at(0, "a", 1);
  EXPECT_EQ(writer.written_bytes(), 3u);
  writer.write_at(1, "bc", 2);
  writer.finish();
  const SafetensorsFile file(dir / "x");
  EXPECT_EQ(std::memcmp(file.find("a")->data, "abcde", 5), 0);
}

TEST(SafetensorsWriter, FullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  EXPECT_THAT(model_error([] { SafetensorsWriter("/dev/full", {{"a", Dtype::kU8, {3}}}, "pt"); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space left")));
}

TEST(SafetensorsWriter, UnwritablePathIsAnError) {
  EXPECT_THAT(model_error([] { SafetensorsWriter("/nonexistent/x", {}, "pt"); }),
              AllOf(HasSubstr("/nonexistent/x"), HasSubstr("cannot create")));
}

}  // namespace
}  // namespace krserve
