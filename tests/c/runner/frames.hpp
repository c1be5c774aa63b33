// The callbacks in progress: which are held, and which work.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>

#include "step.hpp"

namespace runner {

// Whether the runner began this thread: a load that runs on it takes no place of the pool.
inline thread_local bool own_thread = false;
// Callbacks inside one another on this thread.
inline thread_local int depth = 0;

// What the callbacks do at one moment.
struct Sample {
  std::uint64_t version = 0;
  std::size_t working = 0;  // neither held nor asking the cache
  std::size_t held = 0;     // blocked by a hold, and the cache still waits for them
  std::size_t places = 0;   // of the pool that are taken

  bool operator==(const Sample& o) const {
    return version == o.version && working == o.working && held == o.held && places == o.places;
  }
  // Whether nothing goes on by itself any more.
  bool is_quiet(const isr_activity& a, std::size_t threads) const {
    return working == 0 && a.running == a.waiting + held && (a.queued == 0 || places >= threads);
  }
};

class Frames {
  enum class Doing { Works, Asks, Held };
  struct Info {
    Gate gate;
    std::string key;
    Doing doing;
    std::function<bool()> is_cancelled;
    bool takes_place;
  };
  using Id = std::uint64_t;

 public:
  // One callback in progress, until it is destroyed.
  class Frame {
   public:
    Frame(Frames& frames, Gate gate, std::string key, std::function<bool()> is_cancelled) : frames_(frames) {
      const bool takes_place = depth++ == 0 && !own_thread;
      const std::lock_guard lock(frames_.mutex_);
      ++frames_.version_;
      id_ = ++frames_.next_;
      frames_.infos_[id_] = {gate, std::move(key), Doing::Works, std::move(is_cancelled), takes_place};
    }
    Frame(const Frame&) = delete;
    ~Frame() {
      --depth;
      const std::lock_guard lock(frames_.mutex_);
      ++frames_.version_;
      frames_.infos_.erase(id_);
    }
    // Calls the cache, which may wait or run another callback on this thread.
    template <class F>
    auto asking(F&& ask) {
      set(Doing::Asks);
      auto result = ask();
      set(Doing::Works);
      return result;
    }
    // Blocks while this callback's key is held.
    void hold() {
      std::unique_lock lock(frames_.mutex_);
      const auto key = std::make_pair(frames_.infos_[id_].gate, frames_.infos_[id_].key);
      if (!frames_.is_held(key)) return;
      frames_.set(id_, Doing::Held);
      frames_.changed_.wait(lock, [&] { return !frames_.is_held(key); });
      frames_.set(id_, Doing::Works);
    }

   private:
    void set(Doing doing) {
      const std::lock_guard lock(frames_.mutex_);
      frames_.set(id_, doing);
    }
    Frames& frames_;
    Id id_;
  };

  void hold(Gate gate, const std::string& key) {
    const std::lock_guard lock(mutex_);
    held_.insert({gate, key});
  }

  void release(Gate gate, const std::string& key) {
    const std::lock_guard lock(mutex_);
    ++version_;
    held_.erase({gate, key});
    changed_.notify_all();
  }

  // Lets go of everything, for good.
  void end() {
    const std::lock_guard lock(mutex_);
    ++version_;
    ended_ = true;
    changed_.notify_all();
  }

  Sample sample() {
    const std::lock_guard lock(mutex_);
    Sample sample;
    sample.version = version_;
    for (const auto& [id, info] : infos_) {
      const bool cancelled = info.is_cancelled();
      sample.places += info.takes_place && !cancelled;
      // One that was released a moment ago counts as working although its thread still sleeps.
      if (info.doing == Doing::Held && is_held({info.gate, info.key}))
        sample.held += !cancelled;
      else if (info.doing != Doing::Asks)
        ++sample.working;
    }
    return sample;
  }

  // The callbacks in progress, for a message.
  std::string describe() {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& [id, info] : infos_) {
      const char* doing = info.doing == Doing::Works ? "works" : info.doing == Doing::Asks ? "asks for data" : "is held";
      out += std::string(out.empty() ? "" : ", ") + (info.gate == Gate::Render ? "render " : "load ") + info.key + " " + doing;
    }
    return out.empty() ? "no callback" : out;
  }

 private:
  bool is_held(const std::pair<Gate, std::string>& key) const { return !ended_ && held_.count(key) > 0; }
  void set(Id id, Doing doing) {
    ++version_;
    infos_[id].doing = doing;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t version_ = 0;
  Id next_ = 0;
  std::map<Id, Info> infos_;
  std::set<std::pair<Gate, std::string>> held_;
  bool ended_ = false;
};

}  // namespace runner
