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
/// std::string_view body = answer.body();
/// ```
///
/// Errors are exceptions of type `isr::error`. An exception in a render or load callback is a failure of that render or load,
/// with its `what()` as the message; none crosses into the library. One that leaves a completion or progress callback is
/// dropped there: such a callback has nobody to tell.
/// All classes are handles: moving is free, copying a page, answer, data entry, render or load shares it. A moved-from handle
/// is empty: calls on it throw, or give an empty value. Views (`std::string_view`) are valid as long as the handle that gave
/// them is held.
#ifndef ISR_HPP
#define ISR_HPP

#include "isr.h"
#include "isr/jobs.hpp"
#include "isr/options.hpp"
#include "isr/values.hpp"

namespace isr {

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
        detail::check(isr_cache_open(ISR_ABI_VERSION, detail::held(given.get(), "the isr::options"), &out));
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
    /// any thread. One object `f` serves all renders, on several threads at a time: what it changes needs a lock or an atomic.
    template <class F>
    void page(std::string_view pattern, const route& route, F&& f) {
        using kept = std::decay_t<F>;
        static_assert(std::is_invocable_v<kept&, render&>, "a render callback takes isr::render&");
        auto* options = detail::held(route.get(), "the isr::route");
        auto* user_data = new kept(std::forward<F>(f));
        detail::check(isr_cache_add_route(get(), detail::str(pattern), options, detail::on_render<kept>, user_data,
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
    bool revalidate_path(std::string_view path, path_type type = ISR_PATH_TYPE_DEFAULT) const {
        return revalidate_path({path}, type);
    }
    bool revalidate_path(std::initializer_list<std::string_view> paths, path_type type = ISR_PATH_TYPE_DEFAULT) const {
        return revalidate_paths(detail::strs(paths), type);
    }
    bool revalidate_path(const std::vector<std::string>& paths, path_type type = ISR_PATH_TYPE_DEFAULT) const {
        return revalidate_paths(detail::strs(paths), type);
    }
    /// Invalidates by tags, hard.
    void revalidate_tag(std::string_view tag) const { revalidate_tag({tag}); }
    void revalidate_tag(std::initializer_list<std::string_view> tags) const {
        revalidate_tags(detail::strs(tags), false, never);
    }
    void revalidate_tag(const std::vector<std::string>& tags) const { revalidate_tags(detail::strs(tags), false, never); }
    /// Invalidates by tags, soft: served stale once more; hard after `expire` seconds.
    void revalidate_tag_soft(std::string_view tag, double expire = never) const { revalidate_tag_soft({tag}, expire); }
    void revalidate_tag_soft(std::initializer_list<std::string_view> tags, double expire = never) const {
        revalidate_tags(detail::strs(tags), true, expire);
    }
    void revalidate_tag_soft(const std::vector<std::string>& tags, double expire = never) const {
        revalidate_tags(detail::strs(tags), true, expire);
    }
    /// Removes the stored pages of paths, also as last good pages.
    void remove(std::string_view path) const { remove({path}); }
    void remove(std::initializer_list<std::string_view> paths) const { remove_paths(detail::strs(paths)); }
    void remove(const std::vector<std::string>& paths) const { remove_paths(detail::strs(paths)); }

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
    bool revalidate_paths(const std::vector<isr_str>& paths, path_type type) const {
        bool matched = false;
        detail::check(isr_revalidate_path(get(), paths.data(), paths.size(), type, &matched));
        return matched;
    }
    void revalidate_tags(const std::vector<isr_str>& tags, bool soft, double expire) const {
        detail::check(isr_revalidate_tag(get(), tags.data(), tags.size(), soft, expire));
    }
    void remove_paths(const std::vector<isr_str>& paths) const {
        detail::check(isr_remove(get(), paths.data(), paths.size()));
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
