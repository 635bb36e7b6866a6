#!/usr/bin/env python3
"""Executable specification: how one partition changes owners without breaking the quorum promise.

The promise (strict quorums, R + W > N): a read returns every write acknowledged before the read began — also while
owners change, while nodes disagree about the newest epoch, while coordinators are several epochs behind, and although
one disk is lost. Nor does a dot that some node took vanish while its disk lives, acknowledged or not.

A *set* is owners with their R and W. The register decides epochs one after another (agreement among members; taken for
granted here), each as successor of one that its proposer knows, and gossip spreads them. They are:

    stable(O)        joint(O, P): from O to P        stable(P, former O): P it is, but some may still read from O

    stable(O) -> joint(O, P) -> stable(P, former O) -> stable(P)       a change; the last step is called settling
                 joint(O, P) -> stable(O)                              cancelled
                 joint(O, P) -> joint(O, P')                           planned anew

    R1  A replica refuses a request of an older epoch than it knows. The refusal, like every request, carries the epoch.
    R2  In joint(O, P) a write needs W of O and W of P, complete or not. A read needs R complete ones of O: to read from P
        also would be sound only if nothing could be cancelled or planned anew.
    R3  stable(P, former O) may be decided when every member of P has been complete for this plan: it knows joint(O, P)
        and has caught up with N-W+1 complete members of O that knew it when they gave, itself perhaps one of them. (N, W
        are those of O. Who is a member of O too need not, unless N-W of O is more than that of P.) What a node was complete for before, another plan or set, counts for nothing; the dots may stay.
    R4  In stable(P, former O) a read needs R of P. A write needs W of P and, unless its coordinator knew when it began
        that N-R+1 of O know that P is stable, also W of O. (These need not even take it, see HARMLESS: who acknowledges it
        knows the epoch, and refuses reads of O.)
    R5  Who knows that may settle, or begin the next change at once. In stable(P) nobody writes to O whatever he knows. A
        node that is gone for good, on an operator's word, counts as one that knows: it answers nobody. (It may be one of P,
        too: then the next change, which replaces it, is what all wait for.)
    R6  Who owns nothing by the newest epoch he knows answers no reads, takes writes, and drops its copy when every owner
        (in joint: of O) is complete and covers it; nothing else has to be waited for. It keeps the second promise, and R7.
    R7  A write whose coordinator learns of a newer epoch fails or goes on as it was, or is rebased: same dot, sets of the
        new epoch, sent to all of them under that epoch, and what was acknowledged before counts no more.
    R8  Who lost its disk takes part again, in anything, when the register has decided the newest epoch once more, under a
        new number, for its sake. It takes writes, and is complete again as an owner when it has caught up with
        min(N-W+1, N-1) other complete ones that knew this number; as one of P, by R3. (With W = 1 a lost disk may be
        the only one that had an acknowledged write; it is not lost here.)

    python3 topology.py            # seeds of every case, then every rule is left out once and the loss must be caught
    python3 topology.py 17 3,2,2   # replay one seed of one case
"""
import os, random, sys
from collections import namedtuple

CASES = ["3,2,2", "3,1,3", "3,3,1", "5,3,3", "1,1,1", "2,1,2", "2,2,1", "1,1,1 3,2,2", "1,1,1 2,1,2 3,2,2 5,3,3", "3,2,2 3,1,3 3,3,1 2,2,1"]
MIXED = CASES[8]
LEAVE_OUT = {                    # what -> case that shows it, text
    "R1": ("3,2,2", "replicas serve requests of old epochs"),
    "R2-write": ("3,2,2", "joint writes wait for the new owners only"),
    "R2-old": ("3,2,2", "joint writes wait for the old owners only"),
    "R2-read": ("3,2,2", "joint reads ask new owners that are complete"),
    "R3": ("3,2,2", "new owners count as complete when they have caught up with one old owner"),
    "R3-knew": ("3,2,2", "new owners catch up with old ones that did not know of the change yet"),
    "R3-kept": (MIXED, "old owners that stay count as complete at once"),
    "R3-kept-reads": ("3,2,2 5,2,5", "the same, where writes of the old W and reads of the new R meet"),
    "R3-replan": ("3,2,2", "who was complete for the plan before is complete for the new one"),
    "R3-again": ("3,2,2", "who has kept the copy of an earlier set or plan counts as complete"),
    "R4": ("3,2,2", "writes leave the old owners out at once"),
    "R5": ("3,2,2", "the next change begins at once"),
    "R5-settle": ("3,2,2", "settled at once"),
    "R5-gone": ("3,2,2", "who cannot be reached counts as gone, and is not"),
    "R6": ("3,2,2", "an old copy is dropped at once"),
    "R7": ("2,1,2", "a rebased write keeps what was acknowledged before"),
    "R7-epoch": ("3,2,2", "a write goes on with its old sets under the new epoch"),
    "R8": ("3,2,2", "who lost its disk counts as complete again after one other owner"),
    "R8-number": ("3,1,3", "who lost its disk asks the register for the newest epoch, but none is decided"),
    "R8-asks": ("3,1,3", "who lost its disk goes by the epochs that others tell"),
}
HARMLESS = {                     # not caught
    "R3-kept-unless": (MIXED, "old owners that stay count as complete at once, unless N - W becomes smaller"),
    "R4-data": ("3,2,2", "old owners acknowledge a write of stable(P, former O) without taking it"),
}

Set = namedtuple("Set", "plan members r w")                   # plan: number of the epoch that first named it
Epoch = namedtuple("Epoch", "kind owners other since")        # other: P of joint, or the former owners; since: when this kind began


class Node:
    def __init__(self, name):
        self.name, self.losses, self.away = name, 0, False
        self.forget()

    def forget(self):
        self.epoch, self.heard = -1, {}          # heard: node -> newest epoch that we heard it knows (gossip)
        self.drop()

    def drop(self):
        self.dots, self.whole, self.givers = set(), set(), {}      # whole: plans of the sets we are complete for


class World:
    def __init__(self, seed, case, without=None):
        self.rng, self.without = random.Random(f"{case} {seed}"), without
        self.quorums = [tuple(map(int, q.split(","))) for q in case.split()]
        self.loss, self.calm = self.rng.choice([.05, .2, .4]), self.rng.choice([.01, .05])
        self.names = "ABCDEFG" if max(self.quorums)[0] > 3 else "ABCDEF"
        self.nodes = {n: Node(n) for n in self.names}
        n, r, w = self.rng.choice(self.quorums)
        self.epochs = [Epoch("stable", Set(0, self.names[:n], r, w), None, 0)]
        for node in self.nodes.values(): node.epoch = 0
        for name in self.names[:n]: self.nodes[name].whole.add(0)
        self.cut, self.open, self.taken, self.acked, self.count, self.reads, self.lost = set(), [], set(), set(), 0, 0, False
        self.gone = set()                        # for good

    # Epochs.
    def reach(self, a, b):
        if self.nodes[a].away or self.nodes[b].away: return False
        return a == b or (frozenset(a + b) not in self.cut and self.rng.random() > self.loss)

    def learn(self, name, epoch):
        if epoch > self.nodes[name].epoch:
            self.nodes[name].epoch = epoch
            self.look(self.nodes[name])

    def look(self, node):
        """R3: is it complete for the plan of the epoch it knows?"""
        kind, old, new, _ = self.epochs[node.epoch]
        if kind != "joint" or node.name not in new.members: return
        givers = node.givers.get(new.plan, set()) | ({node.name} if old.plan in node.whole else set())
        need = 1 if self.without == "R3" else len(old.members) - old.w + 1
        stays = old.plan in node.whole and (self.without == "R3-kept" or
            self.without == "R3-kept-unless" and len(old.members) - old.w <= len(new.members) - new.w or
            self.without == "R3-kept-reads" and len(old.members) < old.w + new.r)
        if len(givers) >= need or stays or (self.without == "R3-again" and node.whole):
            node.whole.add(new.plan)

    def lacks(self, name):
        node = self.nodes[name]
        if node.epoch < 0: return True
        kind, owners, other, _ = self.epochs[node.epoch]
        return any(name in s.members and s.plan not in node.whole for s in ([owners, other] if kind == "joint" else [owners]))

    def call(self, source, target, epoch):
        """One message with its epoch. -> does the target serve it? Both learn the newer epoch."""
        if not self.reach(source, target): return False
        t = self.nodes[target]
        if t.epoch > epoch and self.without != "R1":
            self.learn(source, t.epoch)
            return False
        self.learn(target, epoch)
        self.hear(source, target, t.epoch)
        return True

    def hear(self, name, of, epoch): self.nodes[name].heard[of] = max(self.nodes[name].heard.get(of, -1), epoch)

    def fence(self, name, epoch):
        """Does it know that N-R+1 of the former owners know that they are?"""
        _, _, former, since = self.epochs[epoch]
        def gone(n): return n in self.gone or (self.without == "R5-gone" and frozenset((name, n)) in self.cut)
        return sum(gone(n) or self.nodes[name].heard.get(n, -1) >= since for n in former.members) >= len(former.members) - former.r + 1

    # Requests: generators that stop between two messages.
    def sets(self, at, epoch):
        kind, owners, other, _ = self.epochs[epoch]
        if kind == "joint": return {"R2-write": [other], "R2-old": [owners]}.get(self.without, [owners, other])
        return [owners] if not other or self.without == "R4" or self.fence(at, epoch) else [owners, other]

    def targets(self, sets, but=()):
        todo = sorted(set("".join(s.members for s in sets)) - set(but))
        self.rng.shuffle(todo)
        return todo

    def write(self, at):
        self.count += 1
        dot, node, epoch, done = self.count, self.nodes[at], self.nodes[at].epoch, set()
        sets, losses = self.sets(at, epoch), node.losses
        todo = self.targets(sets)
        while todo:
            yield
            if node.losses != losses: return                          # the coordinator is gone
            if node.epoch > epoch and self.rng.random() < .6:         # rebase
                epoch = node.epoch
                if self.without != "R7-epoch": sets = self.sets(at, epoch)
                if self.without not in ("R7", "R7-epoch"): done = set()
                todo = self.targets(sets, but=done)
                continue
            t = todo.pop()
            if self.call(at, t, epoch):
                if self.without != "R4-data" or t in sets[0].members or self.epochs[epoch].kind == "joint":
                    self.nodes[t].dots.add(dot)
                    self.taken.add(dot)
                done.add(t)
            if all(len(done & set(s.members)) >= s.w for s in sets):
                self.acked.add(dot)
                if self.rng.random() < .7: return             # the other messages are lost

    def read(self, at):
        before, node, epoch = set(self.acked), self.nodes[at], self.nodes[at].epoch
        kind, asked, other, _ = self.epochs[epoch]
        if kind == "joint" and self.without == "R2-read" and self.rng.random() < .5: asked = other
        got, answers, losses = set(), 0, node.losses
        for t in self.targets([asked]):
            yield
            if node.losses != losses: return
            if self.call(at, t, epoch) and asked.plan in self.nodes[t].whole:
                got |= self.nodes[t].dots
                answers += 1
                if answers == asked.r: break
        if answers < asked.r: return
        self.reads += 1
        assert before <= got, f"read of epoch {epoch} at {at} misses {sorted(before - got)[:3]}"

    # What goes on beside them.
    def catch_up(self, a, b):
        """`a` learns from `b`; both tell the epoch they know."""
        if not self.reach(a, b): return
        x, y = self.nodes[a], self.nodes[b]
        if self.without != "R3-knew": self.learn(a, y.epoch); self.learn(b, x.epoch)
        if x.epoch < 0: return
        kind, owners, other, _ = self.epochs[x.epoch]
        planned = kind == "joint" and a in other.members
        if a not in owners.members and not planned: return
        if owners.plan not in y.whole:
            if owners.plan not in x.whole or self.rng.random() < .2: x.dots |= y.dots           # also a temporary copy's
            return
        if owners.plan in x.whole and not planned and self.rng.random() < .8: return
        x.dots |= y.dots
        if a in owners.members and owners.plan not in x.whole:
            n = len(owners.members)
            again = x.givers.setdefault(("again", owners.plan), set())
            again.add(b)
            if len(again) >= (1 if self.without == "R8" else min(n - owners.w + 1, n - 1)): x.whole.add(owners.plan)
        if planned: x.givers.setdefault(other.plan, set()).add(b)
        self.look(x)

    def gossip(self, a, b):
        x, y = self.nodes[a], self.nodes[b]
        if not self.reach(a, b): return
        self.learn(a, y.epoch); self.learn(b, x.epoch)
        for node in (x, y): self.hear(node.name, node.name, node.epoch)
        for n in self.names: x.heard[n] = y.heard[n] = max(x.heard.get(n, -1), y.heard.get(n, -1))

    def plan(self, old, number, before=None):
        n, r, w = self.rng.choice(self.quorums)
        old_members = [m for m in old.members if m not in self.gone]
        kept = self.rng.sample(old_members, self.rng.randrange(0, min(n, len(old_members)) + 1))
        rest = [m for m in self.names if m not in kept and m not in self.gone and (m not in old.members or self.rng.random() < .3)]
        if n - len(kept) > len(rest): return None
        members = "".join(sorted(kept + self.rng.sample(rest, n - len(kept))))
        if (members, r, w) == old[1:]: return None
        return Set(before.plan if before and self.without == "R3-replan" else number, members, r, w)

    def propose(self, at):
        """The register grants only the successor of the newest epoch, to somebody who knows that one."""
        node, last, rng = self.nodes[at], len(self.epochs) - 1, self.rng
        if node.away or node.epoch != last or last > 16: return
        (kind, owners, other, since), new = self.epochs[last], None
        if kind == "joint":
            dice = rng.random()
            if dice < .06: new = Epoch("stable", owners, None, last + 1)
            elif dice < .14: new = Epoch("joint", owners, self.plan(owners, last + 1, other), last + 1)
            elif all(other.plan in self.nodes[n].whole for n in other.members): new = Epoch("stable", other, owners, last + 1)
        elif not other or self.fence(at, last) or self.without in ("R5", "R5-settle"):
            if other and (self.without == "R5-settle" or (self.without != "R5" and rng.random() < .5)): new = Epoch("stable", owners, None, last + 1)
            else: new = Epoch("joint", owners, self.plan(owners, last + 1), last + 1)
        if new and (new.kind == "stable" or new.other):
            self.epochs.append(new)
            self.learn(at, last + 1)

    def drop(self, at):
        node = self.nodes[at]
        if node.away or node.epoch < 0 or not node.dots | node.whole: return
        kind, owners, other, _ = self.epochs[node.epoch]
        if at in owners.members or (kind == "joint" and at in other.members): return
        def covers(o): return self.reach(at, o) and owners.plan in self.nodes[o].whole and node.dots <= self.nodes[o].dots
        if self.without == "R6" or all(covers(o) for o in owners.members): node.drop()

    def lose_disk(self, at):
        """Once, and no owner whose acknowledgement suffices alone."""
        kind, owners, other, _ = self.epochs[-1]
        if self.lost or owners.w < 2 or (kind == "joint" and other.w < 2): return
        self.lost, node = True, self.nodes[at]
        node.losses, node.away = 1, True
        node.forget()
        if self.rng.random() < .5: self.gone.add(at)
        self.taken &= set().union(*(n.dots for n in self.nodes.values()))

    def come_back(self, at):
        if not self.nodes[at].away or at in self.gone: return
        self.nodes[at].away = False
        if self.without == "R8-asks": return
        if self.without != "R8-number": self.epochs.append(self.epochs[-1])
        self.learn(at, len(self.epochs) - 1)

    def something_else(self):
        rng = self.rng
        a, b = rng.sample(self.names, 2)
        dice = rng.random()
        if dice < .46:
            lacking = [n for n in self.names if n not in self.gone and self.lacks(n)]
            self.catch_up(rng.choice(lacking) if lacking and rng.random() < .5 else a, b)
        elif dice < .62: self.gossip(a, b)
        elif dice < .82: self.propose(a)
        elif dice < .90: self.drop(a)
        elif dice < .905: self.lose_disk(a)
        elif dice < .94:
            for n in self.names: self.come_back(n)
        elif dice < .94 + self.calm:
            side, odds = {n: rng.random() < .5 for n in self.names}, rng.choice([0, 0, .3, 1, 1])
            self.cut = {frozenset((x, y)) for x in self.names for y in self.names if side[x] != side[y] and rng.random() < odds}

    def step(self):
        dice, at = self.rng.random(), self.rng.choice(self.names)
        if dice < .16 and len(self.open) < 5:
            if self.nodes[at].epoch >= 0: self.open.append(self.write(at) if dice < .07 else self.read(at))
        elif dice < .6 and self.open:
            request = self.rng.choice(self.open[-self.rng.choice([1, 2, 9]):])      # some take long
            if next(request, "done") == "done": self.open.remove(request)
        else: self.something_else()


def run(seed, case="3,2,2", without=None):
    world = World(seed, case, without)
    for _ in range(600): world.step()
    gone = world.taken - set().union(*(n.dots for n in world.nodes.values()))
    assert not gone, f"{sorted(gone)[:3]} are nowhere any more"
    return world


def main():
    if len(sys.argv) > 1: return run(int(sys.argv[1]), *sys.argv[2:])
    for case in CASES:
        epochs = reads = acked = 0
        for seed in range(int(os.environ.get("SEEDS", 300))):
            try: w = run(seed, case)
            except AssertionError as e: sys.exit(f"{case}: seed {seed}: {e}")
            epochs, reads, acked = epochs + len(w.epochs) - 1, reads + w.reads, acked + len(w.acked)
        print(f"({case}): {seed + 1} seeds hold: {acked} acknowledged writes, {reads} quorum reads, {epochs} epochs decided", flush=True)
    for rule, (case, what) in {**LEAVE_OUT, **HARMLESS}.items():
        for seed in range(20000 if rule in LEAVE_OUT else int(os.environ.get("SEEDS", 300))):
            try: run(seed, case, rule)
            except AssertionError as e:
                if rule in HARMLESS: sys.exit(f"{rule} left out, caught (seed {seed}): {what}: {e}")
                print(f"{rule} left out, caught (seed {seed}): {what}\n    {e}", flush=True)
                break
        else: print(f"{rule} left out and not caught: {what}")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":      # sets of strings iterate alike in every run
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    main()
