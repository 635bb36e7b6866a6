"""What causality says about the values of one key, from full histories.

Every write is an event with a number. A context is the set of events its holder has been shown: reading shows the
values returned, writing shows the write itself on top of the context it was made with. A write replaces what its
context shows. At rest, exactly the values that no acknowledged write replaces are left. (It does not matter that a
server's context also covers values replaced before: those are gone anyway.)
"""

import threading

import resp


class KeyHistory:
    def __init__(self):
        self.lock = threading.Lock()
        self.next = 1
        self.acked = {}        # event -> value; deletes have none.
        self.replaced_by = {}  # event -> events that replaced it and are acknowledged
        self.intended = {}     # event -> events that may replace it: their write has begun

    def begin(self, shown):
        """A write with a context that shows these events begins. @returns its event."""
        with self.lock:
            event = self.next
            self.next += 1
            for old in shown:
                self.intended.setdefault(old, set()).add(event)
            return event

    def ack(self, event, value, shown):
        """The write was acknowledged (value: None for a delete)."""
        with self.lock:
            if value is not None:
                self.acked[event] = value
            for old in shown:
                self.replaced_by.setdefault(old, set()).add(event)

    def must_be_seen(self):
        """Values acknowledged by now that no write begun by now may replace."""
        with self.lock:
            return {value for event, value in self.acked.items() if event not in self.intended}

    def untouched(self, values):
        """Of these values, those that still no write may replace: they were there all the time."""
        with self.lock:
            by_value = {value: event for event, value in self.acked.items()}
            return {value for value in values if by_value[value] not in self.intended}

    def must_not_be_seen(self):
        """Values that an acknowledged write has replaced by now."""
        with self.lock:
            return {value for event, value in self.acked.items() if event in self.replaced_by}

    def maximal(self):
        """What is left at rest."""
        with self.lock:
            return {value for event, value in self.acked.items() if event not in self.replaced_by}


class Client:
    """One client's view of one key: what it reads and writes is checked against the history."""

    def __init__(self, history, key, name, rng):
        self.history, self.key, self.name, self.random = history, key, name, rng
        self.contexts = []  # (token, events shown), newest last; old ones are used on purpose.
        self.writes = 0
        self.complaints = []

    def get(self, connection):
        expected, forbidden = self.history.must_be_seen(), self.history.must_not_be_seen()
        reply = connection.call("KV.GET", self.key)
        token, values = reply
        values = set(values)
        missing = self.history.untouched(expected) - values
        if missing:
            self.complaints.append(f"{self.key}: a read lacks {missing}; it returned {values}")
        if values & forbidden:
            self.complaints.append(f"{self.key}: a read returned {values & forbidden}, which were replaced before it began")
        self.contexts.append((token, frozenset(int(value.split(b"#")[1]) for value in values)))
        del self.contexts[:-4]

    def write(self, connection, remove=False):
        """Puts or deletes with the newest context, an old one, or (seldom) none."""
        token, shown = None, frozenset()
        if self.contexts and (remove or self.random.random() < 0.9):
            token, shown = self.contexts[-1] if self.random.random() < 0.7 else self.random.choice(self.contexts)
        elif remove:
            return
        event = self.history.begin(shown)
        value = None if remove else f"{self.name}#{event}".encode()
        command = ["KV.DEL", self.key] if remove else ["KV.PUT", self.key, value]
        if token is not None:
            command += ["CONTEXT", token]
        reply = connection.call(*command)
        if isinstance(reply, resp.Error) or not (remove or isinstance(reply, bytes)):
            raise AssertionError(f"{command[:2]}: {reply!r}")
        self.history.ack(event, value, shown)
        self.writes += 1
        if not remove:
            self.contexts.append((reply, shown | {event}))
