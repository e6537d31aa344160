"""Checks the gateway against the providers' own libraries, and prints what came of it.

For each library: what it signs is accepted, once; what `oncegate sign` signs the library accepts;
what was changed, is stale, or was signed with another secret is refused by both.
"""

import collections
import importlib.metadata
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

from providers import PROVIDERS, REQUIRED
from world import Application, Gateway, Node, Request, presets

# A run with fewer is a mistake in the making.
FEWEST = 15
HOUR = 3600
PUBLIC_URL = "https://hooks.example.com"
HERE = Path(__file__).parent
ACCEPTED = ("processed", "queued")


class Wrong(Exception):
    """What was sent, and what was answered."""

    def __init__(self, what, sent, answered):
        super().__init__(f"{what}\n    sent: {shown(sent)}\n    answered: {answered}")


def shown(sent):
    if not isinstance(sent, Request):
        return sent
    return f"{sent.url} {json.dumps(sent.headers)} {sent.body[:2000]}"


class Check:
    """One library of one provider."""

    def __init__(self, gateway, application, node, provider, sdk):
        self.gateway, self.application, self.node = gateway, application, node
        self.provider, self.sdk = provider, sdk
        self.events, self.delivered = {}, 0

    def run(self, wrong):
        """What stands in the table, column by column; what is wrong is told to `wrong`."""
        columns = [
            self.ours_accepts,
            self.theirs_accepts,
            self.both_refuse_a_changed_byte,
            self.both_refuse_what_is_stale,
            self.both_refuse_another_secret,
        ]
        cells = []
        for column in columns:
            try:
                cells.append(column())
            except Exception as why:  # The others are of interest all the same.
                told = str(why) if isinstance(why, Wrong) else traceback.format_exc()
                wrong.append(f"{self.provider.preset}, {self.sdk.package}: {told}")
                cells.append("FAILED")
        return cells

    def ours_accepts(self):
        """The gateway takes it, the application is given it once, and a copy is one."""
        event_id = new_id()
        first = self.signed(event_id, now() - 2)
        given = self.accepted(first)
        if given != first.body if self.provider.batch is None else not self.has(given, event_id):
            raise Wrong("the application was given something else", first, given)
        again = self.signed(event_id, now())
        answer = self.gateway.post(again)
        if answer.status // 100 != 2 or answer.outcome != "duplicate":
            raise Wrong("a copy was not taken for one", again, answer)
        if self.provider.batch is not None:
            self.ours_takes_a_batch_apart(event_id)
        return "ok" if self.sdk.sign else "ok (oncegate's)"

    def ours_takes_a_batch_apart(self, known):
        """Of a known event and a new one in a batch, the application is given the new one."""
        fresh = new_id()
        both = self.signed(self.joined(known, fresh), now())
        given = self.accepted(both)
        if self.has(given, known) or not self.has(given, fresh):
            raise Wrong("the application was not given the new event alone", both, given)

    def accepted(self, request):
        """Sends what is new; returns the body of the one delivery that came of it."""
        source = self.provider.preset
        before = len(self.application.given(source))
        answer = self.gateway.post(request)
        if answer.status // 100 != 2 or answer.outcome not in ACCEPTED:
            raise Wrong("a right signature was not accepted", request, answer)
        if not self.application.waits_for(source, before + 1):
            raise Wrong("the application was not given it", request, answer)
        given = [body for _, body in self.application.given(source)[before:]]
        if len(given) != 1:
            raise Wrong("the application was given it more than once", request, given)
        self.delivered += 1
        return given[0]

    def has(self, body, event_id):
        return self.provider.mark(event_id) in body

    def theirs_accepts(self):
        request = self.own(new_id())
        if not self.verified(request):
            raise Wrong("the library refuses what oncegate signed", request, False)
        return "ok"

    def both_refuse_a_changed_byte(self):
        request = self.signed(new_id(), now())
        if not self.verified(request):
            raise Wrong("the library refuses what is right", request, False)
        self.refused_by_both("a changed byte", self.changed(request))
        self.refused_by_theirs("a changed byte", self.changed(self.own(new_id())))
        return "ok"

    def both_refuse_what_is_stale(self):
        if not self.provider.stamped:
            return "no time"
        event_id = new_id()
        fresh = self.stamped(event_id, now())
        if not self.verified(fresh):
            raise Wrong("the library refuses what is not stale", fresh, False)
        stale = self.stamped(event_id, now() - self.provider.stale * HOUR)
        self.refused_by_ours("a stale one", stale)
        aged = "" if self.provider.stale == 1 else f" (of {self.provider.stale} h)"
        if self.sdk.no_stale is None:
            self.refused_by_theirs("a stale one", stale)
            return "ok" + aged
        if not self.verified(stale):
            raise Wrong("the library is said to take a stale one, and does not", stale, False)
        return self.sdk.no_stale + aged

    def both_refuse_another_secret(self):
        self.refused_by_both("another secret", self.signed(new_id(), now(), self.provider.other))
        self.refused_by_theirs("another secret", self.own(new_id(), self.provider.other))
        return "ok"

    def refused_by_both(self, what, request):
        self.refused_by_ours(what, request)
        self.refused_by_theirs(what, request)

    def refused_by_ours(self, what, request):
        answer = self.gateway.post(request)
        if answer.status != 401 or answer.outcome != "rejected":
            raise Wrong(f"the gateway accepts {what}", request, answer)

    def refused_by_theirs(self, what, request):
        if self.verified(request):
            raise Wrong(f"the library accepts {what}", request, True)

    def event(self, event_id):
        """The event, the same however often it is signed."""
        if event_id not in self.events:
            headers, body = self.provider.event(event_id, now())
            url = self.gateway.url(self.provider.preset)
            self.events[event_id] = Request(url, headers, body)
        return self.events[event_id]

    def joined(self, *event_ids):
        """The id of a new event: the batch of these."""
        whole, *others = (json.loads(self.event(it).body) for it in event_ids)
        place = self.provider.batch
        array = (lambda body: body[place]) if place else (lambda body: body)
        for other in others:
            array(whole).extend(array(other))
        batch_id = new_id()
        body = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
        self.events[batch_id] = self.event(event_ids[0]).saying(body)
        return batch_id

    def signed(self, event_id, at, secret=None):
        """Signed by the library, or by oncegate where it cannot."""
        if not self.sdk.sign:
            return self.own(event_id, secret)
        return self.by_library(event_id, at, secret or self.provider.secret)

    def stamped(self, event_id, at):
        """Signed at a time of our choice: `oncegate sign` knows now only."""
        if self.sdk.sign:
            return self.by_library(event_id, at, self.provider.secret)
        event = self.event(event_id)
        return self.provider.by_hand(event, self.provider.secret, at, event_id)

    def by_library(self, event_id, at, secret):
        event = self.event(event_id)
        if not self.sdk.node:
            return self.sdk.sign(event, secret, at, event_id)
        made = self.ask("sign", event, secret, id=event_id, at=at)
        return event.having(made["headers"]).saying(made.get("body", event.body))

    def own(self, event_id, secret=None):
        secret = secret or self.provider.secret
        return self.gateway.sign(self.provider, secret, event_id, self.event(event_id))

    def changed(self, request):
        """The same with another byte, of those that are signed."""
        body = bytearray(request.body.encode())
        found = re.search(self.provider.tamper, body)
        if found is None:
            raise Wrong("there is no byte to change", request, None)
        body[found.start(1)] ^= 1
        return request.saying(body.decode())

    def verified(self, request):
        """Whether the library says that it is right."""
        public = self.provider.public(self.provider.secret)
        if self.sdk.node:
            return self.ask("verify", request, public)
        try:
            return bool(self.sdk.verify(request, public))
        except Exception as why:  # Each library refuses with errors of its own.
            print(f"{self.provider.preset} refused: {why!r}", file=self.node.said, flush=True)
            return False

    def ask(self, what, request, secret, **more):
        preset = self.provider.preset
        return self.node.ask(do=what, preset=preset, secret=secret, request=vars(request), **more)


def now():
    return int(time.time())


def new_id():
    return uuid.uuid4().hex


def examples(gateway, application, node):
    """Every payload that GitHub gives as an example, each sent twice.

    Returns how many the application was given, and what to print.
    """
    source, secret = "github", next(it.secret for it in PROVIDERS if it.preset == "github")
    before = len(application.given(source))
    sent, outcomes = {}, collections.Counter()
    told = node.ask(do="examples")
    for example in told:
        guid = str(uuid.uuid4())
        headers = {"content-type": "application/json", "x-github-delivery": guid}
        headers["x-github-event"] = example["event"]
        request = Request(gateway.url(source), headers, example["payload"])
        made = node.ask(do="sign", preset=source, secret=secret, request=vars(request))
        request = request.having(made["headers"])
        # A ping is answered by the gateway itself, each time.
        ping = example["event"] == "ping"
        for expected in ("handshake", "handshake") if ping else ("queued", "duplicate"):
            answer = gateway.post(request)
            if answer.status // 100 != 2 or answer.outcome != expected:
                raise Wrong(f"an example was not answered {expected}", request, answer)
            outcomes[expected] += 1
        if not ping:
            sent[guid] = request.body
    application.waits_for(source, before + len(sent), 60)
    given = application.given(source)[before:]
    processed = collections.defaultdict(list)
    for headers, body in given:
        processed[headers["x-github-delivery"]].append(body)
    for guid, body in sent.items():
        if processed[guid] != [body]:
            raise Wrong("an example was not processed once", body, processed[guid])
    if len(given) != len(sent):
        raise Wrong("the application was given more", len(sent), len(given))
    kinds = len({it["event"] for it in told})
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    return len(sent), (
        f"GitHub's {len(told)} examples of {kinds} events, each sent twice: {counts}; "
        f"{len(given)} processed, each once"
    )


def version(sdk):
    if sdk.node:
        return json.loads((HERE / "package.json").read_text())["dependencies"][sdk.package]
    return importlib.metadata.version(sdk.package)


def table(rows):
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def judge(gateway, application, node, providers, rows, wrong):
    """Checks every library and adds its row to the table's; returns how much was delivered."""
    delivered = 0
    for provider in providers:
        for sdk in provider.sdks:
            name = f"{sdk.package} {version(sdk)}" + (" (node)" if sdk.node else " (python)")
            check = Check(gateway, application, node, provider, sdk)
            cells = check.run(wrong)
            delivered += check.delivered
            rows.append([provider.preset, name, *cells])
    return delivered


def main(out, *names):
    # Also when time is up what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))
    binary = os.environ["ONCEGATE_BIN"]
    there = presets(binary)
    providers = [it for it in PROVIDERS if it.preset in there and it.preset in (names or there)]
    wrong, said, delivered, examined = [], "", 0, 0
    with tempfile.TemporaryDirectory(prefix="run-", dir=out) as folder:
        application = Application()
        node = Node(Path(out) / "node", Path(folder) / "refused.log")
        rows = []
        try:
            gateway = Gateway(binary, Path(folder), providers, application, PUBLIC_URL)
            try:
                delivered = judge(gateway, application, node, providers, rows, wrong)
                if "github" in [it.preset for it in providers]:
                    examined, said = examples(gateway, application, node)
            except Wrong as why:
                wrong.append(f"github's examples: {why}")
            finally:
                if not gateway.stop():
                    wrong.append("the gateway did not stop in order")
                # Nothing came late, or of what was refused.
                due = delivered + examined
                if not wrong and len(application.had) != due:
                    wrong.append(f"{due} events, {len(application.had)} deliveries")
                if wrong:
                    wrong.append(f"the gateway's log ends:\n{gateway.tail()}")
        finally:
            node.stop()
            application.stop()

    heads = ["provider", "library", "sdk->oncegate", "oncegate->sdk"]
    heads += ["tampered refused by both", "stale refused by both", "other secret refused by both"]
    absent = [it for it in REQUIRED if it not in there]
    table([heads, *rows, *([it, "not in this build", *[""] * 5] for it in absent if not names)])
    checked = {row[0] for row in rows} - {row[0] for row in rows if "FAILED" in row}
    libraries = sum("FAILED" not in row for row in rows)
    print(f"\n{libraries} libraries of {len(checked)} providers agree with oncegate")
    print(said)
    if not names:
        if len(checked) < FEWEST:
            wrong.append(f"{len(checked)} providers were checked, {FEWEST} are the fewest")
        if absent and os.environ.get("CI"):
            wrong.append(f"not in this build: {', '.join(absent)}")
    for why in wrong:
        print(f"WRONG: {why}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
