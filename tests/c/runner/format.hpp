// A scenario as data, checked in every key.
#pragma once

#include "keys.hpp"

namespace runner {

using DataKey = std::vector<std::string>;

// A data entry's key as it stands in `data`, counts, holds and `{data:KEY}`.
inline std::string data_key_text(const DataKey& key) { return key.size() == 1 ? key[0] : dump(json(key)); }

// One read of a data entry, and the reads of its load.
struct Read {
  DataKey key;
  std::vector<std::string> tags;
  std::optional<json> revalidate;
  std::vector<Read> reads;
  std::optional<std::string> otherwise;
};

inline std::vector<Read> parse_reads(Keys& from) {
  std::vector<Read> reads;
  const auto list = from.take("reads");
  if (!list) return reads;
  if (!list->is_array()) from.fail("reads must be a list");
  for (const auto& item : *list) {
    Keys keys("reads", item);
    Read read;
    read.key = keys.need_texts("data");
    read.tags = keys.texts("tags");
    read.revalidate = keys.take("revalidate");
    read.reads = parse_reads(keys);
    read.otherwise = keys.text("or");
    keys.done();
    reads.push_back(std::move(read));
  }
  return reads;
}

// What one render returns.
struct Element {
  std::optional<std::string> body, body_base64, error, redirect_to;
  std::optional<std::uint16_t> status;
  std::uint16_t redirect_status = 307;
  std::map<std::string, std::string> headers;
  std::optional<json> revalidate, expire;
  std::vector<std::string> tags;
  bool no_store = false, remove = false, not_found = false, panic = false;
  std::vector<Read> reads;
};

inline Element parse_element(const std::string& what, const json& item) {
  Keys keys("renders." + what, item);
  Element e;
  e.body = keys.text("body");
  e.body_base64 = keys.text("body_base64");
  e.error = keys.text("error");
  if (auto redirect = keys.take("redirect")) {
    Keys to("redirect", *redirect);
    e.redirect_to = to.need_text("to");
    e.redirect_status = to.status("status").value_or(307);
    to.done();
  }
  e.status = keys.status("status");
  e.headers = keys.map("headers");
  e.revalidate = keys.take("revalidate");
  e.expire = keys.take("expire");
  e.tags = keys.texts("tags");
  e.no_store = keys.flag("no_store");
  e.remove = keys.flag("remove");
  e.not_found = keys.flag("not_found");
  e.panic = keys.flag("panic");
  e.reads = parse_reads(keys);
  keys.done();
  if (e.panic && !e.error) keys.fail("panic stands beside an error");
  if (e.body && e.body_base64) keys.fail("either body or body_base64");
  return e;
}

// What one load returns.
struct LoadElement {
  std::optional<std::string> value, error;
};

inline LoadElement parse_load(const std::string& what, const json& item) {
  Keys keys("data." + what, item);
  LoadElement e{keys.text("value"), keys.text("error")};
  keys.done();
  if (e.value.has_value() == e.error.has_value()) keys.fail("either a value or an error");
  return e;
}

// One route, as in `routes` and `add_route`.
struct Route {
  std::string pattern;
  std::optional<json> revalidate, expire, timeout, max_concurrent, early_refresh;
  bool dynamic_params = true;
  std::vector<std::map<std::string, json>> static_params;
  std::vector<std::string> tags, query;
  std::map<std::string, std::string> vary;
};

inline Route parse_route(const json& item) {
  Keys keys("route", item);
  Route r;
  r.pattern = keys.need_text("pattern");
  r.revalidate = keys.take("revalidate");
  r.expire = keys.take("expire");
  r.timeout = keys.take("timeout");
  r.max_concurrent = keys.take("max_concurrent");
  r.early_refresh = keys.take("early_refresh");
  r.dynamic_params = keys.flag("dynamic_params", true);
  if (auto list = keys.take("static_params")) {
    if (!list->is_array()) keys.fail("static_params must be a list");
    for (const auto& params : *list) {
      if (!params.is_object()) keys.fail("static_params must be a list of objects");
      auto& names = r.static_params.emplace_back();
      for (const auto& [name, value] : params.items()) {
        if (!value.is_string()) Keys("static_params", params).need_texts(name);
        names[name] = value;
      }
    }
  }
  r.tags = keys.texts("tags");
  r.query = keys.texts("query");
  r.vary = keys.map("vary");
  keys.done();
  return r;
}

// A render's key: the path, and the variant as compact JSON if there is one.
inline std::string render_key(const isr_render* job) {
  const std::string path = text(isr_render_path(job));
  const std::size_t names = isr_render_variant_count(job);
  if (names == 0) return path;
  json variant = json::object();
  for (std::size_t i = 0; i < names; ++i) {
    const std::string name = text(isr_render_variant_name(job, i));
    std::size_t count = 0;
    const isr_str* values = isr_render_variant_values(job, name.c_str(), &count, nullptr);
    json list = json::array();
    for (std::size_t k = 0; k < count; ++k) list.push_back(text(values[k]));
    variant[name] = count == 1 ? list[0] : list;
  }
  return path + " " + dump(variant);
}

}  // namespace runner
