#include "warm/registry.h"

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unit/warm/registry_fixture.h"

namespace nanochat {
namespace {

using std::chrono::milliseconds;

constexpr WarmState kStates[] = {WarmState::pending, WarmState::loading, WarmState::validating,
                                 WarmState::warm, WarmState::failed};

TEST(WarmStates, HaveTheNamesOfTheReport) {
  constexpr std::string_view kNames[] = {"pending", "loading", "validating", "warm", "failed"};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(state_name(kStates[i]), kNames[i]);
}

TEST(WarmStates, FollowEachOtherAsTheTableSaysAndInNoOtherWay) {
  const std::set<std::pair<WarmState, WarmState>> legal = {
      {WarmState::pending, WarmState::loading},   {WarmState::loading, WarmState::validating},
      {WarmState::validating, WarmState::warm},   {WarmState::loading, WarmState::failed},
      {WarmState::validating, WarmState::failed},
  };
  for (const WarmState from : kStates) {
    for (const WarmState to : kStates) {
      EXPECT_EQ(may_follow(from, to), legal.contains({from, to})) << state_name(from) << state_name(to);
    }
  }
}

struct Change {
  const char* name;
  std::function<void(Registry&)> make;
  Status if_illegal;
  std::set<WarmState> legal_from;
  WarmState then;
};

const std::vector<Change>& changes() {
  static const std::vector<Change> list = {
      {"start_loading",
       [](Registry& registry) { registry.start_loading(0); },
       Status::model_load_failed,
       {WarmState::pending},
       WarmState::loading},
      {"update_progress",
       [](Registry& registry) { registry.update_progress(0, 10); },
       Status::model_load_failed,
       {WarmState::loading},
       WarmState::loading},
      {"mark_validating",
       [](Registry& registry) { registry.mark_validating(0); },
       Status::model_validation_failed,
       {WarmState::loading},
       WarmState::validating},
      {"mark_warm",
       [](Registry& registry) { registry.mark_warm(0, computed_component("A")); },
       Status::model_validation_failed,
       {WarmState::validating},
       WarmState::warm},
      {"mark_failed",
       [](Registry& registry) { registry.mark_failed(0, Error(Status::load_timeout).say("too slow")); },
       Status::model_load_failed,
       {WarmState::loading, WarmState::validating},
       WarmState::failed},
  };
  return list;
}

// Every change in every state: 25 cases, 6 of them legal.
TEST(Registry, MakesLegalChangesAndRefusesAllOthersWithoutATrace) {
  size_t n_legal = 0;
  for (const Change& change : changes()) {
    for (const WarmState from : kStates) {
      SCOPED_TRACE(std::string(change.name) + " from " + std::string(state_name(from)));
      const auto registry = Registry::create({item_of("A", 100)});
      bring_to(*registry, 0, from);
      const EntryStatus before = registry->status(0);
      const bool had_object = registry->acquire(0) != nullptr;
      if (change.legal_from.contains(from)) {
        ++n_legal;
        change.make(*registry);
        EXPECT_EQ(registry->state(0), change.then);
        continue;
      }
      const Error error = error_of([&] { change.make(*registry); });
      EXPECT_EQ(error.status(), change.if_illegal);
      EXPECT_EQ(error.subject(), "A");
      EXPECT_EQ(field_of(error, "model_id"), "A");
      EXPECT_NE(field_of(error, "reason").find(state_name(from)), std::string::npos);
      EXPECT_NE(error.message().find(field_of(error, "reason")), std::string::npos);
      EXPECT_TRUE(error.message().starts_with(change.if_illegal == Status::model_load_failed
                                                  ? "Model load failed for A: "
                                                  : "Model validation failed for A: "));
      EXPECT_EQ(registry->state(0), from);
      EXPECT_EQ(registry->status(0).bytes_loaded, before.bytes_loaded);
      EXPECT_EQ(registry->status(0).message, before.message);
      EXPECT_EQ(registry->status(0).error, before.error);
      EXPECT_EQ(registry->acquire(0) != nullptr, had_object);
    }
  }
  EXPECT_EQ(n_legal, 6u);
}

TEST(Registry, RefusesAnIdTwice) {
  const Error error = error_of([] { Registry::create({item_of("A"), item_of("B"), item_of("A")}); });
  EXPECT_EQ(error.status(), Status::model_already_registered);
  EXPECT_EQ(field_of(error, "model_id"), "A");
}

TEST(Registry, FindsByIdAndRefusesWhatIsNotThere) {
  const auto registry = Registry::create({item_of("A"), item_of("B")});
  EXPECT_EQ(registry->size(), 2u);
  EXPECT_EQ(registry->find("B"), 1u);
  EXPECT_EQ(registry->spec(1).id, "B");
  const Error error = error_of([&] { registry->find("C"); });
  EXPECT_EQ(error.status(), Status::model_not_registered);
  EXPECT_EQ(field_of(error, "model_id"), "C");
}

TEST(Registry, LoadsTheLargestFirstAndTiesInTheirOrder) {
  const auto registry =
      Registry::create({item_of("A", 5), item_of("B", 9), item_of("C", 5), item_of("D", 7), item_of("E")});
  EXPECT_EQ(registry->loading_order(), (std::vector<size_t>{1, 3, 0, 2, 4}));
}

TEST(Registry, LoadsNothingBeforeWhatItDependsOn) {
  const auto registry = Registry::create({item_of("Fusion", 100, {"B", "C"}), item_of("A", 50),
                                          item_of("B", 1, {"D"}), item_of("C", 2), item_of("D", 10)});
  EXPECT_EQ(registry->loading_order(), (std::vector<size_t>{1, 4, 3, 2, 0}));
}

TEST(Registry, IsNeverAllWarmWithoutComponents) {
  const auto registry = Registry::create({});
  EXPECT_FALSE(registry->all_warm());
  EXPECT_TRUE(registry->loading_order().empty());
}

TEST(Registry, CountsStates) {
  const auto registry = Registry::create({item_of("A"), item_of("B"), item_of("C")});
  EXPECT_EQ(registry->count(WarmState::pending), 3u);
  bring_to(*registry, 0, WarmState::warm);
  bring_to(*registry, 1, WarmState::failed);
  EXPECT_EQ(registry->count(WarmState::warm), 1u);
  EXPECT_EQ(registry->count(WarmState::failed), 1u);
  EXPECT_FALSE(registry->all_warm());
  const auto both = Registry::create({item_of("A"), item_of("B")});
  bring_to(*both, 0, WarmState::warm);
  bring_to(*both, 1, WarmState::warm);
  EXPECT_TRUE(both->all_warm());
}

TEST(Registry, SaysHowFarAComponentIs) {
  const auto registry = Registry::create({item_of("A", 1000)});
  EXPECT_EQ(registry->status(0).load_ms, -1);
  EXPECT_EQ(registry->status(0).progress_percent, 0);
  registry->start_loading(0);
  registry->update_progress(0, 456);
  EXPECT_EQ(registry->status(0).bytes_loaded, 456u);
  EXPECT_EQ(registry->status(0).progress_percent, 45);
  EXPECT_GE(registry->status(0).load_ms, 0);
  registry->update_progress(0, 5000);
  EXPECT_EQ(registry->status(0).progress_percent, 100) << "clamped";
  registry->mark_validating(0);
  EXPECT_EQ(registry->status(0).bytes_loaded, 1000u);
  EXPECT_EQ(registry->status(0).progress_percent, 100);
  registry->mark_warm(0, computed_component("A"));
  EXPECT_EQ(registry->status(0).last_latency_us, -1) << "no test has been run";
  registry->record_test(0, 77, "");
  EXPECT_EQ(registry->status(0).last_latency_us, 77);
  EXPECT_TRUE(registry->status(0).test_passed);
  registry->record_test(0, 88, "differs");
  EXPECT_FALSE(registry->status(0).test_passed);
  EXPECT_EQ(registry->status(0).test_message, "differs");
}

TEST(Registry, KeepsTheErrorOfAFailedComponent) {
  const auto registry = Registry::create({item_of("A")});
  registry->start_loading(0);
  registry->mark_failed(0, Error(Status::load_timeout).say("A takes too long"));
  const EntryStatus status = registry->status(0);
  EXPECT_EQ(status.error, Status::load_timeout);
  EXPECT_EQ(status.message, "A takes too long");
  registry->withdraw(0);
  EXPECT_EQ(registry->state(0), WarmState::failed);
}

TEST(Registry, LendsTheObjectOfAWarmComponentOnly) {
  for (const WarmState state : kStates) {
    const auto registry = Registry::create({item_of("A")});
    bring_to(*registry, 0, state);
    const auto held = registry->acquire(0);
    EXPECT_EQ(held != nullptr, state == WarmState::warm) << state_name(state);
    EXPECT_TRUE(held == nullptr || held->spec().id == "A");
  }
}

TEST(Registry, CountsTheUsersThatHoldWhatWasReplaced) {
  const auto registry = Registry::create({item_of("A")});
  bring_to(*registry, 0, WarmState::warm);
  auto first = registry->acquire(0), same = registry->acquire(0);
  const Component* const old = first.get();
  registry->replace(0, computed_component("A"));
  EXPECT_NE(registry->acquire(0).get(), old);
  EXPECT_EQ(registry->drain(0, milliseconds(0)), 2);
  const Error error = error_of([&] { registry->replace(0, computed_component("A")); });
  EXPECT_EQ(error.status(), Status::invalid_state);
  EXPECT_EQ(field_of(error, "users"), "2");
  same.reset();
  EXPECT_EQ(registry->drain(0, milliseconds(0)), 1);
  EXPECT_EQ(first->spec().id, "A") << "still there";
  first.reset();
  EXPECT_EQ(registry->drain(0, milliseconds(0)), 0);
  registry->replace(0, computed_component("A"));
  EXPECT_EQ(registry->state(0), WarmState::warm);
}

TEST(Registry, ReplacesNothingThatIsNotWarm) {
  const auto registry = Registry::create({item_of("A")});
  EXPECT_EQ(error_of([&] { registry->replace(0, computed_component("A")); }).status(), Status::invalid_state);
  EXPECT_EQ(registry->acquire(0), nullptr);
}

TEST(Registry, LendsNothingThatIsWithdrawnAndWaitsForItsUsers) {
  const auto registry = Registry::create({item_of("A")});
  bring_to(*registry, 0, WarmState::warm);
  auto held = registry->acquire(0);
  registry->withdraw(0);
  EXPECT_EQ(registry->state(0), WarmState::pending);
  EXPECT_EQ(registry->acquire(0), nullptr);
  EXPECT_EQ(registry->drain(0, milliseconds(5)), 1);
  EXPECT_EQ(held->spec().id, "A");
  std::thread user([&] { held.reset(); });
  EXPECT_EQ(registry->drain(0, milliseconds(10'000)), 0);
  user.join();
}

TEST(Registry, WithdrawnWhileItIsHeldStaysWholeWhenAnotherBecomesWarm) {
  const auto registry = Registry::create({item_of("A")});
  bring_to(*registry, 0, WarmState::warm);
  auto held = registry->acquire(0);
  registry->withdraw(0);
  bring_to(*registry, 0, WarmState::warm);
  EXPECT_NE(registry->acquire(0).get(), held.get());
  EXPECT_EQ(held->spec().id, "A");
  EXPECT_EQ(registry->drain(0, milliseconds(0)), 1);
  held.reset();
  EXPECT_EQ(registry->drain(0, milliseconds(0)), 0);
}

TEST(Registry, BecomesWarmAgainOnlyWhenOneOfItsFormerObjectsIsGone) {
  const auto registry = Registry::create({item_of("A")});
  bring_to(*registry, 0, WarmState::warm);
  auto first = registry->acquire(0);
  registry->withdraw(0);
  bring_to(*registry, 0, WarmState::warm);
  auto second = registry->acquire(0);
  registry->withdraw(0);
  bring_to(*registry, 0, WarmState::validating);
  const auto become_warm = [&] { registry->mark_warm(0, computed_component("A")); };
  EXPECT_EQ(error_of(become_warm).status(), Status::invalid_state);
  EXPECT_EQ(registry->state(0), WarmState::validating);
  EXPECT_EQ(first->spec().id, second->spec().id);
  first.reset();
  become_warm();
  EXPECT_EQ(registry->state(0), WarmState::warm);
}

TEST(Registry, LivesAsLongAsAnythingOfItIsHeld) {
  auto registry = Registry::create({item_of("A"), item_of("B")});
  bring_to(*registry, 0, WarmState::warm);
  bring_to(*registry, 1, WarmState::warm);
  auto held = registry->acquire(0);
  const std::weak_ptr<Registry> alive = registry;
  registry.reset();
  EXPECT_FALSE(alive.expired());
  EXPECT_EQ(held->spec().id, "A");
  auto copy = held;
  held.reset();
  EXPECT_FALSE(alive.expired());
  copy.reset();
  EXPECT_TRUE(alive.expired());
}

}  // namespace
}  // namespace nanochat
