// The program's commands. Each adds itself to the parser and returns what runs it.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace krserve::cli {

// Returns the exit code; may throw krserve::Error.
using Command = std::function<int()>;

Command add_serve(CLI::App& app);
Command add_rpc(CLI::App& app);
Command add_generate(CLI::App& app);
Command add_pull(CLI::App& app);
Command add_synth(CLI::App& app);
Command add_convert(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_config(CLI::App& app);
Command add_doctor(CLI::App& app);
Command add_top(CLI::App& app);
Command add_metal_selftest(CLI::App& app);

}  // namespace krserve::cli
