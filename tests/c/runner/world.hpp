// Runs the steps of one scenario against a cache.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "site.hpp"

namespace runner {

// How long a step may wait in real time.
inline constexpr std::chrono::seconds kLimit{20};
inline constexpr std::chrono::microseconds kPoll{200};

// The place of an outcome that comes later.
class Slot {
 public:
  // The call has returned, or runs a load on its own thread.
  std::atomic<bool> entered{false};

  void put(Seen seen) {
    const std::lock_guard lock(mutex_);
    seen_ = std::move(seen);
    changed_.notify_all();
  }
  std::optional<Seen> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  std::optional<Seen> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLimit, [&] { return seen_.has_value(); });
    return seen_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Seen> seen_;
};

// A request with all that it borrows.
class Asked {
 public:
  Asked(const std::string& path, const std::map<std::string, std::string>& variant) : path_(path), values_(variant) {}
  Asked(const Call& call, const Captures& captures) : Asked(call.path, call.variant) {
    draft_ = call.draft;
    prefetch_ = call.prefetch;
    is_head_ = call.is_head;
    for (const auto& [name, value] : call.headers) headers_[lower(name)] = replace_captures(value, captures);
  }

  template <class F>
  auto with_request(F&& f) const {
    std::vector<isr_field> fields;
    for (const auto& [name, value] : values_) fields.push_back({str(name), str(value)});
    isr_request request = ISR_REQUEST_INIT;
    request.path = str(path_);
    request.variant = fields.data();
    request.variant_count = fields.size();
    request.draft = draft_;
    request.prefetch = prefetch_;
    return f(&request);
  }

  // What is sent for this answer; consumes it.
  Seen seen(isr_answer* answer) const {
    isr_conditions conditions = ISR_CONDITIONS_INIT;
    conditions.is_head = is_head_;
    if (headers_.count("if-none-match")) conditions.if_none_match = str(headers_.at("if-none-match"));
    if (headers_.count("accept-encoding")) conditions.accept_encoding = str(headers_.at("accept-encoding"));
    Seen seen = of_answer(answer, &conditions);
    isr_answer_unref(answer);
    return seen;
  }

  // The same for a regeneration, which may give no answer.
  Seen rendered(isr_answer* answer) const {
    Seen seen = answer ? this->seen(answer) : Seen::object();
    seen["rendered"] = answer != nullptr;
    return seen;
  }

 private:
  std::string path_;
  std::map<std::string, std::string> values_, headers_;
  bool draft_ = false, prefetch_ = false, is_head_ = false;
};

// A fresh directory, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((std::filesystem::temp_directory_path() / "isr-scenario-XXXXXX").string()) {
    if (!mkdtemp(path_.data())) throw Fault("no temporary directory: " + path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What the library told of the directory.
class Troubles {
 public:
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }
  static void told(void* user_data, isr_status status, isr_str message) {
    auto& self = **static_cast<std::shared_ptr<Troubles>*>(user_data);
    const std::lock_guard lock(self.mutex_);
    self.lines_.push_back(std::string("trouble: ") + isr_status_name(status) + ": " + text(message));
  }
  static void free(void* user_data) { delete static_cast<std::shared_ptr<Troubles>*>(user_data); }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class World {
 public:
  // With a directory if the scenario persists, or if it is to have one anyway.
  World(const Scenario& scenario, bool with_directory)
      : scenario_(scenario), site_(std::make_shared<Site>(scenario)), troubles_(std::make_shared<Troubles>()) {
    clock_.reset(isr_clock_new(1'700'000'000), isr_clock_free);
    if (with_directory || scenario.persists()) directory_.emplace();
    if (scenario.cache.count("deployment")) deployment_ = scenario.cache.at("deployment");
    open();
    for (const auto& route : scenario.routes)
      if (const isr_status status = add_route(route)) throw Fault("route " + route.pattern + ": " + dump(of_error(status)));
  }

  // Ends everything that still runs; what is held is let go.
  void close() {
    site_->frames.end();
    bool ended = false;
    isr_cache_close(cache_.get(), 5, &ended);
    if (!ended) throw Fault("at its end the cache did not close; in progress: " + running());
    if (auto troubles = troubles_->take(); !troubles.empty()) throw Fault(std::move(troubles));  // no scenario makes any
  }

  void run(const Step& step) {
    const std::string& main = step.main;
    if (main == "get" || main == "regenerate" || main == "data_get") {
      if (step.background)
        start(step);
      else
        check(step, aside(main, [call = prepare(step.call, nullptr)] { return call(); }));
    } else if (main == "join") {
      const auto slot = this->slot(step.name);
      const auto seen = slot->wait();
      if (!seen) throw too_long("join " + step.name);
      started_.erase(step.name);
      check(step, *seen);
    } else if (main == "pending") {
      if (const auto seen = slot(step.name)->seen()) throw Fault("\"" + step.name + "\" was answered: " + dump(*seen));
    } else if (main == "advance") {
      if (const isr_status status = isr_clock_advance(clock_.get(), step.seconds)) throw Fault(dump(of_error(status)));
    } else if (main == "shift_wall") {
      double now = 0;
      isr_clock_now(clock_.get(), &now);
      if (const isr_status status = isr_clock_set(clock_.get(), now + step.seconds)) throw Fault(dump(of_error(status)));
    } else if (main == "begin") {
      begun_[step.name] = isr_started(cache_.get());
    } else if (main == "put") {
      put(step);
    } else if (main == "settle") {
      poll("settle", [&] { return quiet().has_value(); });
    } else if (main == "hold" || main == "hold_data") {
      site_->frames.hold(step.gate, step.name);
    } else if (main == "release" || main == "release_data") {
      site_->frames.release(step.gate, step.name);
    } else if (main == "counts" || main == "data_counts") {
      counts(step);
    } else if (main == "revalidate_path") {
      const auto paths = strs(step.list);
      bool matched = false;
      const isr_status status = isr_revalidate_path(cache_.get(), paths.data(), paths.size(), step.path_type, &matched);
      check(step, status ? of_error(status) : Seen{{"matched", matched}});
    } else if (main == "revalidate_tag") {
      const auto tags = strs(step.list);
      const double expire = step.expire ? seconds(*step.expire) : ISR_NEVER;
      check(step, outcome(isr_revalidate_tag(cache_.get(), tags.data(), tags.size(), step.soft, expire)));
    } else if (main == "remove") {
      const auto paths = strs(step.list);
      check(step, outcome(isr_remove(cache_.get(), paths.data(), paths.size())));
    } else if (main == "prerender") {
      check(step, aside(main, [cache = cache_] {
              isr_report* report = nullptr;
              const isr_status status = isr_prerender(cache.get(), nullptr, nullptr, nullptr, &report);
              const Seen seen = status ? of_error(status) : of_report(report);
              isr_report_free(report);
              return seen;
            }));
    } else if (main == "reopen") {
      reopen(step.deployment);
    } else if (main == "inspect") {
      inspect(step);
    } else {  // add_route
      check(step, outcome(add_route(*step.route)));
    }
  }

 private:
  static Seen outcome(isr_status status) { return status ? of_error(status) : Seen::object(); }

  void check(const Step& step, const Seen& seen) {
    const auto differences = step.expect.compare(seen, captures_);
    if (!differences.empty()) throw Fault(differences);
  }

  void open() {
    const std::unique_ptr<isr_options, decltype(&isr_options_free)> options(isr_options_new(), isr_options_free);
    const auto set = [&](const std::string& name, const json& value) {
      isr_options* o = options.get();
      const isr_status status =
          value.is_string() ? isr_options_set_text(o, name.c_str(), str(value.get_ref<const std::string&>()))
          : value.is_null() ? isr_options_set_never(o, name.c_str())
                            : isr_options_set_number(o, name.c_str(), seconds(value));
      if (status) throw Fault("cache: " + dump(of_error(status)));
    };
    set("backoff_jitter", 0);
    set("max_queue", 1000);
    set("threads", 8);
    set("default_timeout", nullptr);
    for (const auto& [name, value] : scenario_.cache)
      if (name != "persist" && name != "deployment") set(name, value);
    set("deployment", deployment_);
    if (directory_) set("directory", directory_->path());
    isr_options_set_on_trouble(options.get(), Troubles::told, new std::shared_ptr<Troubles>(troubles_), Troubles::free);
    threads_ = scenario_.cache.count("threads") ? scenario_.cache.at("threads").get<std::size_t>() : 8;
    isr_options_set_clock(options.get(), clock_.get());
    isr_cache* cache = nullptr;
    if (const isr_status status = isr_cache_open(ISR_ABI_VERSION, options.get(), &cache))
      throw Fault("cache: " + dump(of_error(status)));
    cache_.reset(cache, isr_cache_free);
  }

  isr_status add_route(const Route& route) {
    const std::unique_ptr<isr_route, decltype(&isr_route_free)> r(isr_route_new(), isr_route_free);
    isr_status status = ISR_STATUS_OK;
    const auto set = [&](isr_status done) { status = status ? status : done; };
    if (route.revalidate) set(isr_route_set_revalidate(r.get(), seconds(*route.revalidate)));
    if (route.expire) set(isr_route_set_expire(r.get(), seconds(*route.expire)));
    if (route.timeout) set(isr_route_set_timeout(r.get(), seconds(*route.timeout)));
    const auto number = [&](const char* name, const std::optional<json>& value) {
      if (value) set(isr_route_set_number(r.get(), name, seconds(*value)));
    };
    number("max_concurrent", route.max_concurrent);
    number("early_refresh", route.early_refresh);
    set(isr_route_set_dynamic_params(r.get(), route.dynamic_params));
    for (const auto& names : route.static_params) {
      const std::unique_ptr<isr_params, decltype(&isr_params_free)> params(isr_params_new(), isr_params_free);
      for (const auto& [name, value] : names) {
        if (value.is_string()) {
          set(isr_params_set(params.get(), name.c_str(), str(value.get_ref<const std::string&>())));
        } else {
          const auto texts = value.get<std::vector<std::string>>();
          const auto views = strs(texts);
          set(isr_params_set_list(params.get(), name.c_str(), views.data(), views.size()));
        }
      }
      set(isr_route_add_static_params(r.get(), params.get()));
    }
    for (const auto& tag : route.tags) set(isr_route_add_tag(r.get(), str(tag)));
    for (const auto& name : route.query) set(isr_route_add_query(r.get(), name.c_str()));
    for (const auto& [name, header] : route.vary) set(isr_route_add_vary(r.get(), name.c_str(), header.c_str()));
    if (status) return status;
    status = isr_cache_add_route(cache_.get(), str(route.pattern), r.get(), Site::on_render,
                                 new std::shared_ptr<Site>(site_), Site::free_site);
    if (status == ISR_STATUS_OK) routes_.push_back(route);
    return status;
  }

  void reopen(const std::optional<std::string>& deployment) {
    bool ended = false;
    isr_cache_close(cache_.get(), static_cast<double>(kLimit.count()), &ended);
    if (!ended) throw too_long("reopen");
    if (deployment) deployment_ = *deployment;
    open();
    const auto routes = std::exchange(routes_, {});
    for (const auto& route : routes)
      if (const isr_status status = add_route(route)) throw Fault("reopen: " + dump(of_error(status)));
  }

  void inspect(const Step& step) {
    isr_state state = ISR_STATE_MISSING;
    isr_page* page = nullptr;
    std::uint64_t age = 0;
    const isr_status status = Asked(step.name, step.variant).with_request([&](const isr_request* request) {
      return isr_peek(cache_.get(), request, &state, &page, &age);
    });
    const Seen seen = status ? of_error(status) : of_peek(state, page, age);
    isr_page_unref(page);
    check(step, seen);
  }

  void put(const Step& step) {
    if (!begun_.count(step.begun)) throw Fault("\"" + step.begun + "\" was not begun");
    isr_put_outcome outcome = ISR_PUT_OUTCOME_NOT_STORED;
    const isr_status status = Asked(step.name, step.variant).with_request([&](const isr_request* request) {
      return isr_put(cache_.get(), request, Site::plain_page(*step.page), begun_[step.begun], &outcome);
    });
    check(step, status ? of_error(status) : Seen{{"stored", outcome == ISR_PUT_OUTCOME_STORED}});
  }

  void counts(const Step& step) {
    std::vector<std::string> wrong;
    for (const auto& [key, n] : step.counts) {
      const std::uint64_t got = site_->count(step.gate, key);
      if (got != n) wrong.push_back(key + ": expected " + std::to_string(n) + ", got " + std::to_string(got));
    }
    if (!wrong.empty()) throw Fault(wrong);
  }

  // A call as a function: it blocks and gives what it showed; with a slot it does not block, and puts it there.
  std::function<Seen()> prepare(const Call& call, std::shared_ptr<Slot> slot) {
    if (call.main == "data_get") return prepare_data(call, slot);
    const auto asked = std::make_shared<Asked>(call, captures_);
    const bool regenerates = call.main == "regenerate", only = call.only_generated;
    return [cache = cache_, asked, slot, regenerates, only] {
      return asked->with_request([&](const isr_request* request) {
        if (slot) {
          auto* done = new Answering{slot, asked, regenerates};
          const isr_status status =
              regenerates ? isr_regenerate_async(cache.get(), request, only, Answering::done, done, Answering::free)
                          : isr_get_async(cache.get(), request, Answering::done, done, Answering::free);
          if (status) slot->put(of_error(status));
          return Seen();
        }
        isr_answer* answer = nullptr;
        const isr_status status = regenerates ? isr_regenerate(cache.get(), request, only, &answer)
                                              : isr_get(cache.get(), request, &answer);
        if (status) return of_error(status);
        return regenerates ? asked->rendered(answer) : asked->seen(answer);
      });
    };
  }

  std::function<Seen()> prepare_data(const Call& call, std::shared_ptr<Slot> slot) {
    return [cache = cache_, site = site_, call, slot] {
      const auto key = strs(call.key), tags = strs(call.tags);
      isr_data_request request = ISR_DATA_REQUEST_INIT;
      request.key = key.data();
      request.key_count = key.size();
      request.tags = tags.data();
      request.tag_count = tags.size();
      if (call.revalidate) request.revalidate = seconds(*call.revalidate);
      auto* loading = new Site::Loading{site, {}, {}};
      if (slot) {
        loading->begun = [slot] { slot->entered = true; };
        const isr_status status =
            isr_cache_data_async(cache.get(), &request, Site::on_load, loading, Site::free_loading, Reading::done,
                                 new Reading{slot}, Reading::free);
        if (status) slot->put(of_error(status));
        return Seen();
      }
      isr_data* data = nullptr;
      const isr_status status = isr_cache_data(cache.get(), &request, Site::on_load, loading, Site::free_loading, &data);
      const Seen seen = status ? of_error(status) : of_data(data);
      isr_data_unref(data);
      return seen;
    };
  }

  // `user_data` of the completion callbacks.
  struct Answering {
    std::shared_ptr<Slot> slot;
    std::shared_ptr<Asked> asked;
    bool regenerates;
    static void done(void* user_data, isr_status status, isr_answer* answer) {
      const auto& self = *static_cast<Answering*>(user_data);
      self.slot->put(status           ? of_error(status)
                     : self.regenerates ? self.asked->rendered(answer)
                                        : self.asked->seen(answer));
    }
    static void free(void* user_data) { delete static_cast<Answering*>(user_data); }
  };
  struct Reading {
    std::shared_ptr<Slot> slot;
    static void done(void* user_data, isr_status status, isr_data* data) {
      static_cast<Reading*>(user_data)->slot->put(status ? of_error(status) : of_data(data));
      isr_data_unref(data);
    }
    static void free(void* user_data) { delete static_cast<Reading*>(user_data); }
  };

  // A call in the foreground, on a thread of its own so that a dead-lock is seen.
  template <class F>
  Seen aside(const std::string& what, F call) {
    std::packaged_task<Seen()> task([call] {
      own_thread = true;
      return call();
    });
    auto seen = task.get_future();
    std::thread thread(std::move(task));
    if (seen.wait_for(kLimit) != std::future_status::ready) {
      thread.detach();
      throw too_long(what);
    }
    thread.join();
    return seen.get();
  }

  // A call in the background: by the functions that never block, on a thread of its own, as a loader may block it.
  void start(const Step& step) {
    if (started_.count(step.name)) throw Fault("\"" + step.name + "\" was started before and not joined");
    const auto slot = started_[step.name] = std::make_shared<Slot>();
    std::thread([slot, call = prepare(step.call, slot)]() mutable {
      own_thread = true;
      call();
      call = nullptr;  // what it holds goes before the step goes on
      slot->entered = true;
    }).detach();
    // Answered, or all that it waits for is held; where nothing is held the answer is on its way.
    poll("start " + step.name, [&] {
      return slot->entered && (slot->seen() || quiet().value_or(0) > 0);
    });
  }

  std::shared_ptr<Slot> slot(const std::string& name) {
    const auto found = started_.find(name);
    if (found == started_.end()) throw Fault("\"" + name + "\" is not started");
    return found->second;
  }

  // How many callbacks are held, if nothing else goes on: sampled twice, so that nothing happened in between.
  std::optional<std::size_t> quiet() {
    const isr_activity before = activity();
    const Sample first = site_->frames.sample();
    if (!first.is_quiet(before, threads_)) return std::nullopt;
    std::this_thread::sleep_for(kPoll);
    const isr_activity after = activity();
    if (before.version != after.version || !(first == site_->frames.sample())) return std::nullopt;
    return first.held;
  }

  template <class F>
  void poll(const std::string& what, F&& ready) {
    const auto began = std::chrono::steady_clock::now();
    while (!ready()) {
      if (std::chrono::steady_clock::now() - began > kLimit) throw too_long(what);
      std::this_thread::sleep_for(kPoll);
    }
  }

  isr_activity activity() const {
    isr_activity out{};
    isr_cache_activity(cache_.get(), &out);
    return out;
  }

  Fault too_long(const std::string& what) {
    return Fault(what + " took longer than " + std::to_string(kLimit.count()) + " s; in progress: " + running());
  }

  std::string running() {
    std::string pending;
    for (const auto& [name, slot] : started_)
      if (!slot->seen()) pending += (pending.empty() ? "" : ", ") + name;
    const isr_activity a = activity();
    return site_->frames.describe() + "; not answered: [" + pending + "]; queued " + std::to_string(a.queued) +
           ", running " + std::to_string(a.running) + ", waiting " + std::to_string(a.waiting);
  }

  const Scenario& scenario_;
  std::optional<TemporaryDirectory> directory_;
  json deployment_ = "";  // that of the last `reopen` which named one
  std::shared_ptr<Site> site_;
  std::shared_ptr<Troubles> troubles_;
  std::shared_ptr<isr_clock> clock_;
  std::shared_ptr<isr_cache> cache_;
  std::size_t threads_ = 8;
  std::vector<Route> routes_;  // those that were added, for a reopen
  Captures captures_;
  std::map<std::string, std::shared_ptr<Slot>> started_;
  std::map<std::string, std::uint64_t> begun_;  // the epochs of `begin`
};

}  // namespace runner
