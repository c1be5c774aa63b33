// Small conversions: views, base64, JSON texts.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "isr.h"

namespace runner {

using json = nlohmann::json;

// What is wrong with a scenario or a step, line by line.
struct Fault {
  std::vector<std::string> lines;
  explicit Fault(std::string line) : lines{std::move(line)} {}
  explicit Fault(std::vector<std::string> all) : lines(std::move(all)) {}
};

inline isr_str str(const std::string& text) { return {text.c_str(), text.size()}; }
inline std::string text(isr_str view) { return view.data ? std::string(view.data, view.len) : std::string(); }
inline std::string text(isr_bytes view) {
  return view.data ? std::string(reinterpret_cast<const char*>(view.data), view.len) : std::string();
}

inline std::vector<isr_str> strs(const std::vector<std::string>& texts) {
  std::vector<isr_str> views;
  for (const auto& t : texts) views.push_back(str(t));
  return views;
}

// Compact, with sorted keys; bytes that are no UTF-8 are replaced, as this is for people.
inline std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

inline const char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline std::string to_base64(const std::string& bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 3; ++k) word = word << 8 | (k < n ? static_cast<std::uint8_t>(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? kBase64[word >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

inline std::string from_base64(const std::string& encoded) {
  std::string out;
  std::uint32_t word = 0;
  int bits = 0;
  std::size_t end = encoded.size();
  while (end > 0 && encoded[end - 1] == '=') --end;
  for (std::size_t i = 0; i < end; ++i) {
    const std::size_t digit = std::string(kBase64).find(encoded[i]);
    if (digit == std::string::npos) throw std::runtime_error("body_base64: \"" + encoded + "\" is not base64");
    word = word << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(word >> bits & 255);
    }
  }
  return out;
}

inline bool starts_with(const std::string& all, std::size_t at, const std::string& part) {
  return all.compare(at, part.size(), part) == 0;
}

}  // namespace runner
