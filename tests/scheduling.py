"""How tests are dealt to workers: by groups, as pytest-xdist does, and so that a worker that dies takes only its test with it.

With pytest-xdist 3.8 a run whose worker dies never ends under ``--dist loadgroup``: work that was done is dealt again, the test
that was fatal, too, and the worker that comes instead gets a single test, for which it does not begin before it has the next.
"""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController


class Groups(LoadGroupScheduling):
    """Deals out groups of tests."""

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker ended; the test it died of, if it did. What it had left is dealt again to whoever comes next."""
        left = {scope: unit for scope, unit in self.assigned_work.pop(node).items() if not all(unit.values())}
        if not left:
            return None
        fatal = next(id for unit in left.values() for id, done in unit.items() if not done)
        left[self._split_scope(fatal)][fatal] = True
        self.workqueue.update({scope: unit for scope, unit in left.items() if not all(unit.values())})
        return fatal

    def mark_test_pending(self, item: str) -> None:  # type: ignore[override]
        """A test that a worker died of is to be run once more."""
        self.workqueue.setdefault(self._split_scope(item), {})[item] = False

    def _reschedule(self, node: WorkerController) -> None:
        if node not in self.registered_collections:  # it has only just come
            return
        super()._reschedule(node)
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue and not node.shutting_down:
            node.shutdown()
