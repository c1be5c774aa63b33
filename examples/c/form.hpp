// Forms and addresses: what a web framework would bring along.

#ifndef EXAMPLE_FORM_HPP
#define EXAMPLE_FORM_HPP

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

/// Undoes the encoding of a form's value.
inline std::string form_decode(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < text.size()) {
            char *end = nullptr;
            const char digits[] = {text[i + 1], text[i + 2], 0};
            long value = std::strtol(digits, &end, 16);
            if (end == digits + 2) {
                c = static_cast<char>(value);
                i += 2;
            }
        }
        decoded += c;
    }
    return decoded;
}

/// The first value of a name in `a=1&b=2`, decoded; empty where there is none.
inline std::string form_value(std::string_view form, std::string_view name) {
    while (!form.empty()) {
        std::string_view pair = form.substr(0, form.find('&'));
        form.remove_prefix(std::min(form.size(), pair.size() + 1));
        std::size_t equals = pair.find('=');
        if (form_decode(pair.substr(0, equals)) != name) continue;
        return equals == pair.npos ? "" : form_decode(pair.substr(equals + 1));
    }
    return "";
}

/// Encodes a text as one segment of a path.
inline std::string path_encode(std::string_view text) {
    constexpr char digits[] = "0123456789ABCDEF";
    std::string encoded;
    for (unsigned char c : text) {
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     std::string_view("-_.~!'()*").find(static_cast<char>(c)) != std::string_view::npos;
        if (plain) encoded += static_cast<char>(c);
        else encoded.append({'%', digits[c >> 4], digits[c & 15]});
    }
    return encoded;
}

/// What browsers send at the ends of lines, and blanks around the text, taken away.
inline std::string tidy(const std::string &text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
        plain += text[i];
    }
    constexpr const char *blanks = " \t\r\n";
    std::size_t from = plain.find_first_not_of(blanks);
    if (from == plain.npos) return "";
    return plain.substr(from, plain.find_last_not_of(blanks) - from + 1);
}

/// Compares two secrets in a time that does not tell where they differ.
inline bool same_secret(std::string_view a, std::string_view b) {
    unsigned char difference = a.size() != b.size();
    for (std::size_t i = 0; i < a.size() && !b.empty(); ++i) difference |= a[i] ^ b[i % b.size()];
    return difference == 0;
}

#endif
