#include "cli/doctor/system_requirements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/units.h"

namespace krserve::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Machine {
  MachineFacts facts;
  std::optional<GpuFacts> gpu;
};

Machine mac(SystemVersion version, const std::string& chip, uint32_t family, uint64_t memory) {
  Machine m;
  m.facts = {"macOS", version, "Mac15,9", chip, memory, 0, false};
  m.gpu = GpuFacts{chip, family, true, version.major >= 26, memory / 4 * 3, memory / 2};
  return m;
}

Machine m1_macos14() {
  return mac({14, 7}, "Apple M1", 7, 8 * kGiB);
}
Machine m2_macos15() {
  return mac({15, 5}, "Apple M2 Pro", 8, 16 * kGiB);
}
Machine m3_macos26() {
  return mac({26, 1}, "Apple M3", 9, 24 * kGiB);
}
Machine m4_max_macos26() {
  return mac({26, 2}, "Apple M4 Max", 9, 128 * kGiB);
}
Machine intel_mac() {
  Machine m = mac({15, 5}, "Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz", 0, 32 * kGiB);
  m.gpu->name = "AMD Radeon Pro 5500M";
  return m;
}
Machine virtual_mac() {
  Machine m = mac({26, 0}, "Apple M1 (Virtual)", 0, 7 * kGiB);
  m.gpu->name = "Apple Paravirtual device";
  m.gpu->metal4 = false;
  return m;
}

std::vector<Requirement> check(const Machine& m, uint64_t weights = 0) {
  return check_system(m.facts, m.gpu, weights);
}

// The one whose text starts with `topic`.
Requirement about(const std::vector<Requirement>& all, std::string_view topic) {
  for (const Requirement& r : all) {
    if (r.what.starts_with(topic)) return r;
  }
  ADD_FAILURE() << "nothing about " << topic;
  return {};
}

TEST(SystemRequirements, MetByM3AndNewerWithMacos26) {
  for (const Machine& m : {m3_macos26(), m4_max_macos26()}) {
    for (const Requirement& r : check(m)) {
      EXPECT_TRUE(r.met) << r.what << ": " << r.remedy;
      EXPECT_THAT(r.remedy, IsEmpty());
    }
  }
}

TEST(SystemRequirements, EveryOneNotMetSaysWhatStillWorks) {
  for (const Machine& m : {m1_macos14(), m2_macos15(), intel_mac(), virtual_mac()}) {
    int unmet = 0;
    for (const Requirement& r : check(m)) {
      unmet += !r.met;
      EXPECT_NE(r.met, !r.remedy.empty()) << r.what;
    }
    EXPECT_GT(unmet, 0);
  }
}

TEST(SystemRequirements, Macos15TakesTheMetal3Path) {
  const auto all = check(m2_macos15());
  const Requirement system = about(all, "system");
  EXPECT_FALSE(system.met);
  EXPECT_EQ(system.what, "system: macOS 15.5, required 26.0 or newer");
  EXPECT_EQ(system.remedy, "update macOS; until then the Metal 3 path is taken");
  EXPECT_EQ(about(all, "Metal").what, "Metal: 3, since macOS 15.5 has no Metal 4");
}

TEST(SystemRequirements, Macos14LacksResidencySetsToo) {
  EXPECT_THAT(about(check(m1_macos14()), "system").remedy, HasSubstr("without residency sets"));
}

TEST(SystemRequirements, BelowMacos14OnlyTheCpuWorks) {
  Machine m = m1_macos14();
  m.facts.version = {13, 6};
  EXPECT_THAT(about(check(m), "system").remedy, HasSubstr("device: cpu"));
}

TEST(SystemRequirements, M1AndM2WorkUntuned) {
  for (const Machine& m : {m1_macos14(), m2_macos15()}) {
    const Requirement r = about(check(m), "processor");
    EXPECT_FALSE(r.met);
    EXPECT_EQ(r.remedy, "works, but is neither tuned nor tested for this GPU");
  }
  EXPECT_EQ(about(check(m1_macos14()), "processor").what,
            "processor: Apple M1 (Mac15,9), GPU family Apple 7, required Apple 9 (M3) or newer");
}

TEST(SystemRequirements, M1WithMacos26HasMetal4) {
  const auto all = check(mac({26, 0}, "Apple M1", 7, 16 * kGiB));
  EXPECT_TRUE(about(all, "Metal").met);
  EXPECT_FALSE(about(all, "processor").met);
}

TEST(SystemRequirements, IntelMacHasOnlyTheCpu) {
  const Requirement r = about(check(intel_mac()), "processor");
  EXPECT_FALSE(r.met);
  EXPECT_THAT(r.what, HasSubstr("required Apple silicon"));
  EXPECT_THAT(r.remedy, HasSubstr("device: cpu works"));
}

TEST(SystemRequirements, TranslatedProgramIsToldToBeBuiltForArm64) {
  Machine m = m3_macos26();
  m.facts.translated = true;
  const Requirement r = about(check(m), "processor");
  EXPECT_FALSE(r.met);
  EXPECT_THAT(r.remedy, HasSubstr("arm64"));
}

TEST(SystemRequirements, VirtualMachineIsNotForMeasuring) {
  const auto all = check(virtual_mac());
  EXPECT_THAT(about(all, "processor").remedy, HasSubstr("Apple Paravirtual device"));
  EXPECT_EQ(about(all, "Metal").what, "Metal: 3, since Apple Paravirtual device has no Metal 4");
}

TEST(SystemRequirements, WithoutMetalTheReasonIsNamed) {
  Machine m = m3_macos26();
  m.gpu.reset();
  const Requirement r = about(check(m, 10 * kGiB), "Metal");
  EXPECT_FALSE(r.met);
  EXPECT_THAT(r.remedy, HasSubstr("KRSERVE_METAL=ON"));
}

TEST(SystemRequirements, MemoryFrom16GibAnd32Recommended) {
  EXPECT_FALSE(about(check(m1_macos14()), "memory").met);
  const Requirement some = about(check(m3_macos26()), "memory");
  EXPECT_TRUE(some.met);
  EXPECT_THAT(some.what, HasSubstr("32.00 GiB recommended"));
  EXPECT_EQ(about(check(m4_max_macos26()), "memory").what,
            "memory: 128.00 GiB unified, required 16.00 GiB");
}

TEST(SystemRequirements, ModelThatFitsIsMet) {
  const Requirement r = about(check(m3_macos26(), 16 * kGiB), "model");  // 18 GiB resident
  EXPECT_TRUE(r.met);
  EXPECT_EQ(r.what, "model: weights of 16.00 GiB, the GPU may keep 18.00 GiB resident");
}

TEST(SystemRequirements, ModelThatNeedsAHigherLimitIsToldWhich) {
  const Requirement r = about(check(m3_macos26(), 17 * kGiB), "model");
  EXPECT_FALSE(r.met);
  EXPECT_THAT(r.remedy, HasSubstr("sudo sysctl iogpu.wired_limit_mb=19343 "));  // 17 GiB / 0.9
}

TEST(SystemRequirements, ModelThatNeverFitsIsToldWhatDoes) {
  const Requirement r = about(check(m3_macos26(), 23 * kGiB), "model");
  EXPECT_FALSE(r.met);
  EXPECT_THAT(r.remedy, HasSubstr("16.20 GiB of weights fit"));
}

TEST(SystemRequirements, WiredLimitThatStarvesTheSystemIsNotMet) {
  Machine m = m3_macos26();
  m.facts.wired_limit_bytes = 18 * kGiB;
  EXPECT_TRUE(about(check(m), "iogpu").met);
  m.facts.wired_limit_bytes = 23 * kGiB;
  const Requirement r = about(check(m), "iogpu");
  EXPECT_FALSE(r.met);
  EXPECT_THAT(r.remedy, HasSubstr("iogpu.wired_limit_mb=20480"));
}

TEST(SystemRequirements, LinuxIsNoMac) {
  Machine m;
  m.facts = {"Linux", {6, 1}, "", "AMD EPYC", 64 * kGiB, 0, false};
  const auto all = check(m, kGiB);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].met);
  EXPECT_THAT(all[0].what, HasSubstr("Metal needs macOS"));
}

TEST(WeightFileBytes, CountsSafetensorsAlone) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "weight_file_bytes";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "a.safetensors") << "12345";
  std::ofstream(folder / "b.safetensors") << "123";
  std::ofstream(folder / "config.json") << "{}";
  EXPECT_EQ(weight_file_bytes(folder.string()), 8U);
  EXPECT_EQ(weight_file_bytes((folder / "none").string()), 0U);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace krserve::cli
