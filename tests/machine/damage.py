"""What the tests of damage and of trouble have in common: who is told of what, and that all goes on."""

from machine import Machine, until

PAGE = "has a damaged page"
READ = "has a page that cannot be read"
WRITE = "takes no page"
DAMAGED = "was damaged"
OPEN = "cannot be opened"
REPLACED = "was deleted or replaced"
LOG_WRITE = "takes no invalidation"
CLEAN = "cannot be cleaned up"


class Damage(Machine):
    """What all have in common."""

    @property
    def v1(self):
        return self.directory / "v1"

    def page_files(self):
        return sorted(p for p in (self.v1 / "pages").rglob("*") if p.is_file() or p.is_symlink())

    def page_file(self):
        (only,) = self.page_files()
        return only

    def assert_told(self, worker, *kinds, maybe=None):
        """Of these kinds of trouble, once of each, and of no others (`maybe` of this); and counted."""

        def told():
            return [line for line in worker.call("troubles") if not maybe or maybe not in line]

        until(lambda: len(told()) >= len(kinds), f"{worker.name} is told of {kinds}")
        told = told()
        for kind in kinds:
            self.assertEqual(sum(kind in line for line in told), 1, f"{kind}: {told}")
        self.assertEqual(len(told), len(kinds), told)
        for line in told:
            self.assertTrue(line.startswith("store: "), line)
            self.assertIn(str(self.directory), line)
        if kinds:
            self.assertGreater(worker.stat("disk_errors"), 0)

    def assert_goes_on(self, *workers, shared=True):
        """Every process renders and serves, and no invalidation is lost: with `shared`, between them."""
        for n, worker in enumerate(workers):
            path = f"/p/goes-on-{n}-{self.origin.renders('/p/x')}"
            self.assert_answer(worker.get(path), "miss")
            self.assert_answer(worker.get(path), "hit")
            self.assertEqual(worker.data("k", path)["cache"], "miss")
            self.assertEqual(worker.data("k", path)["cache"], "hit")
        for caller in workers:
            for worker in workers:
                worker.get("/p/x")
            caller.call("revalidate_path", paths=["/p/x"])
            # Nobody is served what was there before.
            before = self.origin.renders("/p/x")
            for worker in workers if shared else [caller]:
                self.assertGreater(int(worker.get("/p/x")["body"].split("#")[1]), before)
