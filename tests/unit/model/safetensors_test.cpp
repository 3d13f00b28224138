#include "model/formats/safetensors.h"

#include "model/formats/mapped_file.h"
#include "model_files.h"

namespace krserve {
namespace {

using test::model_error;
using test::TempDir;
using test::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::map<std::string, test::RawTensor> kTwoTensors = {
    {"a", {"F32", {2, 3}, std::string(24, 'a')}}, {"b", {"BF16", {5}, std::string(10, 'b')}}};

// The message of opening a file with these bytes.
std::string open_error(const std::string& bytes) {
  const TempDir dir;
  write_file(dir / "x.safetensors", bytes);
  return model_error([&] { SafetensorsFile(dir / "x.safetensors"); });
}

std::string entry_error(const std::string& entry, size_t data_bytes = 24) {
  return open_error(test::safetensors_bytes("{\"w\":" + entry + "}", std::string(data_bytes, 'd')));
}

TEST(MappedFile, MapsTheBytesOfAFile) {
  const TempDir dir;
  write_file(dir / "f", "hello");
  const MappedFile file(dir / "f");
  file.advise(MapAdvice::kSequential);
  file.advise(MapAdvice::kWillNeed);
  ASSERT_EQ(file.size(), 5u);
  EXPECT_EQ(std::memcmp(file.data(), "hello", 5), 0);
}

TEST(MappedFile, MovedFromObjectLetsGo) {
  const TempDir dir;
  write_file(dir / "f", "hello");
  write_file(dir / "g", "other");
  MappedFile first(dir / "f");
  MappedFile second(std::move(first));
  first = MappedFile(dir / "g");
  second = std::move(first);
  EXPECT_EQ(std::memcmp(second.data(), "other", 5), 0);
}

TEST(MappedFile, ReleasedPagesCanBeReadAgain) {
  const TempDir dir;
  write_file(dir / "f", std::string(100'000, 'x'));
  const MappedFile file(dir / "f");
  file.release(file.data() + 1, file.size() - 1);
  EXPECT_EQ(static_cast<char>(file.data()[50'000]), 'x');
}

TEST(MappedFile, EmptyFileHasNoData) {
  const TempDir dir;
  write_file(dir / "f", "");
  EXPECT_EQ(MappedFile(dir / "f").size(), 0u);
}

TEST(MappedFile, MissingFileAndDirectoryAreRefused) {
  const TempDir dir;
  EXPECT_THAT(model_error([&] { MappedFile(dir / "none"); }),
              AllOf(HasSubstr("none"), HasSubstr("No such file")));
  EXPECT_THAT(model_error([&] { MappedFile(dir.path()); }), HasSubstr("not a regular file"));
}

TEST(Safetensors, ReadsTensorsInPlace) {
  const TempDir dir;
  write_file(dir / "x", test::safetensors_bytes(kTwoTensors));
  const SafetensorsFile file(dir / "x");
  ASSERT_EQ(file.tensors().size(), 2u);
  const TensorView* a = file.find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, Dtype::kF32);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(a->bytes, 24u);
  EXPECT_EQ(static_cast<char>(a->data[23]), 'a');
  EXPECT_EQ(static_cast<char>(file.find("b")->data[0]), 'b');
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_GE(a->data, file.file().data());
  EXPECT_LE(a->data + a->bytes, file.file().data() + file.file().size());
}

TEST(Safetensors, AcceptsMetadataScalarsAndEmptyTensors) {
  const TempDir dir;
  const std::string header =
      R"({"__metadata__":{"format":"mlx"},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("e":{"dtype":"F32","shape":[0,7],"data_offsets":[2,2]}})";
  write_file(dir / "x", test::safetensors_bytes(header, "1234"));
  const SafetensorsFile file(dir / "x");
  EXPECT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.find("s")->bytes, 4u);
  EXPECT_EQ(file.find("e")->bytes, 0u);
}

TEST(Safetensors, UnalignedTensorsAreMappedWhereTheyLie) {
  const TempDir dir;
  std::string header = R"({"w":{"dtype":"U32","shape":[2],"data_offsets":[0,8]},)"
                       R"("c":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})";
  header.resize((header.size() + 7) / 8 * 8 + 3, ' ');
  write_file(dir / "x", test::safetensors_bytes(header, "abcdefghZ"));
  const SafetensorsFile file(dir / "x");
  const TensorView* w = file.find("w");
  EXPECT_NE(reinterpret_cast<uintptr_t>(w->data) % 4, 0u);
  EXPECT_EQ(std::memcmp(w->data, "abcdefgh", 8), 0);
  EXPECT_EQ(static_cast<char>(*file.find("c")->data), 'Z');
  EXPECT_GE(w->data, file.file().data());
  EXPECT_LE(w->data + 8, file.file().data() + file.file().size());
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TempDir dir;
  const std::string whole = test::safetensors_bytes(kTwoTensors);
  for (size_t length = 0; length < whole.size(); ++length) {
    write_file(dir / "x", whole.substr(0, length));
    EXPECT_THROW(SafetensorsFile(dir / "x"), ModelError) << length << " of " << whole.size();
  }
}

TEST(Safetensors, EveryFlippedHeaderByteIsReadOrRefused) {
  const TempDir dir;
  const std::string whole = test::safetensors_bytes(kTwoTensors);
  const size_t header_end = whole.size() - 34;
  for (size_t at = 0; at < header_end; ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x15);
    write_file(dir / "x", bytes);
    try {
      const SafetensorsFile file(dir / "x");
      for (const auto& [name, view] : file.tensors()) {
        EXPECT_LE(view.bytes, 34u) << "byte " << at << ", tensor " << name;
      }
    } catch (const ModelError&) {
    }
  }
}

TEST(Safetensors, HeaderLongerThanTheFileIsRefused) {
  std::string bytes = test::safetensors_bytes(kTwoTensors);
  bytes[1] = 0x10;
  EXPECT_THAT(open_error(bytes), AllOf(HasSubstr("a header of"), HasSubstr("re-download")));
  EXPECT_THAT(open_error(std::string(64, '\xFF')), HasSubstr("a header of"));
}

TEST(Safetensors, GitLfsPointerIsNamedAsSuch) {
  EXPECT_THAT(open_error("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
              HasSubstr("git lfs pull"));
}

TEST(Safetensors, BadJsonIsRefused) {
  EXPECT_THAT(open_error(test::safetensors_bytes("{\"w\":", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(open_error(test::safetensors_bytes("[1]", "")), HasSubstr("expected an object"));
  EXPECT_THAT(open_error(test::safetensors_bytes("{} x", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(open_error(test::safetensors_bytes("{\"\xFF\":1}", "")), HasSubstr("not valid JSON"));
}

TEST(Safetensors, DeeplyNestedJsonIsRefused) {
  EXPECT_THAT(open_error(test::safetensors_bytes("{\"w\":" + std::string(100'000, '['), "")),
              HasSubstr("nested deeper"));
}

TEST(Safetensors, DuplicateNamesAreRefused) {
  const std::string entry = R"({"dtype":"F32","shape":[6],"data_offsets":[0,24]})";
  EXPECT_THAT(open_error(test::safetensors_bytes("{\"w\":" + entry + ",\"w\":" + entry + "}",
                                                 std::string(24, 'd'))),
              HasSubstr("key 'w' appears twice"));
}

TEST(Safetensors, UnknownDtypeIsRefused) {
  EXPECT_THAT(entry_error(R"({"dtype":"F7","shape":[6],"data_offsets":[0,24]})"),
              AllOf(HasSubstr("tensor 'w'"), HasSubstr("unknown dtype 'F7'"),
                    HasSubstr("x.safetensors"), HasSubstr("re-download")));
}

TEST(Safetensors, MissingOrMistypedFieldsAreRefused) {
  EXPECT_THAT(entry_error("7"), HasSubstr("not an object"));
  EXPECT_THAT(entry_error(R"({"shape":[6],"data_offsets":[0,24]})"), HasSubstr("no dtype"));
  EXPECT_THAT(entry_error(R"({"dtype":5,"shape":[6],"data_offsets":[0,24]})"),
              HasSubstr("no dtype"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","data_offsets":[0,24]})"),
              HasSubstr("no list 'shape'"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[6]})"), HasSubstr("no list 'data_offsets'"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[6],"data_offsets":[0]})"),
              HasSubstr("pair of offsets"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[6],"data_offsets":[-4,20]})"),
              HasSubstr("pair of offsets"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[6],"data_offsets":[0,24.0]})"),
              HasSubstr("pair of offsets"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[-6],"data_offsets":[0,24]})"),
              HasSubstr("not a size"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":["6"],"data_offsets":[0,24]})"),
              HasSubstr("not a size"));
}

TEST(Safetensors, OffsetsOutsideTheDataAreRefused) {
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[6],"data_offsets":[4,28]})"),
              AllOf(HasSubstr("[4, 28]"), HasSubstr("24 bytes of data")));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[0],"data_offsets":[24,20]})"),
              HasSubstr("lie outside"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[6],"data_offsets":[18446744073709551592,0]})"),
              HasSubstr("lie outside"));
}

TEST(Safetensors, ByteCountThatDoesNotMatchTheShapeIsRefused) {
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[2,2],"data_offsets":[0,24]})"),
              AllOf(HasSubstr("span 24 bytes"), HasSubstr("F32 [2, 2] takes 16")));
}

TEST(Safetensors, OverflowingShapeIsRefused) {
  EXPECT_THAT(
      entry_error(R"({"dtype":"F32","shape":[4294967296,1073741824],"data_offsets":[0,0]})"),
      HasSubstr("overflows"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0]})"),
              HasSubstr("not a size"));
}

TEST(Safetensors, OverlappingTensorsAreRefused) {
  EXPECT_THAT(open_error(test::safetensors_bytes(
                  R"({"u":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},)"
                  R"("v":{"dtype":"U8","shape":[10],"data_offsets":[6,16]}})",
                  std::string(16, 'd'))),
              AllOf(HasSubstr("'u' and 'v'"), HasSubstr("overlap by 4 bytes")));
}

}  // namespace
}  // namespace krserve
