"""Real input: a dictionary, loaded through one node and read back through another."""

import pathlib
import time
import unittest

from harness import SLOWNESS, ClusterCase

WORDS = pathlib.Path("/usr/share/dict/words")


@unittest.skipUnless(WORDS.exists(), "no /usr/share/dict/words (package wamerican)")
class Words(ClusterCase):
    TIMEOUT = 300

    def test_every_word_is_read_back_through_another_node(self):
        words = [line for line in WORDS.read_bytes().split(b"\n") if line]
        cluster = self.cluster()
        start = time.monotonic()
        with cluster["n1"].client(timeout=30 * SLOWNESS) as client:
            replies = client.pipeline([("SET", word, number) for number, word in enumerate(words, 1)])
        self.assertEqual([reply for reply in replies if reply != "OK"][:5], [])
        written = time.monotonic()
        for node in (cluster["n2"], cluster["n3"]):
            with node.client(timeout=30 * SLOWNESS) as client:
                values = client.pipeline([("GET", word) for word in words])
            wrong = [(word, value) for number, (word, value) in enumerate(zip(words, values), 1)
                     if value != str(number).encode()]
            self.assertEqual(wrong[:5], [], f"{len(wrong)} of {len(words)} words through {node.name}")
        self.say(f"{len(words)} words written in {written - start:.1f} s, read twice in {time.monotonic() - written:.1f} s")
        self.assertGreater(len(words), 50_000)


if __name__ == "__main__":
    unittest.main()
