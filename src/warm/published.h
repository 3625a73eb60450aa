// A place for one object that many threads use while another may put a new one in its place.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace nanochat {

// Users never wait: to acquire is to count oneself in at the object that is current, and to try again if it
// has just been replaced. There are two places. A new object goes into the free one, becomes current, and the
// old one is destroyed when the last of its users has left. Changes are made by one thread at a time.
template <class T>
class Published {
 public:
  // The current object, or nullptr. Every acquired place is released, by its number.
  struct Use {
    const T* object;
    int32_t place;
  };
  Use acquire() const noexcept {
    while (true) {
      const int32_t place = current_.load();
      if (place < 0) return {nullptr, -1};
      places_[place].users.fetch_add(1);
      // As long as it is current after this count, its object stays until the count is taken back.
      if (current_.load() == place) return {places_[place].object.get(), place};
      places_[place].users.fetch_sub(1);
    }
  }
  void release(int32_t place) const noexcept { places_[place].users.fetch_sub(1); }

  bool has_object() const noexcept { return current_.load() >= 0; }

  // Whether there is an empty place. After collect() there is, unless both are held by users.
  bool has_room() const noexcept { return !places_[0].object || !places_[1].object; }

  // Makes `object` current. There must be room. After a withdrawal either place may be the one that is still
  // held.
  void publish(std::unique_ptr<const T> object) noexcept {
    const int32_t free_place = places_[0].object ? 1 : 0;
    places_[free_place].object = std::move(object);
    current_.store(free_place);
  }
  // No object is current from now on.
  void withdraw() noexcept { current_.store(-1); }

  // Destroys what is not current and has no users any more. Returns the users of what stays: 0 when nothing
  // is left.
  int64_t collect() noexcept {
    int64_t n_users = 0;
    for (int32_t place = 0; place < 2; ++place) {
      if (place == current_.load() || !places_[place].object) continue;
      const int64_t users = places_[place].users.load();
      if (users == 0) {
        places_[place].object.reset();
      } else {
        n_users += users;
      }
    }
    return n_users;
  }

 private:
  struct Place {
    std::unique_ptr<const T> object;
    mutable std::atomic<int64_t> users{0};
  };
  Place places_[2];
  std::atomic<int32_t> current_{-1};
};

}  // namespace nanochat
