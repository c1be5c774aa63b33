/// \file isr.hpp
///
/// libisr for C++17: handles that free themselves, lambdas, exceptions. Header-only over isr.h, whose docs say what the
/// words mean.
///
/// ```cpp
/// isr::cache cache;
/// cache.page("/blog/[id]", isr::route().revalidate(60), [](isr::render& r) {
///     return isr::result("<h1>Post " + std::string(r.param("id")) + "</h1>");
/// });
/// isr::answer answer = cache.get("/blog/1");
/// std::string_view body = answer.page().body();
/// ```
///
/// Errors are exceptions of type `isr::error`. An exception in a render or load callback is a failure of that render or load,
/// with its `what()` as the message; none crosses into the library. One that leaves a completion or progress callback is
/// dropped there: such a callback has nobody to tell.
/// All classes are handles: moving is free, copying a page, answer, data entry, render or load shares it. A moved-from handle
/// is empty: calls on it throw, or give an empty value. Views (`std::string_view`) are valid as long as the handle that gave them is held.
#ifndef ISR_HPP
#define ISR_HPP

#include "isr.h"

#include <cmath>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
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
    T& value() {
        if (!value_) throw *failure_;
        return *value_;
    }
    /// The error; only where there is no value.
    const isr::error& failure() const { return failure_.value(); }

private:
    std::optional<T> value_;
    std::optional<isr::error> failure_;
};

namespace detail {

inline isr_str str(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(isr_str text) { return {text.data, text.len}; }
inline std::string_view view(isr_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data), bytes.len}; }
inline std::pair<std::string_view, std::string_view> view(isr_field f) { return {view(f.name), view(f.value)}; }
inline std::vector<isr_str> strs(const std::vector<std::string>& texts) {
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
    result(const char* text) : body(text) {}
    /// A page with status 404, stored like any other.
    static result not_found(std::string text) {
        result r(std::move(text));
        r.status = 404;
        return r;
    }
    /// A redirect with `location: to`.
    static result redirect(std::string to, std::uint16_t status = 307) {
        result r;
        r.status = status;
        r.headers.emplace_back("location", std::move(to));
        return r;
    }
    result&& with_header(std::string name, std::string value) && {
        headers.emplace_back(std::move(name), std::move(value));
        return std::move(*this);
    }
    result&& with_tag(std::string tag) && {
        tags.push_back(std::move(tag));
        return std::move(*this);
    }

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

class load;

namespace detail {

/// One read of a data entry as isr.h wants it.
struct data_request {
    std::vector<isr_str> key, tags;
    isr_data_request raw = ISR_DATA_REQUEST_INIT;

    data_request(const std::vector<std::string>& k, const data_options& o) : key(strs(k)), tags(strs(o.tags)) {
        raw.key = key.data();
        raw.key_count = key.size();
        raw.tags = tags.data();
        raw.tag_count = tags.size();
        raw.revalidate = o.revalidate;
    }
};

template <class F>
void on_load(void* user_data, isr_load* job) noexcept;

template <class Asked, class Read, class F>
data read(Asked* asked, Read call, const std::vector<std::string>& key, const data_options& options, F&& f) {
    using kept = std::decay_t<F>;
    data_request request(key, options);
    isr_data* out = nullptr;
    check(call(asked, &request.raw, on_load<kept>, new kept(std::forward<F>(f)), release<kept>, &out));
    return data(out);
}

}  // namespace detail

/// One render in progress. Copies share it; the last one to go makes an unfinished render a failure.
class render : public detail::shared<isr_render, isr_render_ref, isr_render_unref> {
public:
    using shared::shared;
    std::string_view path() const { return detail::view(isr_render_path(get())); }
    std::string_view pattern() const { return detail::view(isr_render_pattern(get())); }
    /// The decoded value of `[name]`, empty where there is none.
    std::string_view param(const std::string& name) const { return detail::view(isr_render_param(get(), name.c_str())); }
    /// The decoded values of a catch-all.
    std::vector<std::string_view> params(const std::string& name) const {
        std::size_t count = 0;
        const isr_str* values = isr_render_param_values(get(), name.c_str(), &count, nullptr);
        return detail::views(values, count);
    }
    /// The value of this name in the variant, empty where there is none.
    std::string_view variant(const std::string& name) const {
        return detail::view(isr_render_variant(get(), name.c_str()));
    }
    isr::reason reason() const { return isr_render_reason(get()); }
    bool is_draft() const { return isr_render_is_draft(get()); }
    bool is_cancelled() const { return isr_render_is_cancelled(get()); }
    std::optional<page> previous() const {
        const isr_page* stored = isr_render_previous(get());
        if (!stored) return std::nullopt;
        return page(detail::made(isr_page_ref(stored)));
    }
    /// Reads a data entry; `f(isr::load&)` gives a text, or returns void and finishes the load later.
    template <class F>
    isr::data data(const std::vector<std::string>& key, const data_options& options, F&& f) const {
        return detail::read(get(), isr_render_data, key, options, std::forward<F>(f));
    }
    /// Finishes the render with a page.
    void complete(const result& page) const { detail::check(isr_render_complete(get(), page.handle().release())); }
    /// Finishes the render with a failure.
    void fail(std::string_view message) const { detail::check(isr_render_fail(get(), detail::str(message))); }
};

/// One load in progress. Copies share it; the last one to go makes an unfinished load a failure.
class load : public detail::shared<isr_load, isr_load_ref, isr_load_unref> {
public:
    using shared::shared;
    std::vector<std::string_view> key() const {
        std::vector<std::string_view> out;
        for (std::size_t i = 0, n = isr_load_key_count(get()); i < n; ++i)
            out.push_back(detail::view(isr_load_key_at(get(), i)));
        return out;
    }
    bool is_cancelled() const { return isr_load_is_cancelled(get()); }
    /// Reads another data entry, which counts for this one.
    template <class F>
    isr::data data(const std::vector<std::string>& key, const data_options& options, F&& f) const {
        return detail::read(get(), isr_load_data, key, options, std::forward<F>(f));
    }
    void complete(std::string_view value) const {
        detail::check(isr_load_complete(get(), value.data(), value.size()));
    }
    void fail(std::string_view message) const { detail::check(isr_load_fail(get(), detail::str(message))); }
};

namespace detail {

/// Finishes a job by what a callback returns, or by what it throws. One that was over already stays as it is.
template <class Job, class F>
void finish(const Job& job, F& f) noexcept {
    try {
        Job given(job);
        if constexpr (std::is_void_v<std::invoke_result_t<F&, Job&>>) {
            f(given);
        } else {
            auto value = f(given);
            try {
                job.complete(value);
            } catch (const error& e) {
                // Over, or failed by `complete` itself with this very error.
                if (e.status() != ISR_STATUS_FINISHED && e.status() != ISR_STATUS_RENDER) throw;
            }
        }
    } catch (...) {
        quietly([&] { job.fail(what()); });
    }
}

template <class F>
void on_render(void* user_data, isr_render* job) noexcept {
    quietly([&] { finish(render(made(isr_render_ref(job))), *static_cast<F*>(user_data)); });
}

template <class F>
void on_load(void* user_data, isr_load* job) noexcept {
    quietly([&] { finish(load(made(isr_load_ref(job))), *static_cast<F*>(user_data)); });
}

}  // namespace detail

/// A manual clock: time travel for tests.
class clock {
public:
    explicit clock(double seconds = 1'700'000'000) : handle_(detail::made(isr_clock_new(seconds))) {}
    void advance(double seconds) { detail::check(isr_clock_advance(handle_.get(), seconds)); }
    void set(double seconds) { detail::check(isr_clock_set(handle_.get(), seconds)); }
    double now() const {
        double out = 0;
        detail::check(isr_clock_now(handle_.get(), &out));
        return out;
    }
    isr_clock* get() const noexcept { return handle_.get(); }

private:
    detail::unique<isr_clock, isr_clock_free> handle_;
};

/// Options of a cache, by the names of isr.h.
class options {
public:
    options() : handle_(detail::made(isr_options_new())) {}
    options&& set(const std::string& name, double value) && {
        detail::check(isr_options_set_number(handle_.get(), name.c_str(), value));
        return std::move(*this);
    }
    options&& set(const std::string& name, std::string_view value) && {
        detail::check(isr_options_set_text(handle_.get(), name.c_str(), detail::str(value)));
        return std::move(*this);
    }
    options&& set(const std::string& name, const std::vector<std::string>& values) && {
        auto views = detail::strs(values);
        detail::check(isr_options_set_texts(handle_.get(), name.c_str(), views.data(), views.size()));
        return std::move(*this);
    }
    options&& clock(const isr::clock& clock) && {
        detail::check(isr_options_set_clock(handle_.get(), clock.get()));
        return std::move(*this);
    }
    isr_options* get() const noexcept { return handle_.get(); }

private:
    detail::unique<isr_options, isr_options_free> handle_;
};

/// Parameters of one path to prerender.
class params {
public:
    params() : handle_(detail::made(isr_params_new())) {}
    params&& set(const std::string& name, std::string_view value) && {
        detail::check(isr_params_set(handle_.get(), name.c_str(), detail::str(value)));
        return std::move(*this);
    }
    params&& set(const std::string& name, const std::vector<std::string>& values) && {
        auto views = detail::strs(values);
        detail::check(isr_params_set_list(handle_.get(), name.c_str(), views.data(), views.size()));
        return std::move(*this);
    }
    isr_params* get() const noexcept { return handle_.get(); }

private:
    detail::unique<isr_params, isr_params_free> handle_;
};

/// Options of a route.
class route {
public:
    route() : handle_(detail::made(isr_route_new())) {}
    route&& revalidate(double seconds) && { return done(isr_route_set_revalidate(handle_.get(), seconds)); }
    route&& expire(double seconds) && { return done(isr_route_set_expire(handle_.get(), seconds)); }
    route&& timeout(double seconds) && { return done(isr_route_set_timeout(handle_.get(), seconds)); }
    route&& dynamic_params(bool dynamic) && { return done(isr_route_set_dynamic_params(handle_.get(), dynamic)); }
    route&& static_params(const params& p) && { return done(isr_route_add_static_params(handle_.get(), p.get())); }
    route&& tag(std::string_view tag) && { return done(isr_route_add_tag(handle_.get(), detail::str(tag))); }
    route&& query(const std::string& name) && { return done(isr_route_add_query(handle_.get(), name.c_str())); }
    route&& vary(const std::string& name, const std::string& header) && {
        return done(isr_route_add_vary(handle_.get(), name.c_str(), header.c_str()));
    }
    isr_route* get() const noexcept { return handle_.get(); }

private:
    route&& done(isr_status status) {
        detail::check(status);
        return std::move(*this);
    }
    detail::unique<isr_route, isr_route_free> handle_;
};

/// A request for a page; a plain path converts.
class request {
public:
    request(std::string path) : path_(std::move(path)) {}
    request(std::string_view path) : path_(path) {}
    request(const char* path) : path_(path) {}
    request&& variant(std::string name, std::string value) && {
        variant_.emplace_back(std::move(name), std::move(value));
        return std::move(*this);
    }
    request&& draft(bool draft = true) && {
        draft_ = draft;
        return std::move(*this);
    }
    request&& prefetch(bool prefetch = true) && {
        prefetch_ = prefetch;
        return std::move(*this);
    }
    /// The render from which the request comes, where it is made on another thread.
    request&& within(const render& job) && {
        within_ = isr_render_context(job.get());
        return std::move(*this);
    }
    /// Hands the same to isr.h.
    template <class F>
    auto with(F&& f) const {
        std::vector<isr_field> fields;
        for (const auto& [name, value] : variant_) fields.push_back({detail::str(name), detail::str(value)});
        isr_request raw = ISR_REQUEST_INIT;
        raw.path = detail::str(path_);
        raw.variant = fields.data();
        raw.variant_count = fields.size();
        raw.draft = draft_;
        raw.prefetch = prefetch_;
        raw.within = within_;
        return f(&raw);
    }

private:
    std::string path_;
    std::vector<std::pair<std::string, std::string>> variant_;
    bool draft_ = false, prefetch_ = false;
    const isr_context* within_ = nullptr;
};

/// What is stored under a path.
struct peeked {
    isr::state state = ISR_STATE_MISSING;
    std::optional<isr::page> page{};
    std::uint64_t age = 0;
};

/// How far a prerender has come.
struct progress {
    std::size_t done, failed, skipped, total;
    std::string_view path;
};

/// What a prerender did.
struct report {
    struct failure {
        std::string path;
        isr::error error;
    };
    std::size_t rendered = 0, skipped = 0;
    std::vector<failure> failed{};
};

/// A cache of rendered pages. It closes when it is destroyed, which waits up to ten seconds for renders: not inside a callback.
class cache {
public:
    explicit cache(const options& given = options()) {
        isr_cache* out = nullptr;
        detail::check(isr_cache_open(ISR_ABI_VERSION, given.get(), &out));
        handle_.reset(out);
    }
    isr_cache* get() const noexcept { return handle_.get(); }

    /// Closes; running renders may finish within this many seconds. Whether all ended in time.
    bool close(double timeout = 10) {
        bool ended = false;
        detail::check(isr_cache_close(get(), timeout, &ended));
        return ended;
    }

    /// Adds a route. `f(isr::render&)` gives an `isr::result` (or a text), or returns void and finishes a copy of the render later, from
    /// any thread.
    template <class F>
    void page(std::string_view pattern, const route& route, F&& f) {
        using kept = std::decay_t<F>;
        static_assert(std::is_invocable_v<kept&, render&>, "a render callback takes isr::render&");
        auto* user_data = new kept(std::forward<F>(f));
        detail::check(isr_cache_add_route(get(), detail::str(pattern), route.get(), detail::on_render<kept>, user_data,
                                          detail::release<kept>));
    }
    template <class F>
    void page(std::string_view pattern, F&& f) {
        page(pattern, route(), std::forward<F>(f));
    }

    /// Answers a request; blocks where it must wait for a render.
    answer get(const request& request) const {
        isr_answer* out = nullptr;
        detail::check(request.with([&](const isr_request* r) { return isr_get(get(), r, &out); }));
        return answer(out);
    }
    /// Answers if that needs no waiting. Never blocks.
    std::optional<answer> try_get(const request& request) const {
        isr_answer* out = nullptr;
        detail::check(request.with([&](const isr_request* r) { return isr_try_get(get(), r, &out); }));
        return maybe(out);
    }
    /// Answers by a callback, `f(isr::outcome<isr::answer>)`: at once here, or later on a thread of the cache.
    template <class F>
    void get_async(const request& request, F&& f) const {
        using kept = std::decay_t<F>;
        auto* user_data = new kept(std::forward<F>(f));
        detail::check(request.with([&](const isr_request* r) {
            return isr_get_async(get(), r, on_answer<kept>, user_data, detail::release<kept>);
        }));
    }
    /// Renders now. Nothing where nothing is stored and `only_generated` is given.
    std::optional<answer> regenerate(const request& request, bool only_generated = false) const {
        isr_answer* out = nullptr;
        detail::check(
            request.with([&](const isr_request* r) { return isr_regenerate(get(), r, only_generated, &out); }));
        return maybe(out);
    }
    peeked peek(const request& request) const {
        peeked out;
        isr_page* stored = nullptr;
        detail::check(request.with(
            [&](const isr_request* r) { return isr_peek(get(), r, &out.state, &stored, &out.age); }));
        if (stored) out.page.emplace(stored);
        return out;
    }

    /// Takes the epoch before a page is rendered outside of the cache.
    std::uint64_t started() const { return isr_started(get()); }
    /// Stores a page that was rendered outside of the cache. Whether it is stored.
    bool put(const request& request, const result& page, std::uint64_t started) const {
        isr_put_outcome out = ISR_PUT_OUTCOME_NOT_STORED;
        auto handle = page.handle();
        detail::check(request.with(
            [&](const isr_request* r) { return isr_put(get(), r, handle.release(), started, &out); }));
        return out == ISR_PUT_OUTCOME_STORED;
    }

    /// Reads a data entry outside of a render; `f` as in `render::data`.
    template <class F>
    isr::data data(const std::vector<std::string>& key, const data_options& options, F&& f) const {
        return detail::read(get(), isr_cache_data, key, options, std::forward<F>(f));
    }

    /// Invalidates pages by paths or patterns. Whether any route could match.
    bool revalidate_path(const std::vector<std::string>& paths, path_type type = ISR_PATH_TYPE_DEFAULT) const {
        auto views = detail::strs(paths);
        bool matched = false;
        detail::check(isr_revalidate_path(get(), views.data(), views.size(), type, &matched));
        return matched;
    }
    bool revalidate_path(const std::string& path, path_type type = ISR_PATH_TYPE_DEFAULT) const {
        return revalidate_path(std::vector<std::string>{path}, type);
    }
    /// Invalidates by tags, hard.
    void revalidate_tag(const std::vector<std::string>& tags) const { revalidate(tags, false, never); }
    void revalidate_tag(const std::string& tag) const { revalidate({tag}, false, never); }
    /// Invalidates by tags, soft: served stale once more; hard after `expire` seconds.
    void revalidate_tag_soft(const std::vector<std::string>& tags, double expire = never) const {
        revalidate(tags, true, expire);
    }
    void remove(const std::vector<std::string>& paths) const {
        auto views = detail::strs(paths);
        detail::check(isr_remove(get(), views.data(), views.size()));
    }

    /// Renders every static path, and waits. `f(const isr::progress&)` may be left out.
    report prerender() const { return prerender_with(nullptr, nullptr, nullptr); }
    template <class F>
    report prerender(F&& f) const {
        using kept = std::decay_t<F>;
        auto* user_data = new kept(std::forward<F>(f));
        return prerender_with(on_progress<kept>, user_data, detail::release<kept>);
    }

    std::string draft_token(double valid_for) const {
        char* out = nullptr;
        detail::check(isr_draft_token(get(), valid_for, &out));
        detail::unique<char, isr_string_free> token(out);
        return token.get();
    }
    bool verify_draft(std::string_view token) const { return isr_draft_verify(get(), detail::str(token)); }

    /// A counter by its name: `hits`, `renders`, ...
    std::uint64_t stat(const std::string& name) const {
        isr_stats* out = nullptr;
        detail::check(isr_cache_stats(get(), &out));
        detail::unique<isr_stats, isr_stats_free> stats(out);
        std::uint64_t value = 0;
        detail::check(isr_stats_get(stats.get(), name.c_str(), &value));
        return value;
    }
    isr_activity activity() const {
        isr_activity out{};
        detail::check(isr_cache_activity(get(), &out));
        return out;
    }

private:
    static std::optional<answer> maybe(isr_answer* owned) {
        if (!owned) return std::nullopt;
        return answer(owned);
    }
    void revalidate(const std::vector<std::string>& tags, bool soft, double expire) const {
        auto views = detail::strs(tags);
        detail::check(isr_revalidate_tag(get(), views.data(), views.size(), soft, expire));
    }
    template <class F>
    static void on_answer(void* user_data, isr_status status, isr_answer* owned) noexcept {
        detail::quietly([&] {
            auto& f = *static_cast<F*>(user_data);
            if (status == ISR_STATUS_OK)
                f(outcome<answer>(answer(owned)));
            else
                f(outcome<answer>(error(status, isr_last_error())));
        });
    }
    template <class F>
    static void on_progress(void* user_data, const isr_progress* p) noexcept {
        detail::quietly([&] {
            (*static_cast<F*>(user_data))(progress{p->done, p->failed, p->skipped, p->total, detail::view(p->path)});
        });
    }
    report prerender_with(isr_progress_fn call, void* user_data, isr_free_fn free) const {
        isr_report* out = nullptr;
        detail::check(isr_prerender(get(), call, user_data, free, &out));
        detail::unique<isr_report, isr_report_free> owned(out);
        report made;
        made.rendered = isr_report_rendered(out);
        made.skipped = isr_report_skipped(out);
        for (std::size_t i = 0, n = isr_report_failed(out); i < n; ++i)
            made.failed.push_back({std::string(detail::view(isr_report_failed_path(out, i))),
                                   error(isr_report_failed_status(out, i),
                                         std::string(detail::view(isr_report_failed_message(out, i))))});
        return made;
    }

    detail::unique<isr_cache, isr_cache_free> handle_;
};

}  // namespace isr

#endif  // ISR_HPP
