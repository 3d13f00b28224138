#include "native/statistics.h"

#include <fmt/format.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "engine/component_status.h"
#include "engine/request.h"
#include "engine/statistics.h"
#include "runtime/statistics.h"

namespace krserve::python {
namespace {

namespace nb = nanobind;
using namespace krserve::runtime;

nb::object plain(nb::handle value) {
  if (nb::hasattr(value, "as_dict")) return value.attr("as_dict")();
  if (!nb::isinstance<nb::dict>(value)) return nb::borrow(value);
  nb::dict out;
  for (const auto& [name, item] : nb::borrow<nb::dict>(value)) out[name] = plain(item);
  return out;
}

// A snapshot: read-only fields, as_dict() and a repr.
template <class T>
class Snapshot {
 public:
  Snapshot(nb::module_& module, const char* name, const char* doc) : cls_(module, name, doc) {
    names().clear();
    cls_.def("as_dict", &as_dict, "All fields by name.",
             nb::sig("def as_dict(self) -> dict[str, typing.Any]"));
    cls_.def("__repr__", [](const T& self) {
      const nb::object shown = nb::cast(self, nb::rv_policy::copy);
      return fmt::format("{}({})", nb::cast<std::string>(shown.type().attr("__name__")),
                         nb::cast<std::string>(nb::repr(as_dict(self))));
    });
  }

  template <class Member>
  Snapshot& field(const char* name, Member T::* member, const char* doc = "") {
    names().push_back(name);
    cls_.def_ro(name, member, doc);
    return *this;
  }
  template <class Getter, class... Extra>
  Snapshot& computed(const char* name, Getter getter, const Extra&... extra) {
    names().push_back(name);
    cls_.def_prop_ro(name, getter, extra...);
    return *this;
  }

 private:
  static std::vector<const char*>& names() {
    static std::vector<const char*> all;
    return all;
  }
  static nb::dict as_dict(const T& self) {
    const nb::object object = nb::cast(self, nb::rv_policy::copy);
    nb::dict out;
    for (const char* name : names()) out[name] = plain(object.attr(name));
    return out;
  }

  nb::class_<T> cls_;
};

// {"weights": ..., "kv": ...} from an array that an enum counts.
template <class Enum, class Array>
nb::dict by_name(const Array& values) {
  nb::dict out;
  for (size_t i = 0; i < values.size(); ++i) {
    out[to_string(static_cast<Enum>(i))] = nb::cast(values[i], nb::rv_policy::copy);
  }
  return out;
}

void bind_pool(nb::module_& module) {
  Snapshot<TagStatistics>(module, "MemoryTagStatistics", "Memory of one purpose.")
      .field("bytes", &TagStatistics::bytes)
      .field("objects", &TagStatistics::objects)
      .field("peak_bytes", &TagStatistics::peak_bytes);
  using S = PoolStatistics;
  Snapshot<S>(module, "MetalMemoryPoolStatistics", "Counters of a memory pool.")
      .field("enabled", &S::enabled)
      .field("total_heaps", &S::total_heaps)
      .field("active_heaps", &S::active_heaps, "Heaps with a live allocation.")
      .field("hit_rate", &S::hit_rate, "Allocations served from heaps / all, 0..1.")
      .field("utilization", &S::utilization, "Live bytes in heaps / heap bytes, 0..1.")
      .field("total_allocations", &S::total_allocations)
      .field("fallback_allocations", &S::fallback_allocations,
             "Allocations served by an on-demand device buffer.")
      .field("largest_allocation_mb", &S::largest_allocation_mb)
      .field("exhaustion_count", &S::exhaustion_count, "Bursts of fallback.")
      .field("device_allocations", &S::device_allocations,
             "Heaps and buffers asked of the device, ever.")
      .field("heap_bytes", &S::heap_bytes)
      .field("on_demand_bytes", &S::on_demand_bytes)
      .field("cached_bytes", &S::cached_bytes, "Free small blocks kept for reuse.")
      .field("heaps_grown", &S::heaps_grown)
      .field("heaps_trimmed", &S::heaps_trimmed)
      .field("live_bytes", &S::live_bytes)
      .field("live_objects", &S::live_objects)
      .field("peak_bytes", &S::peak_bytes)
      .field("largest_free_block_bytes", &S::largest_free_block_bytes)
      .field("fragmentation", &S::fragmentation)
      .computed(
          "tags", [](const S& self) { return by_name<MemoryTag>(self.tags); },
          nb::sig("def tags(self) -> dict[str, MemoryTagStatistics]"), "By purpose.")
      .field("allocations_per_token", &S::allocations_per_token)
      .field("activation_planned_bytes", &S::activation_planned_bytes)
      .field("activation_naive_bytes", &S::activation_naive_bytes);
}

void bind_blit(nb::module_& module) {
  using S = BlitStatistics;
  Snapshot<S>(module, "BlitQueueMetrics", "Counters of a blit queue.")
      .field("enabled", &S::enabled)
      .field("total_uploads", &S::total_uploads)
      .field("total_downloads", &S::total_downloads)
      .field("upload_bytes", &S::upload_bytes)
      .field("download_bytes", &S::download_bytes)
      .field("avg_upload_ms", &S::avg_upload_ms)
      .field("avg_download_ms", &S::avg_download_ms)
      .field("copy_ms", &S::copy_ms, "Time copies ran, in all.")
      .field("overlapped_ms", &S::overlapped_ms, "Of copy_ms, while compute ran.")
      .field("overlap_ratio", &S::overlap_ratio,
             "Time a copy ran while compute ran / time copies ran, 0..1.")
      .field("sync_wait_count", &S::sync_wait_count, "Waits that had to block.")
      .field("avg_sync_wait_ms", &S::avg_sync_wait_ms)
      .field("no_copy_count", &S::no_copy_count,
             "Transfers that were stores into, or reads of, shared memory.")
      .field("stall_count", &S::stall_count, "Pieces that waited before they were queued.")
      .field("queue_depth", &S::queue_depth)
      .field("peak_queue_depth", &S::peak_queue_depth)
      .field("upload_gb_per_s", &S::upload_gb_per_s)
      .field("download_gb_per_s", &S::download_gb_per_s)
      .field("mapped_bytes", &S::mapped_bytes)
      .field("coalesced_count", &S::coalesced_count)
      .field("failed_count", &S::failed_count)
      .field("cancelled_count", &S::cancelled_count)
      .computed(
          "stalls", [](const S& self) { return by_name<BlitStall>(self.stalls); },
          nb::sig("def stalls(self) -> dict[str, int]"), "stall_count by cause.")
      .field("staging_bytes", &S::staging_bytes);
}

void bind_ring(nb::module_& module) {
  Snapshot<GapStatistics>(module, "GapStatistics", "Device idle time of one cause.")
      .field("count", &GapStatistics::count)
      .field("total_ms", &GapStatistics::total_ms)
      .field("p50_us", &GapStatistics::p50_us)
      .field("p99_us", &GapStatistics::p99_us)
      .field("max_us", &GapStatistics::max_us)
      .field("buckets", &GapStatistics::buckets);
  using S = RingStatistics;
  Snapshot<S>(module, "CommandBufferRingStatistics", "Counters of a command ring.")
      .field("enabled", &S::enabled)
      .field("ring_size", &S::ring_size)
      .field("total_acquisitions", &S::total_acquisitions)
      .field("replays", &S::replays, "Acquisitions that replayed a recording.")
      .field("reuse_rate", &S::reuse_rate, "Acquisitions that replayed a recording / all, 0..1.")
      .field("wait_ms", &S::wait_ms, "Waiting for slots beyond the device's own time, in all.")
      .field("avg_wait_ms", &S::avg_wait_ms,
             "Waiting for a slot beyond the device's own time; over all acquisitions.")
      .field("max_wait_ms", &S::max_wait_ms)
      .field("avg_blocked_ms", &S::avg_blocked_ms, "The whole wait, the device's work included.")
      .field("max_blocked_ms", &S::max_blocked_ms)
      .field("wait_events", &S::wait_events, "Times the slot wanted had not ended its step.")
      .field("timeouts", &S::timeouts)
      .field("recordings", &S::recordings)
      .field("re_records", &S::re_records)
      .field("evictions", &S::evictions)
      .field("rebuilds", &S::rebuilds)
      .field("occupancy", &S::occupancy, "[n]: acquisitions that found n slots in flight.")
      .field("gap_p50_us", &S::gap_p50_us)
      .field("gap_p99_us", &S::gap_p99_us)
      .field("gap_count", &S::gap_count)
      .computed(
          "gaps", [](const S& self) { return by_name<GapCause>(self.gaps); },
          nb::sig("def gaps(self) -> dict[str, GapStatistics]"), "Gaps by cause.");
}

nb::list status_of(const engine::EngineStatistics& statistics) {
  nb::list out;
  for (const engine::GradedMetric& metric : engine::grade_components(statistics)) {
    const bool has_data = metric.grade != engine::Grade::kNoData;
    nb::dict row;
    row["component"] = std::string(metric.component);
    row["metric"] = std::string(metric.metric);
    row["unit"] = std::string(metric.unit);
    row["value"] = has_data ? nb::object(nb::float_(metric.value)) : nb::object(nb::none());
    row["grade"] = std::string(engine::to_string(metric.grade));
    row["target"] = metric.target;
    row["warning"] = metric.warning;
    row["critical"] = metric.critical;
    row["remedy"] = std::string(metric.remedy);
    out.append(row);
  }
  return out;
}

nb::dict finished_of(const engine::EngineStatistics& statistics) {
  nb::dict out;
  for (size_t i = 0; i < statistics.finished_total.size(); ++i) {
    out[engine::to_string(static_cast<engine::FinishReason>(i))] = statistics.finished_total[i];
  }
  return out;
}

void bind_engine_parts(nb::module_& module) {
  using engine::Histogram;
  Snapshot<Histogram>(module, "Histogram",
                      "Cumulative, as Prometheus has it: counts has one more entry than bounds.")
      .field("bounds", &Histogram::bounds)
      .field("counts", &Histogram::counts)
      .field("sum", &Histogram::sum)
      .field("count", &Histogram::count);
  using Host = engine::HostStepStatistics;
  Snapshot<Host>(module, "HostStepStatistics", "What the engine's thread spends on a step.")
      .field("count", &Host::count)
      .field("mean_us", &Host::mean_us)
      .field("p50_us", &Host::p50_us)
      .field("p99_us", &Host::p99_us);
}

void bind_engine_statistics(nb::module_& module) {
  bind_engine_parts(module);
  using S = engine::EngineStatistics;
  Snapshot<S>(module, "EngineStatistics", "Counters of an engine and its three components.")
      .field("requests_running", &S::requests_running)
      .field("requests_waiting", &S::requests_waiting)
      .field("kv_cache_usage", &S::kv_cache_usage, "0..1")
      .field("kv_pages_total", &S::kv_pages_total)
      .field("kv_pages_used", &S::kv_pages_used)
      .field("prompt_tokens_total", &S::prompt_tokens_total)
      .field("generation_tokens_total", &S::generation_tokens_total)
      .field("preemptions_total", &S::preemptions_total)
      .field("steps_total", &S::steps_total)
      .field("discarded_tokens_total", &S::discarded_tokens_total)
      .field("requests_failed_total", &S::requests_failed_total)
      .computed("finished_total", &finished_of,
                nb::sig("def finished_total(self) -> dict[str, int]"), "By finish reason.")
      .field("time_to_first_token_s", &S::time_to_first_token_s)
      .field("inter_token_latency_s", &S::inter_token_latency_s)
      .field("e2e_latency_s", &S::e2e_latency_s)
      .field("queue_time_s", &S::queue_time_s)
      .field("prefill_time_s", &S::prefill_time_s)
      .field("decode_time_s", &S::decode_time_s)
      .field("prompt_tokens", &S::prompt_tokens)
      .field("generation_tokens", &S::generation_tokens)
      .field("iteration_tokens", &S::iteration_tokens)
      .field("memory_pool", &S::pool)
      .field("blit_queue", &S::blit)
      .field("command_buffer_ring", &S::ring)
      .field("host_step", &S::host_step)
      .field("device_utilization", &S::device_utilization, "0..1, since the last reset.")
      .field("since_reset_s", &S::since_reset_s)
      .computed("status", &status_of, nb::sig("def status(self) -> list[dict[str, typing.Any]]"),
                "The components' metrics against targets, warnings and critical values.");
}

}  // namespace

void bind_statistics(nb::module_& module) {
  bind_pool(module);
  bind_blit(module);
  bind_ring(module);
  bind_engine_statistics(module);
}

}  // namespace krserve::python
