# Builds krserve from a git checkout; docs/MACOS.md says how. There is no release archive yet, so the
# formula has a head alone: HOMEBREW_KRSERVE_SOURCE names the repository (an address or file:///path).
class Krserve < Formula
  SOURCE = ENV.fetch("HOMEBREW_KRSERVE_SOURCE", "file://#{Dir.home}/krserve")

  desc "LLM inference runtime and OpenAI-compatible server"
  homepage SOURCE
  license "Apache-2.0"
  head SOURCE, using: :git, branch: "main"

  depends_on "boost" => :build
  depends_on "cli11" => :build
  depends_on "cmake" => :build
  depends_on "ninja" => :build
  depends_on "nlohmann-json" => :build
  depends_on "rust" => :build
  depends_on macos: :sonoma
  depends_on "fmt"
  depends_on "spdlog"
  depends_on "yaml-cpp"

  def install
    system "cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DKRSERVE_TESTS=OFF",
           "-DKRSERVE_CARGO=#{Formula["rust"].opt_bin}/cargo", *std_cmake_args
    system "cmake", "--build", "build"
    bin.install "build/bin/krserve"
    pkgshare.install "build/bin/krserve.metallib" if File.exist?("build/bin/krserve.metallib")
    pkgshare.install "config", "models/tiny"
  end

  test do
    output = shell_output("#{bin}/krserve generate --model #{pkgshare}/tiny --device cpu " \
                          "--prompt Hello --max-tokens 8 --temperature 0 --json")
    assert_match "tokens", output
  end
end
