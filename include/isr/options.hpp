/// Options, routes, requests, and the manual clock. Part of isr.hpp.
#ifndef ISR_OPTIONS_HPP
#define ISR_OPTIONS_HPP

#include "jobs.hpp"

namespace isr {

namespace detail {

template <class F>
void on_trouble(void* user_data, isr_status status, isr_str message) noexcept {
    quietly([&] { (*static_cast<F*>(user_data))(error(status, std::string(view(message)))); });
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
    options& set(const std::string& name, double value) & {
        return done(isr_options_set_number(get(), name.c_str(), value));
    }
    options& set(const std::string& name, std::string_view value) & {
        return done(isr_options_set_text(get(), name.c_str(), detail::str(value)));
    }
    options& set(const std::string& name, const std::vector<std::string>& values) & {
        return set_list(name, detail::strs(values));
    }
    options& set(const std::string& name, std::initializer_list<std::string_view> values) & {
        return set_list(name, detail::strs(values));
    }
    options& clock(const isr::clock& clock) & {
        return done(isr_options_set_clock(get(), detail::held(clock.get(), "the isr::clock")));
    }
    /// `f(const isr::error&)` is told of trouble with the directory, on any thread; what it throws is dropped. The options and their
    /// caches share it.
    template <class F>
    options& on_trouble(F&& f) & {
        using kept = std::decay_t<F>;
        static_assert(std::is_invocable_v<kept&, const error&>, "it takes const isr::error&");
        return done(isr_options_set_on_trouble(get(), detail::on_trouble<kept>, new kept(std::forward<F>(f)),
                                               detail::release<kept>));
    }
    template <class F>
    options&& on_trouble(F&& f) && {
        return std::move(on_trouble(std::forward<F>(f)));
    }
    options&& set(const std::string& name, double value) && { return std::move(set(name, value)); }
    options&& set(const std::string& name, std::string_view value) && { return std::move(set(name, value)); }
    options&& set(const std::string& name, const std::vector<std::string>& values) && { return std::move(set(name, values)); }
    options&& set(const std::string& name, std::initializer_list<std::string_view> values) && {
        return std::move(set(name, values));
    }
    options&& clock(const isr::clock& clock) && { return std::move(this->clock(clock)); }
    isr_options* get() const noexcept { return handle_.get(); }

private:
    options& set_list(const std::string& name, const std::vector<isr_str>& views) {
        return done(isr_options_set_texts(get(), name.c_str(), views.data(), views.size()));
    }
    options& done(isr_status status) {
        detail::check(status);
        return *this;
    }
    detail::unique<isr_options, isr_options_free> handle_;
};

/// Parameters of one path to prerender.
class params {
public:
    params() : handle_(detail::made(isr_params_new())) {}
    params& set(const std::string& name, std::string_view value) & {
        detail::check(isr_params_set(get(), name.c_str(), detail::str(value)));
        return *this;
    }
    params& set(const std::string& name, const std::vector<std::string>& values) & {
        return set_list(name, detail::strs(values));
    }
    params& set(const std::string& name, std::initializer_list<std::string_view> values) & {
        return set_list(name, detail::strs(values));
    }
    params&& set(const std::string& name, std::string_view value) && { return std::move(set(name, value)); }
    params&& set(const std::string& name, const std::vector<std::string>& values) && { return std::move(set(name, values)); }
    params&& set(const std::string& name, std::initializer_list<std::string_view> values) && {
        return std::move(set(name, values));
    }
    isr_params* get() const noexcept { return handle_.get(); }

private:
    params& set_list(const std::string& name, const std::vector<isr_str>& views) {
        detail::check(isr_params_set_list(get(), name.c_str(), views.data(), views.size()));
        return *this;
    }
    detail::unique<isr_params, isr_params_free> handle_;
};

/// Options of a route.
class route {
public:
    route() : handle_(detail::made(isr_route_new())) {}
    route& revalidate(double seconds) & { return done(isr_route_set_revalidate(get(), seconds)); }
    route& expire(double seconds) & { return done(isr_route_set_expire(get(), seconds)); }
    route& timeout(double seconds) & { return done(isr_route_set_timeout(get(), seconds)); }
    /// A number by its name: `max_concurrent`, `early_refresh`, ...; see isr_route_set_number.
    route& set(const std::string& name, double value) & { return done(isr_route_set_number(get(), name.c_str(), value)); }
    route& dynamic_params(bool dynamic) & { return done(isr_route_set_dynamic_params(get(), dynamic)); }
    route& static_params(const params& p) & { return done(isr_route_add_static_params(get(), p.get())); }
    route& tag(std::string_view name) & { return done(isr_route_add_tag(get(), detail::str(name))); }
    route& query(const std::string& name) & { return done(isr_route_add_query(get(), name.c_str())); }
    route& vary(const std::string& name, const std::string& header) & {
        return done(isr_route_add_vary(get(), name.c_str(), header.c_str()));
    }
    route&& revalidate(double seconds) && { return std::move(revalidate(seconds)); }
    route&& expire(double seconds) && { return std::move(expire(seconds)); }
    route&& timeout(double seconds) && { return std::move(timeout(seconds)); }
    route&& set(const std::string& name, double value) && { return std::move(set(name, value)); }
    route&& dynamic_params(bool dynamic) && { return std::move(dynamic_params(dynamic)); }
    route&& static_params(const params& p) && { return std::move(static_params(p)); }
    route&& tag(std::string_view name) && { return std::move(tag(name)); }
    route&& query(const std::string& name) && { return std::move(query(name)); }
    route&& vary(const std::string& name, const std::string& header) && { return std::move(vary(name, header)); }
    isr_route* get() const noexcept { return handle_.get(); }

private:
    route& done(isr_status status) {
        detail::check(status);
        return *this;
    }
    detail::unique<isr_route, isr_route_free> handle_;
};

/// A request for a page; a plain path converts.
class request {
public:
    request(std::string path) : path_(std::move(path)) {}
    request(std::string_view path) : path_(path) {}
    request(const char* path) : path_(path) {}
    request& variant(std::string_view name, std::string_view value) & {
        variant_.emplace_back(name, value);
        return *this;
    }
    request& draft(bool draft = true) & {
        draft_ = draft;
        return *this;
    }
    request& prefetch(bool prefetch = true) & {
        prefetch_ = prefetch;
        return *this;
    }
    request&& variant(std::string_view name, std::string_view value) && { return std::move(variant(name, value)); }
    request&& draft(bool draft = true) && { return std::move(this->draft(draft)); }
    request&& prefetch(bool prefetch = true) && { return std::move(this->prefetch(prefetch)); }
    /// The render from which the request comes, where it is made on another thread.
    request& within(const render& job) & {
        within_ = isr_render_context(job.get());
        return *this;
    }
    request&& within(const render& job) && { return std::move(within(job)); }
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

}  // namespace isr

#endif  // ISR_OPTIONS_HPP
