#include "pages.hpp"

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include <sqlite3.h>

namespace fs = std::filesystem;
namespace mustache = kainjow::mustache;

namespace {

using Row = mustache::object;
using Rows = std::vector<Row>;

struct CloseDb {
    void operator()(sqlite3 *db) const { sqlite3_close(db); }
};
struct CloseStatement {
    void operator()(sqlite3_stmt *statement) const { sqlite3_finalize(statement); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;
using Statement = std::unique_ptr<sqlite3_stmt, CloseStatement>;

Db open(const std::string &path, int flags) {
    sqlite3 *db = nullptr;
    int status = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
    Db owned(db);
    if (status != SQLITE_OK) throw std::runtime_error(path + ": " + sqlite3_errstr(status));
    sqlite3_busy_timeout(db, 5000);
    return owned;
}

Statement prepare(sqlite3 *db, const std::string &sql, const std::map<std::string, std::string> &values) {
    sqlite3_stmt *raw = nullptr;
    if (sqlite3_prepare_v2(db, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(db));
    Statement statement(raw);
    for (const auto &[name, value] : values) {
        int index = sqlite3_bind_parameter_index(raw, (":" + name).c_str());
        int size = static_cast<int>(value.size());
        if (sqlite3_bind_text(raw, index, value.data(), size, SQLITE_TRANSIENT) != SQLITE_OK) {
            throw std::runtime_error(sqlite3_errmsg(db));
        }
    }
    return statement;
}

/// The files of a folder with this extension, by their names without it.
std::map<std::string, std::string> texts(const fs::path &folder, const std::string &extension) {
    std::map<std::string, std::string> found;
    for (const auto &entry : fs::directory_iterator(folder)) {
        if (entry.path().extension() != extension) continue;
        std::ostringstream text;
        text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        found[entry.path().stem().string()] = text.str();
    }
    return found;
}

const std::string &text_of(const Row &row, const std::string &name) { return row.at(name).string_value(); }

mustache::data list_of(Rows rows) {
    mustache::list list;
    for (Row &row : rows) list.emplace_back(row);
    return list;
}

/// Neighbouring rows that agree in `key`, as one row with that key and the list `name`.
mustache::data group(const Rows &rows, const std::string &key, const std::string &name) {
    mustache::list groups;
    for (std::size_t i = 0; i < rows.size();) {
        const std::string &value = text_of(rows[i], key);
        mustache::list members;
        for (; i < rows.size() && text_of(rows[i], key) == value; ++i) members.emplace_back(rows[i]);
        Row one;
        one[key] = value;
        one[name] = members;
        groups.emplace_back(one);
    }
    return groups;
}

mustache::data paragraphs(const std::string &text) {
    mustache::list list;
    for (std::size_t from = 0; from <= text.size();) {
        std::size_t to = std::min(text.find("\n\n", from), text.size());
        list.emplace_back("text", text.substr(from, to - from));
        from = to + 2;
    }
    return list;
}

/// Escapes as the Mustache specification says, and not the apostrophe as well.
std::string escape(const std::string &text) {
    std::string escaped;
    escaped.reserve(text.size() + 16);
    for (char c : text) {
        switch (c) {
        case '&': escaped += "&amp;"; break;
        case '<': escaped += "&lt;"; break;
        case '>': escaped += "&gt;"; break;
        case '"': escaped += "&quot;"; break;
        default: escaped += c;
        }
    }
    return escaped;
}

} // namespace

Pages::Pages(std::string db, const std::string &templates)
    : db_(std::move(db)),
      templates_(texts(templates, ".mustache")),
      queries_(texts(fs::path(templates) / ".." / "queries", ".sql")) {}

Page Pages::home(const std::string &counts) const {
    Row context;
    context["title"] = "Words";
    context["counts"] = counts;
    context["featured"] = list_of(all("featured"));
    context["posts"] = list_of(all("posts", {{"limit", "5"}}));
    return {render("home", std::move(context)), {"posts"}};
}

std::string Pages::counts() const { return text_of(one("counts").value(), "text"); }

std::optional<Page> Pages::word(const std::string &lemma) const {
    auto word = one("word", {{"lemma", lemma}});
    if (!word) return std::nullopt;
    std::vector<std::string> tags{"word:" + lemma};
    Rows senses = all("senses", {{"word", text_of(*word, "word")}});
    for (Row &sense : senses) {
        Values place{{"synset", text_of(sense, "synset")}, {"place", text_of(sense, "place")}};
        Rows relations = all("synonyms", place);
        for (Row &relation : all("word_relations", place)) relations.push_back(std::move(relation));
        sense["examples"] = list_of(all("examples", {{"synset", text_of(sense, "synset")}}));
        sense["relations"] = group(relations, "kind", "words");
        tags.push_back("synset:" + text_of(sense, "key"));
    }
    (*word)["groups"] = group(senses, "pos_name", "senses");
    return Page{render("word", std::move(*word)), std::move(tags)};
}

std::optional<Page> Pages::synset(const std::string &key) const {
    auto synset = one("synset", {{"key", key}});
    if (!synset) return std::nullopt;
    Values number{{"synset", text_of(*synset, "synset")}};
    (*synset)["examples"] = list_of(all("examples", number));
    (*synset)["words"] = list_of(all("synset_words", number));
    (*synset)["relations"] = group(all("synset_relations", number), "kind", "synsets");
    return Page{render("synset", std::move(*synset)), {"synset:" + key}};
}

Page Pages::blog() const {
    Row context;
    context["title"] = "Blog";
    context["posts"] = list_of(all("posts", {{"limit", "-1"}}));
    return {render("blog", std::move(context)), {"posts"}};
}

std::string Pages::latest() const { return text_of(one("posts", {{"limit", "1"}}).value(), "href"); }

std::optional<Page> Pages::post(const std::string &id) const {
    auto post = one("post", {{"id", id}});
    if (!post) return std::nullopt;
    (*post)["paragraphs"] = paragraphs(text_of(*post, "body"));
    (*post)["words"] = list_of(all("post_words", {{"id", id}}));
    return Page{render("post", std::move(*post)), {"post:" + id}};
}

std::optional<Page> Pages::about(const std::string &page) const {
    auto about = one("about", {{"page", page}});
    if (!about) return std::nullopt;
    (*about)["paragraphs"] = paragraphs(text_of(*about, "body"));
    return Page{render("about", std::move(*about)), {}};
}

Page Pages::moment(std::int64_t now) const {
    return {render("moment", one("moment", {{"now", std::to_string(now)}}).value()), {}};
}

std::string Pages::message(const std::string &title, const std::string &text) const {
    Row context;
    context["title"] = title;
    context["text"] = text;
    return render("message", std::move(context));
}

std::optional<std::string> Pages::edit_form(const std::string &kind, const std::string &id) const {
    bool is_post = kind == "post";
    auto row = is_post ? one("post", {{"id", id}}) : one("synset", {{"key", id}});
    if (!row) return std::nullopt;
    Row context;
    context["title"] = text_of(*row, "title");
    context["text"] = text_of(*row, is_post ? "body" : "definition");
    return render("edit", std::move(context));
}

bool Pages::save(const std::string &kind, const std::string &id, const std::string &text) const {
    Db db = open(db_, SQLITE_OPEN_READWRITE);
    Statement statement = prepare(db.get(), queries_.at("set_" + kind), {{"id", id}, {"text", text}});
    if (sqlite3_step(statement.get()) != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(db.get()));
    return sqlite3_changes(db.get()) == 1;
}

std::vector<std::string> Pages::post_ids() const {
    std::vector<std::string> ids;
    for (const Row &row : all("post_ids")) ids.push_back(text_of(row, "id"));
    return ids;
}

std::vector<std::string> Pages::about_pages() const {
    std::vector<std::string> pages;
    for (const Row &row : all("about_pages")) pages.push_back(text_of(row, "page"));
    return pages;
}

/// All rows of a query. Values are texts, in and out.
Rows Pages::all(const std::string &query, const Values &values) const {
    // One connection for each thread and database.
    thread_local std::map<std::string, Db> connections;
    Db &db = connections[db_];
    if (!db) db = open(db_, SQLITE_OPEN_READONLY);
    Statement statement = prepare(db.get(), queries_.at(query), values);
    Rows rows;
    int status;
    while ((status = sqlite3_step(statement.get())) == SQLITE_ROW) {
        Row row;
        for (int i = 0; i < sqlite3_column_count(statement.get()); ++i) {
            auto text = reinterpret_cast<const char *>(sqlite3_column_text(statement.get(), i));
            auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement.get(), i));
            row[sqlite3_column_name(statement.get(), i)] = std::string(text ? text : "", size);
        }
        rows.push_back(std::move(row));
    }
    if (status != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(db.get()));
    return rows;
}

std::optional<Row> Pages::one(const std::string &query, const Values &values) const {
    Rows rows = all(query, values);
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
}

std::string Pages::render(const std::string &name, Row context) const {
    // kainjow finds a partial by its name in the context.
    for (const char *part : {"head", "top", "foot"}) {
        context[part] = mustache::partial([this, part] { return templates_.at(part); });
    }
    mustache::mustache tmpl(templates_.at(name));
    tmpl.set_custom_escape(escape);
    std::string html = tmpl.render(context);
    if (!tmpl.is_valid()) throw std::runtime_error(name + ".mustache: " + tmpl.error_message());
    return html;
}
