"""What the oracle runs on: a gateway, an application that records, and Node's libraries.

Everything is on loopback, every wait is bounded, and what was started is stopped.
"""

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# One answer: far longer than any should take.
PATIENCE = 20


@dataclass(frozen=True)
class Request:
    """A webhook. The names of headers are in lower case, `url` is what the provider calls."""

    url: str
    headers: dict
    body: str

    def having(self, headers):
        return Request(self.url, {**self.headers, **headers}, self.body)

    def saying(self, body):
        return Request(self.url, self.headers, body)


@dataclass(frozen=True)
class Answer:
    status: int
    outcome: str
    body: str


class Application:
    """Answers 200 and remembers the headers and the body of all that it was given."""

    def __init__(self):
        self.had = []
        self.changed = threading.Condition()
        application = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with application.changed:
                    application.had.append((self.headers, body.decode()))
                    application.changed.notify_all()
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def given(self, source):
        """What came from `source`."""
        with self.changed:
            return [it for it in self.had if it[0]["oncegate-source"] == source]

    def waits_for(self, source, count, seconds=PATIENCE):
        """Whether `count` came from `source` in time."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.given(source)) >= count, seconds)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    """The binary with one source for each of `providers`."""

    def __init__(self, binary, folder, providers, application, public_url):
        self.binary, self.folder, self.public_url = binary, folder, public_url
        self.listen, self.admin = free_ports(2)
        self.config = folder / "config.toml"
        self.config.write_text(self.settings(providers, application.url))
        self.secrets = {variable(it.preset): it.public(it.secret) for it in providers}
        self.log = open(folder / "oncegate.log", "wb")
        self.process = subprocess.Popen(
            [binary, "serve", "--config", self.config],
            env={**os.environ, **self.secrets},
            stdout=self.log,
            stderr=self.log,
        )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def settings(self, providers, target):
        lines = ["[server]", f'listen = "127.0.0.1:{self.listen}"']
        lines += [f'admin = "127.0.0.1:{self.admin}"', 'drain = "10s"']
        if any(it.covers_url for it in providers):
            lines += [f'public_url = "{self.public_url}"']
        lines += ["[storage]", f'path = "{self.folder / "oncegate.redb"}"']
        lines += ['cache = "64MiB"', 'reserve = "64MiB"']
        for it in providers:
            named = f', id = "{it.key_id}"' if it.key_id else ""
            lines += [f"[sources.{it.preset}]", f'provider = "{it.preset}"']
            lines += [f'secrets = [{{ env = "{variable(it.preset)}"{named} }}]']
            lines += [f'target = "{target}/{it.preset}"', 'timeout = "9s"']
        return "\n".join(lines) + "\n"

    def wait_until_ready(self):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended at its start:\n{self.tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                line = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=1)
                with contextlib.closing(line):
                    line.request("GET", "/readyz")
                    if line.getresponse().status == 200:
                        return
            time.sleep(0.02)
        raise RuntimeError(f"the gateway is not ready:\n{self.tail()}")

    def url(self, source):
        return f"{self.public_url}/hooks/{source}"

    def post(self, request):
        line = http.client.HTTPConnection("127.0.0.1", self.listen, timeout=PATIENCE)
        with contextlib.closing(line):
            path = request.url.removeprefix(self.public_url)
            line.request("POST", path, request.body.encode(), request.headers)
            answer = line.getresponse()
            body = answer.read().decode(errors="replace")
            return Answer(answer.status, answer.getheader("oncegate-outcome", ""), body)

    def sign(self, provider, secret, event_id, event):
        """What `oncegate sign` makes of the event."""
        command = [self.binary, "sign", provider.preset, "--config", self.config]
        command += ["--id", event_id, "--json"]
        env = {**os.environ, **self.secrets}
        if provider.asymmetric:
            key = self.folder / f"{provider.preset}.pem"
            key.write_text(secret)
            command += ["--key", key]
        else:
            env[variable(provider.preset)] = secret
        body = self.folder / "body"
        body.write_text(event.body)
        command.insert(3, body)
        command += ["--header", f"content-type: {event.headers['content-type']}"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise RuntimeError(f"oncegate sign failed: {done.stderr.strip()}")
        made = json.loads(done.stdout)
        headers = {name.lower(): value for name, value in made["headers"].items()}
        return Request(self.url(provider.preset), headers, made["body"])

    def tail(self):
        return (self.folder / "oncegate.log").read_text(errors="replace")[-3000:]

    def stop(self):
        """Ends it as a service manager would; returns whether it went well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
            return False
        finally:
            self.log.close()


class Node:
    """The process in which Node's libraries are: a line of JSON for each question and answer."""

    def __init__(self, folder, log):
        # Why a library refuses.
        self.said = open(log, "w")
        self.process = subprocess.Popen(
            ["node", "sdk.mjs"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
        )
        self.answers = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()
        line = self.answers.get(timeout=PATIENCE)
        if line is None:
            raise RuntimeError("the process of Node's libraries ended")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["done"]

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.said.close()


def presets(binary):
    """The presets that are in the binary."""
    told = subprocess.check_output([binary, "providers", "--json"], timeout=PATIENCE)
    return {it["name"] for it in json.loads(told)["providers"]}


def variable(preset):
    return "ORACLE_" + preset.upper().replace("-", "_")


def free_ports(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for it in sockets:
            it.bind(("127.0.0.1", 0))
        return [it.getsockname()[1] for it in sockets]
