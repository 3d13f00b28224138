#include "metal/fake/gpu.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "metal/fake/resources.h"

namespace krserve::fake_metal {
namespace {

// Beyond this many, a memory forgets accesses that the host has seen to end.
constexpr size_t kRememberedAccesses = 256;
// GPU addresses are no host addresses: a host that follows one crashes.
constexpr uint64_t kAddressGap = 1 << 16;

bool is_ordered(const Command& command, const Access& before, const Clock& base, uint32_t queue,
                uint64_t pass, bool tracked) {
  if (base.covers(before.queue, before.pass)) return true;
  if (before.queue == queue && before.pass == pass) {
    return before.epoch < command.order.epochs[before.stage];
  }
  if (tracked && command.is_tracked) return true;
  return before.queue == queue && before.pass < pass && command.order.earlier_passes[before.stage];
}

// Those that may run now: what a barrier sets before them is done. Barriers only ever get more
// along a pass, so the first of a stage that is left tells for all.
bool may_run(const std::vector<Command>& commands, const std::vector<size_t>& left, size_t index) {
  const Command& command = commands[index];
  for (const Stage stage : {kDispatchStage, kBlitStage}) {
    const auto first = std::find_if(left.begin(), left.end(),
                                    [&](size_t one) { return commands[one].stage == stage; });
    if (first != left.end() && *first < index &&
        commands[*first].epoch < command.order.epochs[stage]) {
      return false;
    }
  }
  return true;
}

// One order of the many in which a GPU may run the commands.
std::vector<size_t> order_of(const std::vector<Command>& commands, std::mt19937& random) {
  constexpr size_t kAhead = 16;
  std::vector<size_t> left(commands.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::vector<size_t> order;
  while (!left.empty()) {
    std::vector<size_t> ready;  // places in `left`
    for (size_t i = 0; i < std::min(left.size(), kAhead); ++i) {
      if (may_run(commands, left, left[i])) ready.push_back(i);
    }
    const size_t picked = ready[random() % ready.size()];
    order.push_back(left[picked]);
    left.erase(left.begin() + static_cast<ptrdiff_t>(picked));
  }
  return order;
}

void set_option(Options& options, const std::string& name, uint64_t value) {
  if (name == "seed") {
    options.seed = static_cast<uint32_t>(value);
  } else if (name == "macos") {
    options.macos = static_cast<int>(value);
  } else if (name == "memory_mib") {
    options.memory_bytes = value << 20;
  } else if (name == "working_set_mib") {
    options.working_set_bytes = value << 20;
  } else {
    std::fprintf(stderr,
                 "KR_METAL_SIM: unknown '%s'; seed, macos, memory_mib and "
                 "working_set_mib take a number\n",
                 name.c_str());
    std::exit(2);
  }
}

// A violation in a program that is no test ends it badly.
void tell_violations() {
  Runtime& runtime = Runtime::get();
  if (runtime.violations().empty()) return;
  for (const Violation& one : runtime.violations()) {
    std::fprintf(stderr, "fake Metal: %s: %s\n", rule_name(one.rule), one.text.c_str());
  }
  std::_Exit(86);
}

}  // namespace

Options Options::from_environment() {
  Options options;
  const char* const text = std::getenv("KR_METAL_SIM");
  std::stringstream words(text ? text : "");
  for (std::string word; std::getline(words, word, ',');) {
    const size_t equals = word.find('=');
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    set_option(options, word.substr(0, equals), std::strtoull(value.c_str(), nullptr, 10));
  }
  return options;
}

void Clock::merge(const Clock& other) {
  if (known_.size() < other.known_.size()) known_.resize(other.known_.size());
  std::transform(other.known_.begin(), other.known_.end(), known_.begin(), known_.begin(),
                 [](uint64_t a, uint64_t b) { return std::max(a, b); });
}

void Clock::merge(uint32_t queue, uint64_t pass) {
  if (known_.size() <= queue) known_.resize(queue + 1);
  known_[queue] = std::max(known_[queue], pass + 1);
}

bool Clock::covers(uint32_t queue, uint64_t pass) const {
  return queue < known_.size() && known_[queue] > pass;
}

bool Clock::covers(const Clock& other) const {
  for (size_t queue = 0; queue < other.known_.size(); ++queue) {
    if (other.known_[queue] > (queue < known_.size() ? known_[queue] : 0)) return false;
  }
  return true;
}

Gpu& Gpu::get() {
  static auto* const gpu = new Gpu;  // its threads run until the process ends
  return *gpu;
}

Gpu::Gpu() : options_(Options::from_environment()) {
  Runtime::get().macos = options_.macos;
  std::atexit(tell_violations);
  for (const uint32_t seed : {1U, 2U}) std::thread([this, seed] { work(seed); }).detach();
}

bool& Gpu::is_gpu_thread() {
  thread_local bool is = false;
  return is;
}

void Gpu::reset(const Options& options) {
  freeze(false);
  wait_idle(std::chrono::seconds(10));
  const std::lock_guard lock(Runtime::get().mutex);
  options_ = options;
  Runtime::get().macos = options.macos;
  fail_submission_in_ = 0;
  fail_allocation_in_ = 0;
  compile_error_.clear();
  Runtime::get().clear_violations();
}

uint64_t Gpu::heap_alignment(uint64_t bytes) const {
  constexpr std::array<uint64_t, 5> kAlignments = {256, 1024, 4096, 16384, 65536};
  uint64_t size_class = 0;
  while (bytes >>= 4) ++size_class;
  std::mt19937 random(options_.seed * 64 + static_cast<uint32_t>(size_class));
  return kAlignments[random() % kAlignments.size()];
}

void Gpu::freeze(bool frozen) {
  const std::lock_guard lock(Runtime::get().mutex);
  frozen_ = frozen;
  Runtime::get().changed.notify_all();
}

void Gpu::fail_submission(uint64_t nth, Failure failure) {
  const std::lock_guard lock(Runtime::get().mutex);
  fail_submission_in_ = nth;
  failure_ = std::move(failure);
}

std::unique_ptr<Failure> Gpu::take_failure() {
  if (fail_submission_in_ == 0 || --fail_submission_in_ > 0) return nullptr;
  return std::make_unique<Failure>(failure_);
}

void Gpu::fail_allocation(uint64_t nth) {
  const std::lock_guard lock(Runtime::get().mutex);
  fail_allocation_in_ = nth;
}

void Gpu::fail_compilation(const std::string& text) {
  const std::lock_guard lock(Runtime::get().mutex);
  compile_error_ = text;
}

bool Gpu::take_compile_error(std::string& text) {
  text = std::exchange(compile_error_, {});
  return !text.empty();
}

bool Gpu::take_memory(uint64_t bytes) {
  if (fail_allocation_in_ > 0 && --fail_allocation_in_ == 0) return false;
  if (bytes > options_.memory_bytes || used_bytes_ > options_.memory_bytes - bytes) return false;
  used_bytes_ += bytes;
  return true;
}

bool Gpu::wait_idle(std::chrono::milliseconds timeout) {
  std::unique_lock lock(Runtime::get().mutex);
  return Runtime::get().changed.wait_for(lock, timeout, [this] {
    return busy_ == 0 && handlers_.empty() &&
           std::all_of(queues_.begin(), queues_.end(),
                       [](const GpuQueue* queue) { return queue->operations_.empty(); });
  });
}

void Gpu::add(GpuQueue* queue) {
  queues_.push_back(queue);
}

void Gpu::remove(GpuQueue* queue) {
  std::erase(queues_, queue);
}

void Gpu::call_later(std::function<void()> handler) {
  handlers_.push_back({nullptr, std::move(handler)});
  Runtime::get().changed.notify_all();
}

uint64_t Gpu::next_address(uint64_t bytes) {
  const uint64_t address = next_address_;
  next_address_ += (bytes + kAddressGap - 1) / kAddressGap * kAddressGap + kAddressGap;
  return address;
}

// One of those that need not wait, any of them; a handler if `queue` stays null.
Operation* Gpu::pick(std::mt19937& random, GpuQueue*& queue) {
  Operation* found = nullptr;
  uint32_t count = 0;
  const auto consider = [&](Operation& operation, GpuQueue* from) {
    if (operation.ready && !operation.ready()) return;
    if (random() % ++count != 0) return;
    found = &operation;
    queue = from;
  };
  if (frozen_) return nullptr;
  for (GpuQueue* one : queues_) {
    if (!one->busy_ && !one->operations_.empty()) consider(one->operations_.front(), one);
  }
  for (Operation& handler : handlers_) consider(handler, nullptr);
  return found;
}

void Gpu::work(uint32_t seed) {
  std::mt19937 random(seed);
  Runtime& runtime = Runtime::get();
  std::unique_lock lock(runtime.mutex);
  for (uint32_t options_seed = options_.seed;;) {
    if (options_seed != options_.seed) random.seed(seed + 2 * (options_seed = options_.seed));
    GpuQueue* queue = nullptr;
    Operation* const next = pick(random, queue);
    if (!next) {
      runtime.changed.wait(lock);
      continue;
    }
    ++busy_;
    Operation operation = std::move(*next);
    if (queue) {
      queue->busy_ = true;
      is_gpu_thread() = true;
    } else {
      handlers_.remove_if([next](const Operation& one) { return &one == next; });
    }
    lock.unlock();
    if (random() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 40));
    operation.run();
    operation.run = nullptr;
    lock.lock();
    is_gpu_thread() = false;
    --busy_;
    if (queue) {
      queue->busy_ = false;
      queue->operations_.pop_front();
      queue->release();
    }
    runtime.changed.notify_all();
  }
}

bool Gpu::check(Command& command, const Clock& base, uint32_t queue, uint64_t pass) {
  bool good = true;
  for (const Use& use : command.uses) {
    auto& accesses = use.memory->accesses;
    if (accesses.size() > kRememberedAccesses) {
      std::erase_if(accesses, [&](const Access& a) { return host_clock.covers(a.queue, a.pass); });
    }
    for (const Access& before : accesses) {
      if (before.end <= use.begin || use.end <= before.begin) continue;
      if (!before.writes && !use.writes) continue;
      if (is_ordered(command, before, base, queue, pass, use.memory->tracked)) continue;
      violate(Rule::kMissingBarrier,
              command.what + " " + (use.writes ? "writes" : "reads") + " what " + before.what +
                  (before.writes ? " writes" : " reads") + ", and nothing orders them");
      good = false;
      break;
    }
  }
  for (const Use& use : command.uses) {
    use.memory->accesses.push_back(
        {use.begin, use.end, use.writes, command.stage, queue, pass, command.epoch, command.what});
  }
  return good;
}

GpuQueue::GpuQueue() {
  static uint32_t queues = 0;
  number_ = ++queues;
  Gpu::get().add(this);
}

GpuQueue::~GpuQueue() {
  const std::lock_guard lock(Runtime::get().mutex);
  Gpu::get().remove(this);
}

void GpuQueue::push(Operation operation) {
  retain();
  operations_.push_back(std::move(operation));
  Runtime::get().changed.notify_all();
}

void GpuQueue::execute(Pass& pass, uint64_t number, const Clock& committed,
                       const std::function<bool(const Use&)>& is_resident) {
  std::mt19937 random(Gpu::get().options().seed + static_cast<uint32_t>(number) * 7919);
  for (const size_t index : order_of(pass.commands, random)) {
    Command& command = pass.commands[index];
    {
      const std::lock_guard lock(Runtime::get().mutex);
      bool good = !command.prepare || command.prepare(command);
      for (const Use& use : command.uses) {
        if (is_resident(use)) continue;
        violate(Rule::kNotResident,
                command.what + ": a buffer in no committed residency set of queue or commands");
        good = false;
        break;
      }
      for (const Use& use : command.uses) {
        if (use.by_address) use.buffer->last_use.merge(number_, number);
      }
      Clock base = committed;
      base.merge(clock);
      good = Gpu::get().check(command, base, number_, number) && good;
      if (!good) continue;
    }
    command.run(random());
  }
}

}  // namespace krserve::fake_metal
