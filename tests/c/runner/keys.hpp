// Reads a JSON object key by key; one that is left over is an error.
#pragma once

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "text.hpp"

namespace runner {

class Keys {
 public:
  Keys(std::string what, const json& object) : what_(std::move(what)), rest_(object) {
    if (!rest_.is_object()) fail("must be an object; got " + dump(rest_));
  }

  bool has(const std::string& key) const { return rest_.contains(key); }

  std::optional<json> take(const std::string& key) {
    const auto found = rest_.find(key);
    if (found == rest_.end()) return std::nullopt;
    json value = *found;
    rest_.erase(found);
    return value;
  }

  json need(const std::string& key) {
    auto value = take(key);
    if (!value) fail(key + " is missing");
    return *value;
  }

  std::optional<std::string> text(const std::string& key) {
    auto value = take(key);
    if (!value) return std::nullopt;
    if (!value->is_string()) fail(key + " must be a text; got " + dump(*value));
    return value->get<std::string>();
  }

  std::string need_text(const std::string& key) {
    if (!has(key)) fail(key + " is missing");
    return *text(key);
  }

  bool flag(const std::string& key, bool otherwise = false) {
    auto value = take(key);
    if (!value) return otherwise;
    if (!value->is_boolean()) fail(key + " must be true or false; got " + dump(*value));
    return value->get<bool>();
  }

  std::vector<std::string> texts(const std::string& key) {
    auto value = take(key);
    return value ? texts_of(key, *value) : std::vector<std::string>{};
  }

  // A text stands for a list of one.
  std::vector<std::string> need_texts(const std::string& key) {
    const json value = need(key);
    if (value.is_string()) return {value.get<std::string>()};
    return texts_of(key, value);
  }

  std::map<std::string, std::string> map(const std::string& key) {
    std::map<std::string, std::string> out;
    auto value = take(key);
    if (!value) return out;
    if (!value->is_object()) fail(key + " must be an object; got " + dump(*value));
    for (const auto& [name, item] : value->items()) {
      if (!item.is_string()) fail(key + "." + name + " must be a text; got " + dump(item));
      out[name] = item.get<std::string>();
    }
    return out;
  }

  std::optional<std::uint16_t> status(const std::string& key) {
    auto value = take(key);
    if (!value) return std::nullopt;
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() > 65535)
      fail(key + " must be a status; got " + dump(*value));
    return value->get<std::uint16_t>();
  }

  void must_be_true(const std::string& key) {
    if (!flag(key)) fail(key + " must be true");
  }

  void done() const {
    if (!rest_.empty()) fail("unknown key \"" + rest_.begin().key() + "\"");
  }

  [[noreturn]] void fail(const std::string& why) const { throw Fault(what_.empty() ? why : what_ + ": " + why); }

 private:
  std::vector<std::string> texts_of(const std::string& key, const json& value) const {
    std::vector<std::string> out;
    if (!value.is_array()) fail(key + " must be a list of texts; got " + dump(value));
    for (const auto& item : value) {
      if (!item.is_string()) fail(key + " must be a list of texts; got " + dump(value));
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  std::string what_;
  json rest_;
};

// Seconds, or `false` for never. What is neither becomes NaN, which the library refuses where it is given.
inline double seconds(const json& value) {
  if (value.is_boolean() && !value.get<bool>()) return ISR_NEVER;
  return value.is_number() ? value.get<double>() : std::nan("");
}

}  // namespace runner
