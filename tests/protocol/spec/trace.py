#!/usr/bin/env python3
"""Runs schedules of spec.py and writes down every step, for the C++ vnode to be replayed against (spec_replay_test.cpp).

    PYTHONHASHSEED=0 python3 trace.py siblings 0 100        # kind, first seed, number of seeds

One line per step, words separated by spaces; replica ids are numbers, a RANGES is a count and then `id first last` each:

    world SEED
    new R                               a replica that knows nothing
    give R KEY ID COUNTER TIME VALUE RANGES     a write made here: its value (`-`: delete), and the context it replaces
    apply R ID COUNTER NEW              a delta arrives; NEW: 1 if it was not known
    page R PEER KEY N (ID COUNTER)*     one page of catch-up
    copy R PEER                         R, a copy that an owner makes beside its own state, becomes what PEER is
    whole R PEER                        a join of whole vnodes: PEER's state into R
    take R COPY                         R becomes what COPY is, and goes on under its own id
    read R KEY RANGES                   what a read says it has seen
    trim R N (ID COUNTER)*              housekeeping: these left the dot log
    purge R KEY                         housekeeping: this tombstone went
    state R RANGES LOGGED OBJECTS       after each of the steps above: the clock, the size of the log, and then per object
    siblings KEY N (ID COUNTER TIME VALUE)* RANGES          (stripped)
    lww KEY ID COUNTER TIME VALUE

Ids are never closed here, because the C++ cannot do that yet; spec.py holds without, clocks just keep their gaps.
"""
import sys

import spec


def number(replica_id):
    """(node, incarnation) as 64 bits, in the same order."""
    node, incarnation = replica_id
    return ord(node) << 32 | incarnation


def ranges(dots):
    out = []
    for replica, counter in sorted((number(i), c) for i, c in dots):
        if out and out[-1][0] == replica and out[-1][2] + 1 == counter: out[-1][2] = counter
        else: out.append([replica, counter, counter])
    return f"{len(out)} " + " ".join(f"{r} {a} {b}" for r, a, b in out)


def named(dots):
    return f"{len(dots)} " + " ".join(f"{number(i)} {c}" for i, c in sorted(dots))


def text(value): return "-" if value is None else value


class TracedReplica(spec.Replica):
    def __init__(self, *args, out):
        super().__init__(*args)
        self.out, self.page = out, None
        self.line("new", number(self.id))

    def __deepcopy__(self, memo): raise AssertionError("replicas are not copied")
    def line(self, *words): self.out.append(" ".join(str(w) for w in words))

    def state(self):
        self.line("state", number(self.id), ranges(self.clock.dots), len(self.log), len(self.objects))
        for key, x in sorted(self.objects.items()):
            if self.kind == "lww":
                time, (replica, counter), value = x
                self.line("lww", key, number(replica), counter, time, text(value))
            else:
                siblings, seen = x
                each = " ".join(f"{number(i)} {c} {t} {v}" for (i, c), (t, v) in sorted(siblings.items()))
                self.line("siblings", key, len(siblings), each, ranges(seen - self.clock.dots))

    def apply(self, delta):
        key, dot, time, value, context, _ = delta
        known = dot in self.clock
        super().apply(delta)
        if dot[0] == self.id: self.line("give", number(self.id), key, number(dot[0]), dot[1], time, text(value), ranges(context))
        else: self.line("apply", number(self.id), number(dot[0]), dot[1], int(not known))
        self.state()

    # A page is join(), then know() for each dot, then strip().
    def join(self, key, peer, whole=False):
        if not whole: self.page = (key, peer, [])
        super().join(key, peer, whole)

    def know(self, dot, key):
        if self.page: self.page[2].append(dot)
        super().know(dot, key)

    def strip(self, key):
        super().strip(key)
        if not self.page: return
        key, peer, dots = self.page
        self.page = None
        self.line("page", number(self.id), number(peer.id), key, named(dots))
        self.state()

    def begin_copy(self, peer, stop_after, empty):
        super().begin_copy(peer, stop_after, empty)
        if stop_after is not None: return
        self.line("copy", number(empty.id), number(peer.id))
        empty.state()

    def join_whole(self, peer):
        super().join_whole(peer)
        self.line("whole", number(self.id), number(peer.id))
        self.state()

    def take_copy(self):
        copy = self.copy
        super().take_copy()
        self.line("take", number(self.id), number(copy.id))
        self.state()

    def read(self, key):
        state, context = super().read(key)
        self.line("read", number(self.id), key, ranges(context))
        self.state()
        return state, context


class TracedWorld(spec.World):
    def __init__(self, seed, kind):
        self.out = [f"world {seed}"]
        super().__init__(seed, kind)

    def fresh(self, node):
        self.incarnation += 1
        return TracedReplica(node, self.incarnation, self.kind, None, out=self.out)

    def close_lost(self):
        pass                                             # Not replayed (vnode_test.cpp, shard_test.cpp).

    def housekeeping(self):
        before = [(r, set(r.log), set(r.objects)) for r in self.owners.values()]
        super().housekeeping()
        for r, log, objects in before:
            purged = sorted(objects - set(r.objects)) if self.kind == "lww" else []
            trimmed = log - set(r.log)
            for key in purged: r.line("purge", number(r.id), key)
            if trimmed: r.line("trim", number(r.id), named(trimmed))
            if purged or trimmed: r.state()


def main():
    kind, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for seed in range(first, first + count):
        world = TracedWorld(seed, kind)
        for _ in range(160): world.step()
        world.settle()
        print("\n".join(world.out))


if __name__ == "__main__":
    main()
