/// Renders and loads in progress, and how lambdas are called with them. Part of isr.hpp.
#ifndef ISR_JOBS_HPP
#define ISR_JOBS_HPP

#include "values.hpp"

#include <type_traits>

namespace isr {

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

}  // namespace isr

#endif  // ISR_JOBS_HPP
