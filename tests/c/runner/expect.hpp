// What a step must show, and what it showed.
#pragma once

#include <algorithm>
#include <set>

#include "keys.hpp"

namespace runner {

// The values of `$NAME`.
using Captures = std::map<std::string, std::string>;
// What a step showed, under the names that `expect` has.
using Seen = json;

inline bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

inline std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return s;
}

// A request header with its `$NAME`s replaced.
inline std::string replace_captures(const std::string& value, const Captures& captures) {
  std::string out;
  for (std::size_t i = 0; i < value.size();) {
    if (value[i] != '$') {
      out += value[i++];
      continue;
    }
    std::size_t end = ++i;
    while (end < value.size() && is_name(value[end])) ++end;
    const auto found = captures.find(value.substr(i, end - i));
    if (found == captures.end()) throw Fault("nothing is stored as $" + value.substr(i, end - i));
    out += found->second;
    i = end;
  }
  return out;
}

class Expect {
 public:
  Expect() = default;
  Expect(const json& given, const std::set<std::string>& may) : given_(given) {
    if (!given_.is_object()) throw Fault("expect must be an object");
    for (const auto& [key, value] : given_.items()) {
      if (!may.count(key)) throw Fault("expect: unknown key \"" + key + "\"");
      if (!type_fits(key, value)) throw Fault("expect: " + key + " has a value of a wrong type: " + dump(value));
    }
  }

  // The differences; none where all is as it should be.
  std::vector<std::string> compare(const Seen& seen, Captures& captures) const {
    std::vector<std::string> out;
    if (seen.contains("error") && !given_.contains("error"))
      out.push_back("error that was not expected: " + dump(seen["error"]) + ", " + dump(seen.value("message", json())));
    for (const auto& [key, expected] : given_.items()) {
      const json got = seen.contains(key) ? seen[key] : json();
      if (key == "headers") {
        for (const auto& [name, value] : expected.items()) compare_header(lower(name), value, got, captures, out);
      } else if (!fits(key, expected, got)) {
        out.push_back(key + ": expected " + dump(expected) + ", got " + dump(got));
      }
    }
    return out;
  }

 private:
  static bool type_fits(const std::string& key, const json& value) {
    const auto all = [&](auto&& test) { return std::all_of(value.begin(), value.end(), test); };
    if (key == "status" || key == "age" || key == "skipped" || key == "failed") return value.is_number_unsigned();
    if (key == "rendered") return value.is_number_unsigned() || value.is_boolean();
    if (key == "matched" || key == "stored") return value.is_boolean();
    if (key == "revalidate" || key == "expire") return value.is_number() || value == json(false);
    if (key == "tags" || key == "failed_paths")
      return value.is_array() && all([](const json& v) { return v.is_string(); });
    if (key == "headers") return value.is_object() && all([](const json& v) { return v.is_string() || v.is_null(); });
    return value.is_string();
  }

  static bool fits(const std::string& key, const json& expected, const json& got) {
    if (key == "message")
      return got.is_string() && got.get<std::string>().find(expected.get<std::string>()) != std::string::npos;
    if (key == "tags" || key == "failed_paths") return sorted(expected) == sorted(got);
    return expected == got;
  }

  static json sorted(json list) {
    if (list.is_array()) std::sort(list.begin(), list.end());
    return list;
  }

  static std::set<std::string> names(const std::string& list) {
    std::set<std::string> out;
    std::string name;
    for (char c : list + ",") {
      if (c != ',') {
        if (c != ' ' && c != '\t') name += c;
      } else {
        out.insert(lower(name));
        name.clear();
      }
    }
    return out;
  }

  static void compare_header(const std::string& name, const json& expected, const json& headers, Captures& captures,
                             std::vector<std::string>& out) {
    const bool present = headers.is_object() && headers.contains(name);
    const std::string got = present ? headers[name].get<std::string>() : "";
    const auto differ = [&](const std::string& wanted) {
      out.push_back("header " + name + ": expected " + wanted + ", got " + (present ? dump(got) : "null"));
    };
    if (expected.is_null()) {
      if (present) differ("it to be absent");
      return;
    }
    std::string wanted = expected.get<std::string>();
    if (wanted.size() > 1 && wanted[0] == '$' && std::all_of(wanted.begin() + 1, wanted.end(), is_name)) {
      const std::string capture = wanted.substr(1);
      if (!captures.count(capture)) {
        if (!present) return differ("any value");
        captures[capture] = got;
        return;
      }
      wanted = captures[capture];
    }
    if (!present || !(name == "vary" ? names(got) == names(wanted) : got == wanted)) differ(dump(wanted));
  }

  json given_ = json::object();
};

// The failure of a call on this thread.
inline Seen of_error(isr_status status) { return {{"error", isr_status_name(status)}, {"message", isr_last_error()}}; }

inline Seen of_answer(const isr_answer* answer, const isr_conditions* conditions) {
  isr_head* head = nullptr;
  if (const isr_status status = isr_answer_head(answer, conditions, &head)) return of_error(status);
  json headers = json::object();
  for (std::size_t i = 0, n = isr_head_header_count(head); i < n; ++i) {
    const isr_field field = isr_head_header_at(head, i);
    const std::string name = lower(text(field.name));
    headers[name] =
        headers.contains(name) ? headers[name].get<std::string>() + ", " + text(field.value) : text(field.value);
  }
  const std::string body = text(isr_head_body(head));
  Seen seen = {{"cache", isr_cache_word_name(isr_answer_cache(answer))},
               {"status", isr_head_status(head)},
               {"body", body},
               {"body_base64", to_base64(body)},
               {"headers", headers}};
  isr_head_free(head);
  return seen;
}

inline Seen of_data(const isr_data* data) {
  return {{"value", text(isr_data_value(data))}, {"cache", isr_cache_word_name(isr_data_cache(data))}};
}

inline json of_seconds(double seconds) { return std::isinf(seconds) ? json(false) : json(seconds); }

inline Seen of_peek(isr_state state, const isr_page* page, std::uint64_t age) {
  Seen seen = {{"state", isr_state_name(state)}};
  if (!page) return seen;
  json tags = json::array();
  for (std::size_t i = 0, n = isr_page_tag_count(page); i < n; ++i) tags.push_back(text(isr_page_tag_at(page, i)));
  seen.update({{"tags", tags},
               {"revalidate", of_seconds(isr_page_revalidate(page))},
               {"expire", of_seconds(isr_page_expire(page))},
               {"body", text(isr_page_body(page))},
               {"status", isr_page_status(page)},
               {"age", age}});
  return seen;
}

inline Seen of_report(const isr_report* report) {
  json failed = json::array();
  for (std::size_t i = 0, n = isr_report_failed(report); i < n; ++i)
    failed.push_back(text(isr_report_failed_path(report, i)));
  return {{"rendered", isr_report_rendered(report)},
          {"skipped", isr_report_skipped(report)},
          {"failed", isr_report_failed(report)},
          {"failed_paths", failed}};
}

}  // namespace runner
