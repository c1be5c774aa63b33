// The steps of a scenario. Each has one main key, the keys that go beside it, and what `expect` may name.
#pragma once

#include <set>

#include "expect.hpp"
#include "format.hpp"

namespace runner {

// What is counted and held: renders or loads.
enum class Gate { Render, Load };

// What may run in the background.
struct Call {
  std::string main;  // get, regenerate or data_get
  std::string path;
  std::map<std::string, std::string> variant, headers;
  bool draft = false, prefetch = false, is_head = false, only_generated = false;
  DataKey key;
  std::vector<std::string> tags;
  std::optional<json> revalidate;
};

struct Step {
  std::string text;  // for messages
  std::string main;
  std::string name;  // of start, join, pending and begin; a key of hold and release; a path of inspect and put
  bool background = false;
  Call call;
  Gate gate = Gate::Render;
  double seconds = 0;
  std::map<std::string, std::uint64_t> counts;
  std::vector<std::string> list;  // of paths or tags
  std::int32_t path_type = ISR_PATH_TYPE_DEFAULT;
  bool soft = false;
  std::optional<json> expire;
  std::map<std::string, std::string> variant;
  std::optional<std::string> deployment;
  std::optional<Route> route;
  std::optional<Element> page;
  std::string begun;
  Expect expect;
};

namespace steps {

using Names = std::set<std::string>;

inline const std::vector<std::string> kMain = {
    "get",     "regenerate", "data_get",     "join",   "pending",     "advance",         "settle",
    "hold",    "release",    "hold_data",    "counts", "data_counts", "revalidate_path", "revalidate_tag",
    "remove",  "prerender",  "release_data", "reopen", "inspect",     "shift_wall",      "begin",
    "put",     "add_route"};

inline Names may_expect(const std::string& call) {
  if (call == "data_get") return {"value", "cache"};
  Names names = {"cache", "status", "body", "body_base64", "headers"};
  if (call == "regenerate") names.insert("rendered");
  return names;
}

inline Call parse_call(const std::string& main, Keys& keys) {
  Call call;
  call.main = main;
  if (main == "data_get") {
    call.key = keys.need_texts(main);
    call.tags = keys.texts("tags");
    call.revalidate = keys.take("revalidate");
    return call;
  }
  call.path = keys.need_text(main);
  if (main == "regenerate") {
    call.only_generated = keys.flag("only_generated");
    return call;
  }
  call.variant = keys.map("variant");
  call.headers = keys.map("headers");
  call.draft = keys.flag("draft");
  call.prefetch = keys.flag("prefetch");
  const std::string method = keys.text("method").value_or("GET");
  if (method != "GET" && method != "HEAD") keys.fail("method is GET or HEAD; got \"" + method + "\"");
  call.is_head = method == "HEAD";
  return call;
}

inline Expect expect(Keys& keys, Names may, bool may_fail = true) {
  if (may_fail) may.insert({"error", "message"});
  return Expect(keys.take("expect").value_or(json::object()), may);
}

inline std::string main_key(const Keys& keys) {
  std::string found;
  for (const auto& name : kMain) {
    if (!keys.has(name)) continue;
    if (!found.empty()) keys.fail("both \"" + found + "\" and \"" + name + "\"");
    found = name;
  }
  if (found.empty()) keys.fail("no key says what to do");
  return found;
}

inline void parse_counts(Step& step, Keys& keys) {
  const json given = keys.need(step.main);
  if (!given.is_object()) keys.fail(step.main + " must be an object");
  for (const auto& [key, n] : given.items()) {
    if (!n.is_number_unsigned()) keys.fail(step.main + "." + key + " must be a number; got " + dump(n));
    step.counts[key] = n.get<std::uint64_t>();
  }
}

// `started` says what the calls begun so far may be expected to show.
inline Step parse(const json& raw, std::map<std::string, std::string>& started) {
  Keys keys("", raw);
  Step step;
  step.text = dump(raw);
  const auto start = keys.text("start");
  const std::string main = step.main = main_key(keys);
  const bool callable = main == "get" || main == "regenerate" || main == "data_get";
  if (start && !callable) keys.fail("start stands beside get, regenerate or data_get");
  if (callable) {
    step.call = parse_call(main, keys);
    if (start) {
      step.background = true;
      step.name = *start;
      started[*start] = main;
    } else {
      step.expect = expect(keys, may_expect(main));
    }
  } else if (main == "join") {
    step.name = keys.need_text(main);
    if (!started.count(step.name)) keys.fail("nothing was started as \"" + step.name + "\"");
    step.expect = expect(keys, may_expect(started[step.name]));
  } else if (main == "pending") {
    step.name = keys.need_text(main);
  } else if (main == "advance" || main == "shift_wall") {
    const json value = keys.need(main);
    if (!value.is_number()) keys.fail(main + " must be a number; got " + dump(value));
    step.seconds = value.get<double>();
  } else if (main == "settle") {
    keys.must_be_true(main);
  } else if (main == "hold" || main == "release") {
    step.name = keys.need_text(main);
  } else if (main == "hold_data" || main == "release_data") {
    step.gate = Gate::Load;
    step.name = data_key_text(keys.need_texts(main));
  } else if (main == "counts" || main == "data_counts") {
    step.gate = main == "counts" ? Gate::Render : Gate::Load;
    parse_counts(step, keys);
  } else if (main == "revalidate_path") {
    step.list = keys.need_texts(main);
    const auto type = keys.text("type");
    if (type && *type != "page" && *type != "layout") keys.fail("type is page or layout; got \"" + *type + "\"");
    if (type) step.path_type = *type == "page" ? ISR_PATH_TYPE_PAGE : ISR_PATH_TYPE_LAYOUT;
    step.expect = expect(keys, {"matched"});
  } else if (main == "revalidate_tag") {
    step.list = keys.need_texts(main);
    step.soft = keys.flag("soft");
    step.expire = keys.take("expire");
    step.expect = expect(keys, {});
  } else if (main == "remove") {
    step.list = keys.need_texts(main);
    step.expect = expect(keys, {});
  } else if (main == "prerender") {
    keys.must_be_true(main);
    step.expect = expect(keys, {"rendered", "skipped", "failed", "failed_paths"}, false);
  } else if (main == "reopen") {
    keys.must_be_true(main);
    step.deployment = keys.text("deployment");
  } else if (main == "inspect") {
    step.name = keys.need_text(main);
    step.variant = keys.map("variant");
    step.expect = expect(keys, {"state", "tags", "revalidate", "expire", "body", "status", "age"}, false);
  } else if (main == "begin") {
    step.name = keys.need_text(main);
  } else if (main == "put") {
    step.name = keys.need_text(main);
    step.variant = keys.map("variant");
    step.begun = keys.need_text("begun");
    step.page = parse_element("page", keys.need("page"));
    if (step.page->error || !step.page->reads.empty()) keys.fail("page: reads, error and panic are for callbacks");
    step.expect = expect(keys, {"stored"});
  } else {  // add_route: the last of kMain
    step.route = parse_route(keys.need(main));
    step.expect = expect(keys, {});
  }
  keys.done();
  return step;
}

}  // namespace steps

// One scenario.
struct Scenario {
  std::string name;
  std::map<std::string, json> cache;
  std::vector<Route> routes;
  std::map<std::string, std::vector<Element>> renders;
  std::map<std::string, std::vector<LoadElement>> data;
  std::vector<Step> steps;

  bool persists() const {
    const auto found = cache.find("persist");
    return found != cache.end() && found->second == json(true);
  }
};

template <class T>
std::map<std::string, std::vector<T>> parse_lists(Keys& keys, const std::string& key,
                                                  T (*parse)(const std::string&, const json&)) {
  std::map<std::string, std::vector<T>> out;
  const json given = keys.take(key).value_or(json::object());
  if (!given.is_object()) keys.fail(key + " must be an object");
  for (const auto& [name, list] : given.items()) {
    if (!list.is_array() || list.empty()) keys.fail(key + "." + name + " needs a list with an element");
    for (const auto& item : list) out[name].push_back(parse(name, item));
  }
  return out;
}

inline Scenario parse_scenario(const json& raw) {
  Keys keys("", raw);
  Scenario s;
  s.name = keys.need_text("name");
  keys.take("spec");
  const std::set<std::string> known = {"deployment", "max_entry_bytes", "max_bytes",          "stale_if_error", "backoff_jitter",
                                       "max_queue",  "threads",         "default_revalidate", "default_expire", "persist",
                                       "max_regenerations", "max_regenerations_per_tag", "early_refresh"};
  const json cache = keys.take("cache").value_or(json::object());
  if (!cache.is_object()) keys.fail("cache must be an object");
  for (const auto& [name, value] : cache.items()) {
    if (!known.count(name)) keys.fail("cache: unknown key \"" + name + "\"");
    if (name == "persist" && !value.is_boolean()) keys.fail("cache.persist must be true or false");
    s.cache[name] = value;
  }
  const json routes = keys.take("routes").value_or(json::array());
  if (!routes.is_array()) keys.fail("routes must be a list");
  for (const auto& item : routes) s.routes.push_back(parse_route(item));
  s.renders = parse_lists<Element>(keys, "renders", parse_element);
  s.data = parse_lists<LoadElement>(keys, "data", parse_load);
  const json all = keys.need("steps");
  if (!all.is_array()) keys.fail("steps must be a list");
  std::map<std::string, std::string> started;
  for (std::size_t i = 0; i < all.size(); ++i) {
    try {
      s.steps.push_back(steps::parse(all[i], started));
    } catch (Fault& fault) {
      throw Fault("step " + std::to_string(i + 1) + " " + dump(all[i]) + ": " + fault.lines[0]);
    }
  }
  keys.done();
  return s;
}

}  // namespace runner
