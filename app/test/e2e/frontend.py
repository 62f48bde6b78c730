# SPDX-License-Identifier: BSD-3-Clause
"""A frontend as a process (app/test/support/frontend.c), which can be killed and made to hang."""

import os
import re
import signal

from ringpass_testvm import supervise
from ringpass_testvm.errors import TestvmError

READY_SECONDS = 30
ANSWER_SECONDS = 60


class Refused(TestvmError):
    """It could not do what it was told, and says why."""


class Frontend:
    def __init__(self, supervisor, build, socket, pairs, mac, address, peer_mac, peer_address, packed=False,
                 name="frontend"):
        self._supervisor = supervisor
        self._command = [os.path.join(build.directory, "app", "test", "support", "frontend"), socket, str(pairs), mac,
                         address, peer_mac, peer_address, *(["packed"] if packed else [])]
        self._name = name
        self._commands = None
        self._said = 0
        self.process = None

    def start(self):
        reader, writer = os.pipe()
        self._commands = open(writer, "w", encoding="utf-8")
        try:
            self.process = self._supervisor.start(self._name, self._command, stdin=reader)
        finally:
            os.close(reader)
        self._said = 0
        self._answer(READY_SECONDS)

    def connect(self):
        """To the port; again: with the rings where they are."""
        self.do("connect")

    def send(self, text):
        """Without waiting for the answer: finish() does."""
        self._commands.write(f"{text}\n")
        self._commands.flush()

    def finish(self, timeout=ANSWER_SECONDS):
        """@return what it says to the oldest command without an answer. @raises Refused."""
        word, _, text = self._answer(timeout).partition(" ")
        if word != "ok":
            raise Refused(text)
        return text

    def do(self, text, timeout=ANSWER_SECONDS):
        self.send(text)
        return self.finish(timeout)

    def _answer(self, timeout):
        def answers():
            lines = self.process.log().split("\n")[:-1]
            found = [line for line in lines if re.match("(ok|refused)( |$)", line)]
            return found[self._said] if len(found) > self._said else None
        line = supervise.wait_until(answers, timeout, f"{self._name}: an answer", self.process.require_alive)
        self._said += 1
        return line

    def counts(self):
        """@return {name: number}: sent, answered, lost, late, twice, bad, out, connected, maps."""
        return {name: int(value) for name, value in (word.split("=") for word in self.do("stat").split())}

    def wait_traffic(self, timeout=ANSWER_SECONDS):
        """Until so and so many pings more were answered; none of all twice, or with other bytes."""
        first = self.counts()
        last = {}

        def flows():
            nonlocal last
            last = self.counts()
            return last["answered"] >= first["answered"] + 20
        try:
            supervise.wait_until(flows, timeout, f"{self._name}: pings are answered")
        except TestvmError as error:
            raise TestvmError(f"{error}: {last}") from error
        self.require_sane(last)
        return last

    def missed(self):
        """What the port wrote since this was asked last. @return {name: number}: changed (pages), and of these missed:
        they are not in the log."""
        self.do("stop")
        text = self.do("missed")
        self.do("cont")
        return {name: int(value) for name, value in (word.split("=") for word in text.split())}

    @staticmethod
    def require_sane(counts):
        if counts["twice"] or counts["bad"]:
            raise TestvmError(f"pings were answered twice, or with other bytes: {counts}")

    def hang(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self):
        process, self.process = self.process, None
        self._commands.close()
        return process.kill()
