"""One cache for all processes of a machine (semantics, section 11): pages, data, invalidations."""

import unittest

from machine import until, PATIENCE, Machine


class Pages(Machine):
    """What one process stored, the others serve."""

    def test_a_page_rendered_in_one_is_a_hit_in_the_other(self):
        a, b = self.several(2)
        first = a.get("/p/1")
        self.assert_answer(first, "miss", "/p/1 #1")
        second = b.get("/p/1")
        self.assert_answer(second, "hit", "/p/1 #1")
        self.assertEqual(first["etag"], second["etag"])
        self.assertEqual(self.origin.renders("/p/1"), 1)

    def test_all_of_a_page_is_shared(self):
        a, b = self.several(2)
        self.origin.pages["/p/404"] = {"status": 404, "body": "nothing here", "tags": ["t"]}
        self.origin.pages["/p/moved"] = {"status": 308, "body": "", "headers": {"location": "/p/2"}}
        self.origin.pages["/p/large"] = {"body": "large", "fill": 5_000_000, "headers": {"x-a": "1"}}
        self.origin.pages["/p/empty"] = {"body": ""}
        for path in ("/p/404", "/p/moved", "/p/large", "/p/empty"):
            with self.subTest(path):
                rendered, served = a.get(path), b.get(path)
                self.assert_answer(rendered, "miss", status=rendered["status"])
                self.assertEqual(served.pop("cache"), "hit")
                rendered.pop("cache")
                self.assertEqual(rendered, served)

    def test_variants_and_listed_query_values(self):
        a, b = self.several(2)
        self.origin.hold("/q/1")
        for variant, query in (({}, ""), ({"lang": "de"}, ""), ({}, "?page=2"), ({"lang": "de"}, "?page=2")):
            asked = a.begin_get("/q/1" + query, variant=variant)
            self.origin.take("/q/1").finish(body=f"{variant} {query}")
            asked.result(PATIENCE)
        for variant, query in (({}, ""), ({"lang": "de"}, ""), ({}, "?page=2"), ({"lang": "de"}, "?page=2")):
            self.assert_answer(b.get("/q/1" + query, variant=variant), "hit", f"{variant} {query}")
        a.call("remove", paths=["/q/1"])
        for variant in ({}, {"lang": "de"}):
            self.assertEqual(b.call("peek", path="/q/1", variant=variant)["state"], "missing")

    def test_peek_and_try_get_see_what_another_stored(self):
        a, b = self.several(2)
        self.assertEqual(b.call("peek", path="/p/1")["state"], "missing")
        a.get("/p/1")
        self.assertEqual(b.call("peek", path="/p/1"), {"state": "fresh", "body": "/p/1 #1", "age": 0})
        self.assert_answer(b.call("try_get", path="/p/1"), "hit", "/p/1 #1")

    def test_put_is_seen_by_all_and_an_older_one_is_refused(self):
        a, b = self.several(2)
        old = a.call("started")
        self.assertEqual(b.call("put", path="/p/1", body="new"), "stored")
        self.assertEqual(a.call("put", path="/p/1", body="old", started=old), "not_stored")
        for worker in (a, b):
            self.assert_answer(worker.get("/p/1"), "hit", "new")

    def test_a_put_that_began_before_a_remove_elsewhere_is_refused(self):
        a, b = self.several(2)
        old = a.call("started")
        b.call("remove", paths=["/p/1"])
        self.assertEqual(a.call("put", path="/p/1", body="old", started=old), "not_stored")
        self.assert_answer(b.get("/p/1"), "miss")

    def test_a_newer_page_replaces_the_copy_in_memory_of_another(self):
        a, b = self.several(2)
        a.get("/p/1")
        for n in range(2, 50):
            self.assert_answer(a.get("/p/1"), "hit", f"/p/1 #{n - 1}")
            self.assert_answer(b.call("regenerate", path="/p/1"), "revalidated", f"/p/1 #{n}")
            self.assert_answer(a.get("/p/1"), "hit", f"/p/1 #{n}")
        b.call("put", path="/p/1", body="put")
        self.assert_answer(a.get("/p/1"), "hit", "put")

    def test_regenerate_only_generated_sees_what_another_stored(self):
        a, b = self.several(2)
        self.assertIsNone(b.call("regenerate", path="/p/1", only_generated=True))
        a.get("/p/1")
        again = b.call("regenerate", path="/p/1", only_generated=True)
        self.assert_answer(again, "revalidated", "/p/1 #2")

    def test_a_hit_that_is_in_memory_reads_no_file(self):
        a, b = self.several(2)
        a.get("/p/1")
        b.get("/p/1")
        reads = b.stat("disk_reads")
        self.assertEqual(reads, 1)
        for _ in range(10):
            self.assert_answer(b.get("/p/1"), "hit")
        self.assertEqual(b.stat("disk_reads"), reads)

    def test_data_is_shared_with_its_tags(self):
        a, b = self.several(2)
        self.assertEqual(a.data("k", "1", tags=["t"])["cache"], "miss")
        self.assertEqual(b.data("k", "1", tags=["t"]), {"cache": "hit", "value": "k/1 #1"})
        a.call("revalidate_tag", tags=["t"])
        self.assertEqual(b.data("k", "1", tags=["t"]), {"cache": "revalidated", "value": "k/1 #2"})
        self.assertEqual(a.data("k", "1", tags=["t"]), {"cache": "hit", "value": "k/1 #2"})

    def test_two_caches_of_one_process_share_as_two_processes_do(self):
        (a,) = self.several(1)
        self.open(a, cache="other")
        a.get("/p/1")
        self.assert_answer(a.get("/p/1", cache="other"), "hit", "/p/1 #1")
        a.call("revalidate_path", paths=["/p/1"], cache="other")
        self.assert_answer(a.get("/p/1"), "revalidated", "/p/1 #2")
        self.assert_answer(a.get("/p/1", cache="other"), "hit", "/p/1 #2")

    def test_draft_tokens_are_good_in_every_process(self):
        a, b = self.several(2)
        token = a.call("draft_token")
        self.assertTrue(b.call("verify_draft", token=token))
        self.assertFalse(b.call("verify_draft", token=token[:-2] + "AA"))

    def test_drafts_and_uncacheable_answers_are_not_shared(self):
        a, b = self.several(2)
        self.assert_answer(a.get("/p/1", draft=True), "bypass")
        self.assert_answer(b.get("/p/1"), "miss", "/p/1 #2")
        self.origin.pages["/p/2"] = {"no_store": True}
        self.assert_answer(a.get("/p/2"), "bypass")
        self.assert_answer(b.get("/p/2"), "bypass")


class Invalidations(Machine):
    """A call that has returned in one process holds for the very next request in every other."""

    def warm(self, path, *workers, **page):
        """In the memory of all of them."""
        self.origin.pages[path] = page
        for worker in workers * 2:
            worker.get(path)
        for worker in workers:
            self.assert_answer(worker.get(path), "hit")

    def test_every_kind_of_hard_call(self):
        calls = (
            ("revalidate_path", {"paths": ["/deep/x/1"]}),
            ("revalidate_path", {"paths": ["/p/other", "/deep/x/1"], "kind": "page"}),
            ("revalidate_path", {"paths": ["/deep/[...rest]"], "kind": "page"}),
            ("revalidate_path", {"paths": ["/deep/[...rest]"], "kind": "layout"}),
            ("revalidate_path", {"paths": ["/deep"], "kind": "layout"}),
            ("revalidate_path", {"paths": ["/deep/x"], "kind": "layout"}),
            ("revalidate_path", {"paths": ["/"], "kind": "layout"}),
            ("revalidate_tag", {"tags": ["t,1"]}),
            ("revalidate_tag", {"tags": ["other", "t,1"]}),
            ("revalidate_tag", {"tags": ["t,1"], "soft": True, "expire": 0}),
        )
        a, b, c = self.several(3)
        for name, arguments in calls:
            with self.subTest(name, **arguments):
                self.warm("/deep/x/1", a, b, c, tags=["t,1"])
                n = self.origin.renders("/deep/x/1")
                a.call(name, **arguments)
                self.assert_answer(b.get("/deep/x/1"), "revalidated", f"/deep/x/1 #{n + 1}")
                # Rendered once for all, and the call does not hit what is newer than it.
                for worker in (a, c, b):
                    self.assert_answer(worker.get("/deep/x/1"), "hit", f"/deep/x/1 #{n + 1}")

    def test_calls_that_cover_other_pages_alone(self):
        a, b = self.several(2)
        self.warm("/deep/x/1", a, b, tags=["t"])
        a.call("revalidate_path", paths=["/deep/x", "/p/1", "/deep/x/11"])
        a.call("revalidate_path", paths=["/p/[id]"], kind="page")
        a.call("revalidate_path", paths=["/deep/x/1/2", "/dee", "/p"], kind="layout")
        a.call("revalidate_tag", tags=["t2", "T"])
        a.call("remove", paths=["/deep/x"])
        for worker in (a, b):
            self.assert_answer(worker.get("/deep/x/1"), "hit", "/deep/x/1 #1")

    def test_soft(self):
        a, b, c = self.several(3)
        self.warm("/p/1", a, b, c, tags=["t"])
        self.origin.hold("/p/1")
        a.call("revalidate_tag", tags=["t"], soft=True)
        self.assert_answer(b.get("/p/1"), "stale", "/p/1 #1")
        job = self.origin.take("/p/1")
        # One regeneration on the machine: the others serve what they have.
        for worker in (a, b, c):
            self.assert_answer(worker.get("/p/1"), "stale", "/p/1 #1")
        job.finish(tags=["t"])
        for worker in (c, b, a):
            self.assert_answer(worker.get("/p/1"), "hit", "/p/1 #2")
        self.assertEqual(self.origin.renders("/p/1"), 2)

    def test_soft_with_expire_becomes_hard_for_older_entries(self):
        a, b = self.several(2, clock=1_000_000)
        self.warm("/p/1", a, b, tags=["t"])
        self.warm("/p/2", a, b, tags=["t"])
        a.call("revalidate_tag", tags=["t"], soft=True, expire=5)
        self.origin.hold("/p/1")
        self.assert_answer(b.get("/p/1"), "stale", "/p/1 #1")
        self.origin.take("/p/1").finish(tags=["t"])
        for worker in (a, b):
            worker.call("advance", secs=6)
        # The newer one stays; the older one has expired.
        self.assert_answer(b.get("/p/1"), "hit", "/p/1 #2")
        self.assert_answer(b.get("/p/2"), "revalidated", "/p/2 #2")

    def test_remove(self):
        a, b, c = self.several(3)
        self.warm("/p/1", a, b, c)
        a.call("remove", paths=["/p/1"])
        self.assertEqual(b.call("peek", path="/p/1")["state"], "missing")
        # Not even in place of an error.
        self.origin.hold("/p/1")
        asked = b.begin_get("/p/1")
        self.origin.take("/p/1").fail("on purpose")
        self.assert_refused("render", lambda: asked.result(PATIENCE))
        self.origin.release("/p/1")
        self.assertEqual(c.call("peek", path="/p/1")["state"], "missing")
        self.assert_answer(c.call("regenerate", path="/p/1"), "miss", "/p/1 #3")
        self.assert_answer(a.get("/p/1"), "hit", "/p/1 #3")

    def test_a_result_that_removes_removes_everywhere(self):
        a, b = self.several(2)
        self.warm("/p/1", a, b)
        self.origin.pages["/p/1"] = {"remove": True}
        self.assert_answer(a.call("regenerate", path="/p/1"), "bypass")
        self.assertEqual(b.call("peek", path="/p/1")["state"], "missing")

    def test_the_very_next_request_hundreds_of_times(self):
        a, b, c = self.several(3)
        ring = [a, b, c]
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        a.get("/p/1")
        for n in range(300):
            caller, asker = ring[n % 3], ring[(n + 1 + n // 3 % 2) % 3]
            if n % 2:
                caller.call("revalidate_tag", tags=["t"])
            else:
                caller.call("revalidate_path", paths=["/p/1"])
            self.assert_answer(asker.get("/p/1"), "revalidated", f"/p/1 #{n + 2}")

    def test_renders_after_a_path_call_elsewhere_read_no_older_data(self):
        a, b = self.several(2)
        self.origin.hold("/p/1")

        def page(worker):
            asked = worker.begin_get("/p/1")
            job = self.origin.take("/p/1")
            data = worker.data("k", within=job.id)
            job.finish(body=data["value"])
            return asked.result(PATIENCE)

        self.assert_answer(page(a), "miss", "k #1")
        a.call("revalidate_path", paths=["/p/1"])
        self.assert_answer(page(b), "revalidated", "k #2")

    def test_invalidated_in_flight_in_another_process(self):
        a, b, c = self.several(3)
        self.origin.hold("/p/1")
        asked = a.begin_get("/p/1")
        job = self.origin.take("/p/1")
        # The tag is known only when the render ends.
        b.call("revalidate_tag", tags=["t"])
        job.finish(body="old", tags=["t"])
        self.assert_answer(asked.result(PATIENCE), "miss", "old")
        self.origin.release("/p/1")
        self.assert_answer(c.get("/p/1"), "revalidated", "/p/1 #2")

    def test_a_request_after_a_call_elsewhere_joins_no_older_render(self):
        a, b, c = self.several(3)
        self.origin.hold("/p/1")
        early = a.begin_get("/p/1")
        old = self.origin.take("/p/1", a)
        c.call("revalidate_path", paths=["/p/1"])
        late = b.begin_get("/p/1")
        new = self.origin.take("/p/1", b)
        new.finish(body="new")
        self.assert_answer(late.result(PATIENCE), "miss", "new")
        old.finish(body="old")
        self.assert_answer(early.result(PATIENCE), "miss", "old")
        for worker in (a, b, c):
            self.assert_answer(worker.get("/p/1"), "hit", "new")

    def test_a_render_that_began_before_a_remove_elsewhere_is_not_stored(self):
        a, b, c = self.several(3)
        self.origin.hold("/p/1")
        asked = a.begin_get("/p/1")
        job = self.origin.take("/p/1")
        b.call("remove", paths=["/p/1"])
        job.finish(body="gone")
        self.assert_answer(asked.result(PATIENCE), "miss", "gone")
        self.origin.release("/p/1")
        for worker in (c, a):
            self.assertEqual(worker.call("peek", path="/p/1")["state"], "missing")
        self.assert_answer(b.get("/p/1"), "miss", "/p/1 #2")

    def test_merged_records_lose_nothing(self):
        """Far beyond `max_invalidations`: what was invalidated stays so, in all processes and after a restart."""
        a, b = self.several(2, max_invalidations=10)
        self.warm("/p/1", a, b, tags=["t"])
        self.warm("/deep/x", a, b, tags=["u"])
        a.call("revalidate_tag", tags=["t"])
        b.call("remove", paths=["/deep/x"])
        for n in range(200):
            a.call("revalidate_tag", tags=[f"filler {n}"])
            b.call("revalidate_path", paths=[f"/p/filler-{n}"])
        (c,) = self.several(1, max_invalidations=10)
        for worker in (a, b, c):
            self.assertEqual(worker.call("peek", path="/p/1")["state"], "expired")
            self.assertEqual(worker.call("peek", path="/deep/x")["state"], "missing")


class Deployments(Machine):
    """Two builds on one directory, during a rolling restart."""

    def test_side_by_side(self):
        old, new, old2 = (self.worker(deployment=d) for d in ("1", "2", "1"))
        self.assert_answer(old.get("/p/1"), "miss", "/p/1 #1")
        self.assert_answer(new.get("/p/1"), "miss", "/p/1 #2")
        self.assert_answer(old.get("/p/1"), "hit", "/p/1 #1")
        self.assert_answer(old2.get("/p/1"), "hit", "/p/1 #1")
        self.assert_answer(new.get("/p/1"), "hit", "/p/1 #2")
        self.assertEqual(old.data("k")["value"], "k #1")
        self.assertEqual(new.data("k")["value"], "k #2")
        new.call("remove", paths=["/p/1"])
        self.assert_answer(new.get("/p/1"), "miss", "/p/1 #3")

    def test_an_invalidation_reaches_both(self):
        old, new = (self.worker(deployment=d) for d in "12")
        for worker in (old, new):
            self.origin.pages["/p/1"] = {"tags": ["t"]}
            worker.get("/p/1")
        old.call("revalidate_tag", tags=["t"])
        self.assert_answer(old.get("/p/1"), "revalidated", "/p/1 #3")

    def test_a_new_build_does_not_serve_what_an_old_one_stored(self):
        old = self.worker(deployment="1")
        old.get("/p/1")
        old.kill()
        new = self.worker(deployment="2")
        self.assert_answer(new.get("/p/1"), "miss", "/p/1 #2")

    def test_the_pages_of_a_build_go_with_its_last_process(self):
        old, old2, new = (self.worker(deployment=d) for d in "112")
        for worker in (old, new):
            worker.get("/p/1")
        # The first pass of the janitor is over: it leaves what is in use.
        until(lambda: new.call("stats")["disk_bytes"] > 0, "the janitor counts")
        pages = self.home / "cache" / "v1" / "pages"
        self.assertEqual(len(list(pages.iterdir())), 2)
        old.kill()
        self.assert_answer(old2.get("/p/1"), "hit", "/p/1 #1")
        old2.kill()
        until(lambda: len(list(pages.iterdir())) == 1, "the pages of the old build go")
        self.assert_answer(new.get("/p/1"), "hit", "/p/1 #2")


if __name__ == "__main__":
    unittest.main()
