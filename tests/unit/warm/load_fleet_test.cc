// A fleet as one transaction: all components become warm, or nothing of them is left.
#include <algorithm>
#include <fstream>
#include <limits>
#include <thread>

#include "thread_count.h"
#include "unit/memory/counting_memory.h"
#include "unit/warm/small_fleet.h"

namespace nanochat::testing {
namespace {

const std::vector<std::string>& ids_with_weights() {
  static const std::vector<std::string> ids = {"dense", "roberta", "sparse", "code",
                                               "clip",  "decoder", "fusion"};
  return ids;
}

// Loads on a device of its own; nothing may be left after a failure.
struct Loading {
  std::shared_ptr<Device> device = make_device();
  LoadWatch watch;

  Error failure_of(const PlannedFleet& fleet) {
    const size_t n_threads = testing::n_threads_now();
    const Error error = error_of([&] { load_fleet(*fleet.registry, device, fleet.config, watch); });
    EXPECT_EQ(device->memory().stats().used_bytes, 0U);
    EXPECT_EQ(device->memory().stats().reclaimable_bytes, 0U);
    EXPECT_LE(testing::n_threads_left(n_threads), n_threads);
    EXPECT_EQ(fleet.registry->count(WarmState::warm), 0U);
    for (size_t i = 0; i < fleet.registry->size(); ++i) EXPECT_EQ(fleet.registry->acquire(i), nullptr);
    return error;
  }
};

void overwrite(const std::string& path, uint64_t offset, float value) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(&value), sizeof value);
}

// --- success -----------------------------------------------------------------------------------------------

TEST(LoadFleet, MakesEveryComponentWarmInExactlyTheBytesThatWerePlanned) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto device = make_device();
  load_fleet(*fleet.registry, device, fleet.config, {});
  EXPECT_TRUE(fleet.registry->all_warm());
  uint64_t planned = 0;
  for (size_t i = 0; i < fleet.registry->size(); ++i) {
    const auto component = fleet.registry->acquire(i);
    EXPECT_EQ(component->bytes(), component->plan().model_bytes);
    EXPECT_EQ(component->plan().model_bytes, fleet.registry->plan(i).model_bytes);
    EXPECT_EQ(component->address() != nullptr, has_weights(component->spec().kind));
    EXPECT_EQ(device->is_resident(component->address(), component->bytes()), component->bytes() > 0);
    EXPECT_TRUE(fleet.registry->status(i).test_passed) << component->spec().id;
    planned += component->bytes();
  }
  EXPECT_EQ(device->memory().stats().model_bytes, planned);
}

TEST(LoadFleet, LoadsTheLargestFirstAndAComponentAfterWhatItNeeds) {
  SmallFleet files;
  files.component("clip")["depends_on"] = std::vector<std::string>{"code", "recent"};
  files.save();
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 1;
  std::vector<std::string> begun;
  LoadWatch watch;
  watch.on_progress = [&](const LoadProgress& progress) {
    if (progress.state == WarmState::loading && (begun.empty() || begun.back() != progress.id))
      begun.emplace_back(progress.id);
    return true;
  };
  load_fleet(*fleet.registry, make_device(), fleet.config, watch);
  std::vector<std::string> expected;
  for (const size_t index : fleet.registry->loading_order())
    expected.push_back(fleet.registry->spec(index).id);
  EXPECT_EQ(begun, expected);
  const auto place = [&](std::string_view id) { return std::ranges::find(begun, id) - begun.begin(); };
  EXPECT_LT(place("code"), place("clip"));
  EXPECT_LT(place("recent"), place("clip"));
  for (const char* part : {"dense", "sparse", "bits"}) EXPECT_LT(place(part), place("fusion"));
  EXPECT_LT(place("decoder"), place("dense"));  // the larger one; nothing ties them
}

TEST(LoadFleet, BeginsNothingBeforeWhatItNeedsIsWarmHoweverManyThreadsThereAre) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 8;
  std::vector<std::pair<std::string, WarmState>> seen;
  LoadWatch watch;
  watch.on_progress = [&](const LoadProgress& progress) {
    seen.emplace_back(progress.id, progress.state);
    return true;
  };
  load_fleet(*fleet.registry, make_device(), fleet.config, watch);
  const auto at = [&](const std::string& id, WarmState state) {
    return std::ranges::find(seen, std::pair(id, state)) - seen.begin();
  };
  for (const char* part : {"dense", "sparse", "bits"})
    EXPECT_LT(at(part, WarmState::warm), at("fusion", WarmState::loading));
}

TEST(LoadFleet, ReportsEveryChangeOfStateOnTheCallingThreadAlone) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto caller = std::this_thread::get_id();
  std::map<std::string, std::vector<WarmState>> states;
  LoadProgress last{};
  uint64_t fleet_loaded = 0;
  LoadWatch watch;
  watch.on_progress = [&](const LoadProgress& progress) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_LE(progress.bytes_loaded, progress.total_bytes);
    EXPECT_GE(progress.fleet_loaded, fleet_loaded);
    fleet_loaded = progress.fleet_loaded;
    auto& list = states[std::string(progress.id)];
    if (list.empty() || list.back() != progress.state) list.push_back(progress.state);
    last = progress;
    return true;
  };
  load_fleet(*fleet.registry, make_device(), fleet.config, watch);
  EXPECT_EQ(states.size(), fleet.registry->size());
  for (const auto& [id, list] : states)
    EXPECT_EQ(list, (std::vector{WarmState::loading, WarmState::validating, WarmState::warm})) << id;
  EXPECT_EQ(last.fleet_loaded, last.fleet_total);
}

TEST(LoadFleet, WithoutTestInferenceAsksNoComponent) {
  SmallFleet files;
  files.component("dense")["test"]["tokens"] = std::vector<int32_t>{1, 2, 3};  // another answer
  files.manifest()["config"]["enable_test_inference"] = false;
  files.save();
  const PlannedFleet fleet = files.plan();
  load_fleet(*fleet.registry, make_device(), fleet.config, {});
  EXPECT_TRUE(fleet.registry->all_warm());
  EXPECT_FALSE(fleet.registry->status(0).test_passed);
}

// --- failure -----------------------------------------------------------------------------------------------

TEST(LoadFleet, LeavesNothingWhenAnyFileIsMissing) {
  for (const std::string& id : ids_with_weights()) {
    const SmallFleet files;
    const PlannedFleet fleet = files.plan();
    std::filesystem::remove(files.weights(id));
    const Error error = Loading().failure_of(fleet);
    EXPECT_EQ(error.status(), Status::model_file_missing) << id;
    EXPECT_EQ(field_of(error, "model_id"), id);
    EXPECT_EQ(field_of(error, "path"), files.file(id));
    EXPECT_EQ(error.message(), "Model file missing: " + id + " not found at " + files.file(id));
  }
}

TEST(LoadFleet, LeavesNothingWhenAnyFileIsTruncated) {
  for (const std::string& id : ids_with_weights()) {
    const SmallFleet files;
    const PlannedFleet fleet = files.plan();
    std::filesystem::resize_file(files.weights(id), std::filesystem::file_size(files.weights(id)) - 4);
    const Error error = Loading().failure_of(fleet);
    EXPECT_EQ(error.status(), Status::model_load_failed) << id;
    EXPECT_EQ(field_of(error, "model_id"), id);
    EXPECT_TRUE(error.message().starts_with("Model load failed for " + id + ": ")) << error.message();
  }
}

TEST(LoadFleet, LeavesNothingWhenAnyWeightIsNotFiniteAndNamesIt) {
  for (const std::string& id : ids_with_weights()) {
    const SmallFleet files;
    const PlannedFleet fleet = files.plan();
    const std::string name = id == "decoder" ? "lm_head.weight" : "";
    TensorInfo info;
    {
      const SafetensorsFile file(files.weights(id));
      info = name.empty() ? file.tensors().front() : *file.find(name);
      for (const TensorInfo& each : file.tensors()) {
        if (name.empty() && each.shape.size() == 2 && each.n_bytes > info.n_bytes) info = each;
      }
    }
    overwrite(files.weights(id), info.offset + 3 * sizeof(float), std::numeric_limits<float>::infinity());
    const Error error = Loading().failure_of(fleet);
    EXPECT_EQ(error.status(), Status::model_validation_failed) << id;
    EXPECT_EQ(field_of(error, "model_id"), id);
    EXPECT_EQ(field_of(error, "tensor"), info.name);
    // In a file of bf16 these bytes are the numbers 6 and 7.
    EXPECT_EQ(field_of(error, "index"), info.dtype == DType::f32 ? "3" : "7") << id;
  }
}

TEST(LoadFleet, LeavesNothingWhenAnyChecksumDiffers) {
  for (const std::string& id : ids_with_weights()) {
    SmallFleet files;
    files.component(id)["checksum"] = std::string(32, '0');
    files.save();
    const Error error = Loading().failure_of(files.plan());
    EXPECT_EQ(error.status(), Status::model_validation_failed) << id;
    EXPECT_EQ(field_of(error, "model_id"), id);
    EXPECT_EQ(field_of(error, "expected_checksum"), std::string(32, '0'));
  }
}

TEST(LoadFleet, LeavesNothingWhenAnyAnswerDiffersFromItsReference) {
  for (const std::string& id : ids_with_weights()) {
    const SmallFleet files;
    const PlannedFleet fleet = files.plan();
    const std::string path = files.file(id + ".ref");
    uint64_t offset = 0;
    {
      const SafetensorsFile file(path);
      offset = file.find("output")->offset;
    }
    overwrite(path, offset + 2 * sizeof(float), 1000.0F);
    const Error error = Loading().failure_of(fleet);
    EXPECT_EQ(error.status(), Status::model_validation_failed) << id;
    EXPECT_EQ(field_of(error, "model_id"), id);
    EXPECT_EQ(field_of(error, "index"), "2");
    EXPECT_EQ(field_of(error, "expected_output"), "1000");
  }
}

TEST(LoadFleet, LeavesNothingWhenAReferenceIsMissingOrOfAnotherLength) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  write_tensors(files.file("sparse.ref"), {{"output", std::vector<float>(130)}});
  const Error error = Loading().failure_of(fleet);
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_EQ(error.message(),
            "Model validation failed for sparse: its test output has 131 values, the reference has 130");

  const PlannedFleet again = files.plan();
  std::filesystem::remove(files.file("sparse.ref"));
  const Error missing = Loading().failure_of(again);
  EXPECT_EQ(missing.status(), Status::model_file_missing);
  EXPECT_EQ(field_of(missing, "path"), files.file("sparse.ref"));
}

TEST(LoadFleet, RefusesFilesThatHaveChangedSinceTheyWerePlanned) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  std::filesystem::remove_all(files.file("dense"));
  std::filesystem::copy(model_path("encoder_roberta"), files.file("dense"),
                        std::filesystem::copy_options::recursive);  // of the same width
  const Error error = Loading().failure_of(fleet);
  EXPECT_EQ(error.status(), Status::model_load_failed);
  EXPECT_EQ(field_of(error, "model_id"), "dense");
  EXPECT_NE(error.message().find("were planned"), std::string::npos) << error.message();
}

TEST(LoadFleet, NamesTheFirstFailureInTheOrderOfLoading) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 1;
  for (const std::string& id : ids_with_weights()) std::filesystem::remove(files.weights(id));
  const size_t first = fleet.registry->loading_order().front();
  EXPECT_EQ(field_of(Loading().failure_of(fleet), "model_id"), fleet.registry->spec(first).id);
  EXPECT_EQ(fleet.registry->state(first), WarmState::failed);
  EXPECT_EQ(fleet.registry->count(WarmState::pending), fleet.registry->size() - 1);
}

TEST(LoadFleet, StopsAComponentThatTakesTooLong) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.max_load_ms = 20;
  // A disk that answers late.
  set_file_fault([&](const char*, const std::string& path) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(60);
    while (path == files.weights("fusion") && std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
    return 0;
  });
  Error error = Loading().failure_of(fleet);
  set_file_fault({});
  EXPECT_EQ(error.status(), Status::load_timeout) << error.message();
  EXPECT_EQ(field_of(error, "timeout_ms"), "20");
  // A busy machine may make another one late.
  const std::string id = field_of(error, "model_id");
  EXPECT_EQ(error.message(), "Load timeout for " + id + ": not loaded and validated within 20 ms");
}

TEST(LoadFleet, IsCancelledByTheSwitchAndByTheCallback) {
  const SmallFleet files;
  Loading loading;
  CancelToken cancel;
  cancel.request();
  loading.watch.cancel = &cancel;
  EXPECT_EQ(loading.failure_of(files.plan()).status(), Status::cancelled);

  cancel.reset();
  loading.watch.on_progress = [&](const LoadProgress& progress) {
    if (progress.state == WarmState::warm) cancel.request();
    return true;
  };
  EXPECT_EQ(loading.failure_of(files.plan()).status(), Status::cancelled);

  for (int stop_at = 0; stop_at < 12; ++stop_at) {
    int n_seen = 0;
    Loading stopped;
    stopped.watch.on_progress = [&](const LoadProgress&) { return n_seen++ < stop_at; };
    EXPECT_EQ(stopped.failure_of(files.plan()).status(), Status::cancelled) << stop_at;
  }
}

TEST(LoadFleet, LeavesNothingWhenTheCallbackThrows) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto device = make_device();
  LoadWatch watch;
  watch.on_progress = [](const LoadProgress& progress) -> bool {
    if (progress.state == WarmState::warm) throw std::runtime_error("the caller's own");
    return true;
  };
  EXPECT_THROW(load_fleet(*fleet.registry, device, fleet.config, watch), std::runtime_error);
  EXPECT_EQ(device->memory().stats().used_bytes, 0U);
}

TEST(LoadFleet, TellsAFailureOnceNothingRunsAndBeforeAnythingIsReleased) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 1;  // so that what comes before is warm
  std::filesystem::remove(files.weights("fusion"));
  Loading loading;
  const size_t n_threads = testing::n_threads_now();
  int n_told = 0;
  loading.watch.before_release = [&](const Error& error) {
    ++n_told;
    EXPECT_EQ(error.status(), Status::model_file_missing);
    EXPECT_LE(testing::n_threads_left(n_threads), n_threads);
    EXPECT_GT(loading.device->memory().stats().model_bytes, 0U);
    EXPECT_EQ(fleet.registry->state(fleet.registry->find("dense")), WarmState::warm);
    EXPECT_EQ(fleet.registry->state(fleet.registry->find("fusion")), WarmState::failed);
    throw Error(Status::diagnostic_dump_failed);  // does not hide why the start failed
  };
  EXPECT_EQ(loading.failure_of(fleet).status(), Status::model_file_missing);
  EXPECT_EQ(n_told, 1);
}

TEST(LoadFleet, LeavesNothingWhicheverAllocationFails) {
  const SmallFleet files;
  auto raw = std::make_shared<CountingMemory>();
  Loading loading{make_device("", 2, 0, raw), {}};
  for (int64_t n = 0; n < 10000; ++n) {
    const PlannedFleet fleet = files.plan();
    raw->fail_from(n);  // memory asks again before it gives up
    try {
      load_fleet(*fleet.registry, loading.device, fleet.config, {});
      EXPECT_GT(n, 7);
      return;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory) << n << ": " << error.message();
    }
    EXPECT_EQ(loading.device->memory().stats().used_bytes, 0U) << n;
    EXPECT_EQ(fleet.registry->count(WarmState::warm), 0U);
  }
  FAIL() << "never ran to the end";
}

TEST(LoadFleet, RefusesWhatDoesNotFitIntoTheRuntimesBudget) {
  const SmallFleet files;
  Loading loading{make_device("", 2, 100'000), {}};
  EXPECT_EQ(loading.failure_of(files.plan()).status(), Status::budget_exceeded);
}

// --- one component -----------------------------------------------------------------------------------------

TEST(LoadComponent, LoadsAndValidatesOneBesideTheOthers) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto device = make_device();
  uint64_t most = 0;
  Watch watch;
  watch.on_progress = [&](const Progress& progress) {
    most = std::max(most, progress.done);
    EXPECT_LE(progress.done, progress.total);
    return true;
  };
  const auto component = load_component(device, fleet.spec("fusion"), fleet.config, watch);
  EXPECT_EQ(component->bytes(), device->memory().stats().model_bytes);
}

TEST(LoadComponent, LeavesNothingWhenItFails) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto device = make_device();
  ComponentSpec spec = fleet.spec("dense");
  spec.test.tokens = {1, 2, 3};
  EXPECT_EQ(error_of([&] { load_component(device, spec, fleet.config, {}); }).status(),
            Status::model_validation_failed);
  CancelToken cancel;
  cancel.request();
  const auto cancelled = [&] { load_component(device, fleet.spec("dense"), fleet.config, {&cancel, {}}); };
  EXPECT_EQ(error_of(cancelled).status(), Status::cancelled);
  WarmConfig hasty = fleet.config;
  hasty.max_load_ms = 0;
  EXPECT_EQ(error_of([&] { load_component(device, fleet.spec("dense"), hasty, {}); }).status(),
            Status::load_timeout);
  device->memory().reclaim();
  EXPECT_EQ(device->memory().stats().used_bytes, 0U);
}

}  // namespace
}  // namespace nanochat::testing
