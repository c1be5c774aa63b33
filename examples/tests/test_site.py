"""Tests of the example site: python3 -m unittest discover -s examples/tests (after what `make demo` sets up)."""

import hashlib
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote

EXAMPLES = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(EXAMPLES))

from servers import COMMANDS, DATABASE, TEMPLATES, Home, Server  # noqa: E402

ODD_WORD = "odd'`=\"<b>&amp;"
ODD_TITLE = "odd 'q' \"q\" `q` = / <b>&amp;</b> {{title}} naïve 日本 🐶"
ODD_BODY = "two  spaces\nand a line\n\n\n\n  {{#x}}<script>alert('1')</script>{{/x}} \n\n&#39; \\ é 🐶"


class TemplateRules(unittest.TestCase):
    """What the three renderers agree on; examples/site/README.md says why."""

    def test_tags_stand_where_all_renderers_agree(self):
        for path in TEMPLATES.glob("*.mustache"):
            for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
                with self.subTest(template=path.name, line=number):
                    tags = re.findall(r"\{\{(.*?)\}\}", line)
                    for tag in tags:
                        self.assertRegex(tag, r"^([#/]|>)?[a-z_]+$")
                    if any(tag[0] in "#/" for tag in tags):
                        self.assertRegex(re.sub(r"\{\{.*?\}\}", "", line), r"\S", "a section tag needs text beside it")
                    if any(tag[0] == ">" for tag in tags):
                        self.assertRegex(line, r"^\{\{>[a-z]+\}\}\S", "a partial begins its line and text follows it")


class Import(unittest.TestCase):
    def test_same_input_same_database(self):
        with tempfile.TemporaryDirectory() as folder:
            again = Path(folder) / "site.sqlite"
            command = [sys.executable, EXAMPLES / "site" / "import_wordnet.py", "--out", again]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            self.assertIn("147,478 words, 207,235 senses", printed)
            self.assertIn("117,791 synsets", printed)
            self.assertEqual(*(hashlib.sha256(path.read_bytes()).digest() for path in (again, DATABASE)))
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            self.assertRegex(printed, "is current\n$")


class SameBytes(unittest.TestCase):
    """Every server gives the same pages."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        database = Path(cls.folder.name) / "odd.sqlite"
        database.write_bytes(DATABASE.read_bytes())
        with sqlite3.connect(database) as db:
            word = "INSERT INTO words VALUES (900001, ?, ?, '/word/' || ?)"
            db.execute(word, (ODD_WORD, ODD_TITLE, quote(ODD_WORD, safe="")))
            db.execute("INSERT INTO senses VALUES (900001, 1, 1, 102086723, 99, ?)", (ODD_TITLE,))
            db.execute("UPDATE posts SET title = ?, summary = '', body = ? WHERE id = 3", (ODD_TITLE, ODD_BODY))
            db.execute("UPDATE posts SET body = '' WHERE id = 4")
            choose = random.Random(31).sample
            lemmas = [lemma for (lemma,) in db.execute("SELECT lemma FROM words ORDER BY id")]
            keys = [key for (key,) in db.execute("SELECT key FROM synsets ORDER BY id")]
        odd = [lemma for lemma in lemmas if re.search(r"[/\"]|^'|'$|\.\.|^\d", lemma)]
        words = choose(odd, 60) + choose(lemmas, 120) + ["break", "entity", "o'clock", ODD_WORD, "café", "zzyzx"]
        cls.paths = ["/", "/blog", "/blog/latest", "/blog/x/y", "/about/site", "/about/wordnet", "/about/x", "/about"]
        cls.paths += ["/nothing"]
        cls.paths += [f"/blog/{number}" for number in [*range(1, 29), "01", "x"]]
        cls.paths += ["/word/" + quote(lemma, safe="") for lemma in words]
        cls.paths += [f"/synset/{key}" for key in [*choose(keys, 80), "02086723-n", "x"]]
        cls.paths += ["/admin/post/3", "/admin/synset/02086723-n", "/admin/post/99", "/admin/other/1", "/admin/post"]
        cls.paths += ["/word/%zz", "/word/%00", "/word//x", "/word/..", "/word/a?b=%zz", "/blog/1/", "/blog/1?x#y"]
        cls.paths += [
            "/search",
            "/search?q=+Hot+DOG+",
            "/search?q=24%2F7",
            "/search?q=o'clock(1)*!&q=2",
            "/search?q=caf%C3%A9",
        ]
        cls.servers = []
        home = Home(cls.folder.name, database)
        for name in COMMANDS:
            # Without a directory: each renders all pages itself.
            cls.servers.append(Server(name, home))
            cls.addClassCleanup(cls.servers[-1].stop)
        for server in cls.servers:
            server.wait_until_ready()

    def ask(self, method, path):
        """The answers of all servers, without what may differ."""
        answers = []
        for server in self.servers:
            with server.client() as client:
                answer = client.request(method, path)
            names = ("content-type", "content-length", "etag", "cache-control", "location", "x-isr-cache", "vary")
            answers.append((answer.status, {name: answer.headers.get(name) for name in names}, answer.body))
        return answers

    def test_pages(self):
        for path in self.paths:
            with self.subTest(path=path):
                first, *others = self.ask("GET", path)
                for server, other in zip(self.servers[1:], others, strict=True):
                    self.assertEqual(first, other, f"{self.servers[0].name} and {server.name}")

    def test_heads(self):
        for path in ["/", "/word/dog", "/blog/3", "/about/x", "/nothing", "/word/zzyzx", "/admin/post/3"]:
            with self.subTest(path=path):
                self.ask("GET", path)
                page, *_ = self.ask("GET", path)
                for head in self.ask("HEAD", path):
                    self.assertEqual((page[0], page[1], b""), head)

    def test_odd_texts_are_escaped(self):
        for server in self.servers:
            with self.subTest(server=server.name):
                title = "odd 'q' &quot;q&quot; `q` = / &lt;b&gt;&amp;amp;&lt;/b&gt; {{title}} naïve 日本 🐶"
                self.assertIn(f"<h1>{title}</h1>", server.get("/word/" + quote(ODD_WORD, safe="")).text)
                self.assertNotIn("<script", server.get("/blog/3").text)


if __name__ == "__main__":
    unittest.main()
