"""The pages of the example site: rows from SQLite, put into a Mustache template. Knows nothing of caches or HTTP.

The queries, the templates and the names in them are shared with the other languages; see examples/site/README.md.
"""

import itertools
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

import chevron


class Page(NamedTuple):
    """A rendered page, and the tags of what it shows."""

    html: str
    tags: list[str]


def group(rows, key, name):
    """Neighbouring rows that agree in `key`, as one row with that key and the list `name`."""
    return [{key: value, name: list(rows)} for value, rows in itertools.groupby(rows, lambda row: row[key])]


def paragraphs(text):
    return [{"text": part} for part in text.split("\n\n")]


class Pages:
    """Renders pages; from any thread."""

    def __init__(self, db, templates):
        templates = Path(templates)
        self._db = db
        self._local = threading.local()
        self._templates = {path.stem: path.read_text("utf-8") for path in templates.glob("*.mustache")}
        if not self._templates:
            raise FileNotFoundError(f"{templates}: no templates here")
        self._queries = {path.stem: path.read_text("utf-8") for path in (templates.parent / "queries").glob("*.sql")}

    def home(self, counts):
        posts = self._all("posts", limit="5")
        context = {"title": "Words", "counts": counts, "featured": self._all("featured"), "posts": posts}
        return Page(self._render("home", context), ["posts"])

    def counts(self):
        return self._one("counts")["text"]

    def word(self, lemma):
        word = self._one("word", lemma=lemma)
        if word is None:
            return None
        senses = self._all("senses", word=word["word"])
        for sense in senses:
            place = {"synset": sense["synset"], "place": sense["place"]}
            relations = self._all("synonyms", **place) + self._all("word_relations", **place)
            sense["examples"] = self._all("examples", synset=sense["synset"])
            sense["relations"] = group(relations, "kind", "words")
        tags = [f"word:{lemma}"] + [f"synset:{sense['key']}" for sense in senses]
        return Page(self._render("word", word | {"groups": group(senses, "pos_name", "senses")}), tags)

    def synset(self, key):
        synset = self._one("synset", key=key)
        if synset is None:
            return None
        number = synset["synset"]
        synset["examples"] = self._all("examples", synset=number)
        synset["words"] = self._all("synset_words", synset=number)
        synset["relations"] = group(self._all("synset_relations", synset=number), "kind", "synsets")
        return Page(self._render("synset", synset), [f"synset:{key}"])

    def blog(self):
        return Page(self._render("blog", {"title": "Blog", "posts": self._all("posts", limit="-1")}), ["posts"])

    def latest(self):
        """Where the newest post is."""
        return self._one("posts", limit="1")["href"]

    def post(self, number):
        post = self._one("post", id=number)
        if post is None:
            return None
        post["paragraphs"] = paragraphs(post["body"])
        post["words"] = self._all("post_words", id=number)
        return Page(self._render("post", post), [f"post:{number}"])

    def about(self, name):
        about = self._one("about", page=name)
        if about is None:
            return None
        about["paragraphs"] = paragraphs(about["body"])
        return Page(self._render("about", about), [])

    def moment(self, now):
        """`now`: seconds since 1970."""
        return Page(self._render("moment", self._one("moment", now=str(int(now)))), [])

    def message(self, title, text):
        return self._render("message", {"title": title, "text": text})

    def edit_form(self, kind, ident):
        """The form that edits a post or a synset, or None."""
        if kind == "post":
            row = self._one("post", id=ident)
            return row and self._render("edit", {"title": row["title"], "text": row["body"]})
        row = self._one("synset", key=ident)
        return row and self._render("edit", {"title": row["title"], "text": row["definition"]})

    def save(self, kind, ident, text):
        """Writes a new text of a post or a synset. Whether there is one."""
        with sqlite3.connect(self._db) as db:
            return db.execute(self._queries[f"set_{kind}"], {"id": ident, "text": text}).rowcount == 1

    def post_ids(self):
        return [row["id"] for row in self._all("post_ids")]

    def about_pages(self):
        return [row["page"] for row in self._all("about_pages")]

    def _all(self, query, **values):
        """All rows of a query. Values are texts, in and out."""
        db = getattr(self._local, "db", None)
        if db is None:  # one connection for each thread
            db = self._local.db = sqlite3.connect(f"file:{self._db}?mode=ro", uri=True)
        cursor = db.execute(self._queries[query], values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, map(str, row), strict=True)) for row in cursor]

    def _one(self, query, **values):
        return next(iter(self._all(query, **values)), None)

    def _render(self, template, context):
        return chevron.render(self._templates[template], context, partials_path=None, partials_dict=self._templates)
