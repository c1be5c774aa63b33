// The example site, served by libmicrohttpd, its pages kept by libisr.
//
//     site-server --port 8000 --db build/site.sqlite --templates examples/site/templates --directory build/cache
//
// What the site shows is in pages.cpp; its routes are in site.hpp. Here is the way from a request to an answer: a stored page
// is sent at once and without a copy, and where a render must be waited for, the connection sleeps and no thread does.

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <random>

#include <arpa/inet.h>
#include <csignal>
#include <microhttpd.h>
#include <netinet/in.h>
#include <unistd.h>

#include "form.hpp"
#include "site.hpp"

namespace {

constexpr std::size_t MAX_FORM_BYTES = 64 * 1024;
constexpr const char *PRIVATE = "private, no-store";

/// One request on its way. `target` is as the client wrote it: libisr decodes it, once.
struct Exchange {
    std::string target;
    std::string body;
    bool begun = false;
    std::optional<isr::outcome<isr::answer>> outcome; // set once it is there
};

struct Server {
    Site &site;
    std::string token;
    std::atomic<int> exchanges{0}; // on their way at this moment
};

using Headers = std::vector<std::pair<std::string, std::string>>;

MHD_Result queue(MHD_Connection *connection, int status, MHD_Response *response) {
    MHD_Result queued = MHD_queue_response(connection, static_cast<unsigned>(status), response);
    MHD_destroy_response(response);
    return queued;
}

/// An answer of our own: a copied body, and headers.
MHD_Result reply(MHD_Connection *connection, int status, const std::string &body, const Headers &headers) {
    auto data = const_cast<char *>(body.data()); // copied, not written to
    MHD_Response *response = MHD_create_response_from_buffer(body.size(), data, MHD_RESPMEM_MUST_COPY);
    for (const auto &[name, value] : headers) MHD_add_response_header(response, name.c_str(), value.c_str());
    return queue(connection, status, response);
}

MHD_Result message(Server &server, MHD_Connection *connection, int status, const char *title, const char *text) {
    Headers headers{{"content-type", HTML}, {"cache-control", PRIVATE}};
    return reply(connection, status, server.site.pages.message(title, text), headers);
}

std::optional<std::string> request_header(MHD_Connection *connection, const char *name) {
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    return value ? std::optional<std::string>(value) : std::nullopt;
}

/// Sends what libisr says, from the cache's own memory.
MHD_Result send(Server &server, MHD_Connection *connection, const isr::answer &answer) {
    isr::conditions conditions;
    // libmicrohttpd leaves the body of a HEAD out by itself, and takes its content-length from it.
    conditions.if_none_match = request_header(connection, "if-none-match");
    conditions.accept_encoding = request_header(connection, "accept-encoding");
    auto head = std::make_unique<isr::head>(answer.head(conditions));

    Headers headers;
    for (const auto &[name, value] : head->headers()) headers.emplace_back(name, value);
    int status = head->status();
    if (status == 404 && answer.cache() == ISR_CACHE_WORD_BYPASS) { // a closed route has no body of its own
        headers.emplace_back("content-type", HTML);
        return reply(connection, status, server.site.not_found, headers);
    }
    std::string_view body = head->body();
    auto free = [](void *kept) { delete static_cast<isr::head *>(kept); };
    MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        body.size(), const_cast<char *>(body.data()), free, head.release()); // a head keeps its page alive
    for (const auto &[name, value] : headers) MHD_add_response_header(response, name.c_str(), value.c_str());
    return queue(connection, status, response);
}

MHD_Result refuse(Server &server, MHD_Connection *connection, const Exchange &exchange, const isr::error &error) {
    if (error.status() == ISR_STATUS_NO_ROUTE) {
        return message(server, connection, 404, "Not found", "There is no page at this address.");
    }
    if (error.status() == ISR_STATUS_RENDER) std::cerr << exchange.target << ": " << error.what() << std::endl;
    return message(server, connection, error.http_status(), "That did not work", "Please try again in a moment.");
}

/// Every page of the site.
MHD_Result cached(Server &server, MHD_Connection *connection, Exchange &exchange) {
    try {
        if (exchange.outcome) return send(server, connection, exchange.outcome->value());
        if (auto stored = server.site.cache.try_get(exchange.target)) return send(server, connection, *stored);
        // From here on the connection sleeps; a thread of the cache wakes it, and `handle` is called again.
        MHD_suspend_connection(connection);
        try {
            server.site.cache.get_async(exchange.target, [connection, &exchange](isr::outcome<isr::answer> outcome) {
                exchange.outcome.emplace(std::move(outcome));
                MHD_resume_connection(connection);
            });
        } catch (const isr::error &error) { // then the callback is not called
            exchange.outcome.emplace(error);
            MHD_resume_connection(connection);
        }
        return MHD_YES;
    } catch (const isr::error &error) {
        return refuse(server, connection, exchange, error);
    }
}

MHD_Result stats(Server &server, MHD_Connection *connection) {
    isr_stats *counters = nullptr; // all of them, by the C interface
    if (isr_cache_stats(server.site.cache.get(), &counters) != ISR_STATUS_OK) throw isr::error::last();
    isr_activity now = server.site.cache.activity();
    std::string json = "{\"origin_renders\": " + std::to_string(server.site.origin_renders) +
                       ", \"pending\": " + std::to_string(now.queued + now.running) + ", \"cache\": {";
    for (std::size_t i = 0; i < isr_stats_count(counters); ++i) {
        isr_str name = isr_stats_name(counters, i);
        json += (i ? ", \"" : "\"") + std::string(name.data, name.len) + "\": ";
        json += std::to_string(isr_stats_value(counters, i));
    }
    isr_stats_free(counters);
    return reply(connection, 200, json + "}}", {{"content-type", "application/json"}});
}

MHD_Result search(MHD_Connection *connection, const std::string &query) {
    std::string word = tidy(form_value(query, "q"));
    for (char &c : word) {
        if (c == ' ') c = '_';
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return reply(connection, 303, "", {{"location", word.empty() ? "/" : "/word/" + path_encode(word)}});
}

/// The token says who; a browser's Origin says that the form is ours and not another site's.
bool is_admin(Server &server, MHD_Connection *connection, const std::string &form) {
    auto origin = request_header(connection, "origin");
    bool ours = !origin || *origin == "http://" + request_header(connection, "host").value_or("");
    return ours && same_secret(form_value(form, "token"), server.token);
}

/// Edits, and the switches of the demo. Never cached.
MHD_Result admin(Server &server, MHD_Connection *connection, const std::string &method, const std::string &path,
                 const std::string &query, const Exchange &exchange) {
    static const std::map<std::string, std::string> editable{{"post", "/blog/"}, {"synset", "/synset/"}};
    constexpr std::size_t prefix = sizeof "/admin/" - 1;
    std::size_t slash = std::min(path.find('/', prefix), path.size());
    std::string kind = path.substr(prefix, slash - prefix);
    std::string id = path.substr(std::min(slash + 1, path.size()));
    auto page = editable.find(kind);

    if (method == "GET" || method == "HEAD") {
        auto form = page == editable.end() ? std::nullopt : server.site.pages.edit_form(kind, id);
        if (!form) return message(server, connection, 404, "Not found", "There is nothing to edit here.");
        return reply(connection, 200, *form, {{"content-type", HTML}, {"cache-control", PRIVATE}});
    }
    if (method != "POST") return message(server, connection, 405, "Not allowed", "Send a form.");
    if (exchange.body.size() > MAX_FORM_BYTES) {
        return message(server, connection, 413, "Too large", "A form may have 65536 bytes.");
    }
    if (!is_admin(server, connection, exchange.body)) {
        return message(server, connection, 403, "Refused", "This needs the admin token, sent from this site.");
    }
    if (path == "/admin/fail") {
        server.site.failing = query == "on=1";
        return reply(connection, 204, "", {});
    }
    if (path == "/admin/slow") {
        server.site.slow_ms = std::atoi(form_value(query, "ms").c_str());
        return reply(connection, 204, "", {});
    }
    std::string text = tidy(form_value(exchange.body, "text"));
    if (page == editable.end() || !server.site.pages.save(kind, id, text)) {
        return message(server, connection, 404, "Not found", "There is nothing to edit here.");
    }
    // Whatever shows this post or synset is rendered anew for the next who asks.
    server.site.cache.revalidate_tag(kind + ":" + id);
    return reply(connection, 303, "", {{"location", page->second + id}, {"cache-control", PRIVATE}});
}

MHD_Result respond(Server &server, MHD_Connection *connection, const std::string &method, Exchange &exchange) {
    std::size_t mark = std::min(exchange.target.find('?'), exchange.target.size());
    std::string path = exchange.target.substr(0, mark);
    std::string query = exchange.target.substr(std::min(mark + 1, exchange.target.size()));
    if (path.rfind("/admin/", 0) == 0) return admin(server, connection, method, path, query, exchange);
    if (method != "GET" && method != "HEAD") {
        return message(server, connection, 405, "Not allowed", "Pages can be read only.");
    }
    if (path == "/stats") return stats(server, connection);
    if (path == "/search") return search(connection, query);
    return cached(server, connection, exchange);
}

/// The first call for a request: keeps its target before libmicrohttpd decodes it.
void *on_target(void *server, const char *target, MHD_Connection *) {
    ++static_cast<Server *>(server)->exchanges;
    return new Exchange{target, {}, false, {}};
}

void on_completed(void *server, MHD_Connection *, void **exchange, MHD_RequestTerminationCode) {
    delete static_cast<Exchange *>(*exchange);
    --static_cast<Server *>(server)->exchanges;
}

/// Called when the headers are there, for each part of the body, at its end, and after each sleep.
MHD_Result handle(void *context, MHD_Connection *connection, const char *, const char *method, const char *,
                  const char *upload, std::size_t *upload_size, void **state) {
    auto &server = *static_cast<Server *>(context);
    auto &exchange = *static_cast<Exchange *>(*state);
    if (!std::exchange(exchange.begun, true)) return MHD_YES;
    if (*upload_size > 0) {
        if (exchange.body.size() <= MAX_FORM_BYTES) exchange.body.append(upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    try {
        return respond(server, connection, method, exchange);
    } catch (const std::exception &error) {
        std::cerr << method << " " << exchange.target << ": " << error.what() << std::endl;
        return message(server, connection, 500, "That did not work", "Please try again in a moment.");
    }
}

std::string new_token() {
    constexpr char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::random_device random;
    std::string token;
    for (int i = 0; i < 25; ++i) token += letters[random() % 36];
    return token;
}

[[noreturn]] void usage() {
    std::cerr << "usage: site-server --db PATH --templates DIR [--port N] [--directory DIR] [--deployment NAME] [--render-log FILE]"
              << std::endl;
    std::exit(2);
}

int run(int argc, char **argv) {
    std::map<std::string, std::string> args{{"--port", "0"},       {"--db", ""},         {"--templates", ""},
                                            {"--directory", ""},   {"--deployment", ""}, {"--render-log", ""}};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !args.count(argv[i])) usage();
        args[argv[i]] = argv[i + 1];
    }
    bool is_port = args["--port"].find_first_not_of("0123456789") == std::string::npos && args["--port"].size() <= 5;
    if (args["--db"].empty() || args["--templates"].empty() || !is_port) usage();

    // Only the main thread takes signals: all others inherit this.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    const char *given = std::getenv("SITE_ADMIN_TOKEN");
    Site site(args["--db"], args["--templates"], {args["--directory"], args["--deployment"], args["--render-log"]});
    Server server{site, given && *given ? given : new_token(), {}};

    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(args["--port"].c_str())));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, handle, &server,
        MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_URI_LOG_CALLBACK, on_target, &server, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, &server, MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_CONNECTION_LIMIT, 1024u, MHD_OPTION_END);
    if (!daemon) {
        std::cerr << "port " << args["--port"] << " of 127.0.0.1 cannot be listened on" << std::endl;
        return 1;
    }
    std::cout << "listening on http://127.0.0.1:" << MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port << "\n"
              << "admin token: " << server.token << std::endl;

    std::thread prerender([&site] {
        try {
            isr::report report = site.cache.prerender();
            for (const auto &failure : report.failed) std::cerr << failure.path << ": " << failure.error.what() << "\n";
            std::cout << "prerendered " << report.rendered << " pages" << std::endl;
        } catch (const isr::error &error) { // closed meanwhile
            std::cerr << "prerender: " << error.what() << std::endl;
        }
    });

    int signal = 0;
    sigwait(&signals, &signal);
    MHD_socket listener = MHD_quiesce_daemon(daemon); // no new connections
    bool ended = site.cache.close(5);                 // wakes all who wait
    prerender.join();
    // What has an answer now may still be sent, for a second at most.
    for (int i = 0; i < 100 && server.exchanges > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    MHD_stop_daemon(daemon);
    if (listener != MHD_INVALID_SOCKET) close(listener);
    // A render that did not end in time still uses the site, which must not be taken from under it.
    if (!ended) std::_Exit(0);
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception &error) {
        std::cerr << "site-server: " << error.what() << std::endl;
        return 1;
    }
}
