/// Errors, pages, answers, and what a render gives. Part of isr.hpp.
#ifndef ISR_VALUES_HPP
#define ISR_VALUES_HPP

#include "../isr.h"

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace isr {

/// Seconds that never end: never, or no limit.
inline constexpr double never = std::numeric_limits<double>::infinity();

/// How an answer came about: `ISR_CACHE_WORD_HIT` and its siblings.
using cache_word = ::isr_cache_word;
/// The state of what is stored: `ISR_STATE_FRESH` and its siblings.
using state = ::isr_state;
/// Why a page is rendered: `ISR_REASON_MISS` and its siblings.
using reason = ::isr_reason;
/// What `revalidate_path` covers: `ISR_PATH_TYPE_PAGE` and its siblings.
using path_type = ::isr_path_type;

inline std::string_view name(cache_word word) { return isr_cache_word_name(word); }
inline std::string_view name(state s) { return isr_state_name(s); }
inline std::string_view name(reason r) { return isr_reason_name(r); }

/// A call that failed.
class error : public std::runtime_error {
public:
    error(isr_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
    /// The failure that this thread saw last.
    static error last() { return {isr_last_status(), isr_last_error()}; }
    isr_status status() const noexcept { return status_; }
    /// The stable name: `invalid_path`.
    std::string_view name() const noexcept { return isr_status_name(status_); }
    /// The HTTP status that fits an answer to a client.
    std::uint16_t http_status() const noexcept { return isr_status_http(status_); }

private:
    isr_status status_;
};

/// A value or an error, as completion callbacks get it.
template <class T>
class outcome {
public:
    outcome(T value) : value_(std::move(value)) {}
    outcome(isr::error failure) : failure_(std::move(failure)) {}
    explicit operator bool() const noexcept { return value_.has_value(); }
    /// The value; throws the error where there is none.
    const T& value() const& {
        if (!value_) throw *failure_;
        return *value_;
    }
    T& value() & {
        if (!value_) throw *failure_;
        return *value_;
    }
    T&& value() && { return std::move(value()); }
    /// The error; throws std::logic_error where there is a value.
    const isr::error& failure() const& {
        if (!failure_) throw std::logic_error("isr::outcome::failure of a success");
        return *failure_;
    }

private:
    std::optional<T> value_;
    std::optional<isr::error> failure_;
};

namespace detail {

inline isr_str str(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(isr_str text) { return {text.data, text.len}; }
inline std::string_view view(isr_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data), bytes.len}; }
inline std::pair<std::string_view, std::string_view> view(isr_field f) { return {view(f.name), view(f.value)}; }
template <class Texts>
std::vector<isr_str> strs(const Texts& texts) {
    std::vector<isr_str> views;
    for (const auto& text : texts) views.push_back(str(text));
    return views;
}
inline std::vector<std::string_view> views(const isr_str* texts, std::size_t count) {
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(view(texts[i]));
    return out;
}
inline void check(isr_status status) {
    if (status != ISR_STATUS_OK) throw error(status, isr_last_error());
}
/// The handle that a function gave, or the reason why it gave none.
template <class T>
T* made(T* handle) {
    if (!handle) throw error::last();
    return handle;
}

/// The handle of a builder; one that was moved from must not pass for the defaults.
template <class T>
T* held(T* handle, const char* what) {
    if (!handle) throw error(ISR_STATUS_INVALID_ARGUMENT, std::string(what) + " was moved from");
    return handle;
}

template <auto Free>
struct deleter {
    template <class T>
    void operator()(T* handle) const noexcept { Free(handle); }
};
template <class T, auto Free>
using unique = std::unique_ptr<T, deleter<Free>>;

/// A counted handle: a copy is another reference.
template <class T, auto Ref, auto Unref>
class shared {
public:
    explicit shared(T* owned) noexcept : handle_(owned) {}
    shared(const shared& other) : handle_(other.handle_ ? made(Ref(other.handle_)) : nullptr) {}
    shared(shared&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    shared& operator=(shared other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~shared() { Unref(handle_); }
    /// The handle for isr.h, still owned by this object.
    T* get() const noexcept { return handle_; }

private:
    T* handle_;
};

/// Frees a lambda that was handed over as `user_data`.
template <class F>
void release(void* user_data) { delete static_cast<F*>(user_data); }

/// Runs a callback from which nothing may escape.
template <class F>
void quietly(F&& f) noexcept {
    try {
        f();
    } catch (...) {
    }
}

/// The text of the exception that is being handled.
inline std::string what() {
    try {
        throw;
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "the callback threw something that is no std::exception";
    }
}

}  // namespace detail

/// A page: immutable, shared, readable from any thread.
class page : public detail::shared<isr_page, isr_page_ref, isr_page_unref> {
public:
    using shared::shared;
    std::string_view path() const { return detail::view(isr_page_path(get())); }
    std::uint16_t status() const { return isr_page_status(get()); }
    std::string_view body() const { return detail::view(isr_page_body(get())); }
    std::string_view etag() const { return detail::view(isr_page_etag(get())); }
    double revalidate() const { return isr_page_revalidate(get()); }
    double expire() const { return isr_page_expire(get()); }
    double generated() const { return isr_page_generated(get()); }
    /// The render's header of this lower-case name, empty where there is none.
    std::string_view header(const std::string& name) const { return detail::view(isr_page_header(get(), name.c_str())); }
    std::vector<std::pair<std::string_view, std::string_view>> headers() const {
        std::vector<std::pair<std::string_view, std::string_view>> out;
        for (std::size_t i = 0, n = isr_page_header_count(get()); i < n; ++i)
            out.push_back(detail::view(isr_page_header_at(get(), i)));
        return out;
    }
    std::vector<std::string_view> tags() const {
        std::vector<std::string_view> out;
        for (std::size_t i = 0, n = isr_page_tag_count(get()); i < n; ++i)
            out.push_back(detail::view(isr_page_tag_at(get(), i)));
        return out;
    }
};

/// The parts of a request that choose among 200, 304 and the encodings.
struct conditions {
    bool is_head = false;
    std::optional<std::string> if_none_match;
    std::optional<std::string> accept_encoding;
};

/// Status, headers and body to send.
class head {
public:
    explicit head(isr_head* owned) noexcept : handle_(owned) {}
    std::uint16_t status() const { return isr_head_status(handle_.get()); }
    std::string_view body() const { return detail::view(isr_head_body(handle_.get())); }
    std::size_t content_length() const { return isr_head_content_length(handle_.get()); }
    /// The header of this lower-case name, empty where there is none.
    std::string_view header(const std::string& name) const {
        return detail::view(isr_head_header(handle_.get(), name.c_str()));
    }
    std::vector<std::pair<std::string_view, std::string_view>> headers() const {
        std::vector<std::pair<std::string_view, std::string_view>> out;
        for (std::size_t i = 0, n = isr_head_header_count(handle_.get()); i < n; ++i)
            out.push_back(detail::view(isr_head_header_at(handle_.get(), i)));
        return out;
    }

private:
    detail::unique<isr_head, isr_head_free> handle_;
};

/// An answer to a request: a page and how it came about.
class answer : public detail::shared<isr_answer, isr_answer_ref, isr_answer_unref> {
public:
    using shared::shared;
    cache_word cache() const { return isr_answer_cache(get()); }
    std::uint64_t age() const { return isr_answer_age(get()); }
    isr::page page() const { return isr::page(detail::made(isr_page_ref(isr_answer_page(get())))); }
    /// The page's status and body, without a copy.
    std::uint16_t status() const { return isr_page_status(isr_answer_page(get())); }
    std::string_view body() const { return detail::view(isr_page_body(isr_answer_page(get()))); }
    isr::head head(const conditions& given = {}) const {
        isr_conditions c = ISR_CONDITIONS_INIT;
        c.is_head = given.is_head;
        if (given.if_none_match) c.if_none_match = present(*given.if_none_match);
        if (given.accept_encoding) c.accept_encoding = present(*given.accept_encoding);
        isr_head* out = nullptr;
        detail::check(isr_answer_head(get(), &c, &out));
        return isr::head(out);
    }

private:
    static isr_str present(const std::string& text) { return {text.c_str(), text.size()}; }
};

/// A data entry's value and how it came about.
class data : public detail::shared<isr_data, isr_data_ref, isr_data_unref> {
public:
    using shared::shared;
    std::string_view value() const { return detail::view(isr_data_value(get())); }
    cache_word cache() const { return isr_data_cache(get()); }
};

/// How a data entry is read.
struct data_options {
    std::vector<std::string> tags{};
    double revalidate = never;
};

/// What a render gives.
struct result {
    std::string body{};
    std::uint16_t status = 200;
    std::vector<std::pair<std::string, std::string>> headers{};
    std::vector<std::string> tags{};
    std::optional<double> revalidate{};
    std::optional<double> expire{};
    bool no_store = false;
    bool remove = false;

    result() = default;
    result(std::string text) : body(std::move(text)) {}
    result(std::string_view text) : body(text) {}
    result(const char* text) : body(text) {}
    /// This text or page with status 404, stored like any other.
    static result not_found(result page) {
        page.status = 404;
        return page;
    }
    /// A redirect with `location: to`.
    static result redirect(std::string_view to, std::uint16_t status = 307) {
        result r;
        r.status = status;
        r.with_header("location", to);
        return r;
    }
    result& with_header(std::string_view name, std::string_view value) & {
        headers.emplace_back(name, value);
        return *this;
    }
    result&& with_header(std::string_view name, std::string_view value) && { return std::move(with_header(name, value)); }
    result& with_tag(std::string_view tag) & {
        tags.emplace_back(tag);
        return *this;
    }
    result&& with_tag(std::string_view tag) && { return std::move(with_tag(tag)); }

    /// The same for isr.h; owned by the caller.
    detail::unique<isr_result, isr_result_free> handle() const {
        detail::unique<isr_result, isr_result_free> h(detail::made(isr_result_new(body.data(), body.size())));
        detail::check(isr_result_set_status(h.get(), status));
        for (const auto& [name, value] : headers)
            detail::check(isr_result_add_header(h.get(), detail::str(name), detail::str(value)));
        for (const auto& tag : tags) detail::check(isr_result_add_tag(h.get(), detail::str(tag)));
        if (revalidate) detail::check(isr_result_set_revalidate(h.get(), *revalidate));
        if (expire) detail::check(isr_result_set_expire(h.get(), *expire));
        detail::check(isr_result_set_no_store(h.get(), no_store));
        detail::check(isr_result_set_remove(h.get(), remove));
        return h;
    }
};

}  // namespace isr

#endif  // ISR_VALUES_HPP
