"""Counts visits in redis and says so."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

GREETING = os.environ.get("GREETING", "Hello")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "ok\n")
            return
        try:
            visits = redis.call("INCR", "shop:visits")
        except (OSError, redis.Error) as error:
            print(f"app: redis: {error}")
            self.answer(503, "the shop is closed for a moment\n")
            return
        self.answer(200, f"{GREETING}, visitor {visits}\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *arguments):
        if self.path != "/healthz":
            print("app: " + form % arguments)


class Server(ThreadingHTTPServer):
    # Requests that were taken are answered before the process ends.
    daemon_threads = False
    request_queue_size = 128


def inherited():
    """The socket that init opened for us (LISTEN_FDS), if there is one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if "http" not in names:
        return None
    return socket.socket(fileno=3 + names.index("http"))


def main():
    given = inherited()
    server = Server(("", 8000), Handler, bind_and_activate=given is None)
    if given is not None:
        server.socket.close()
        server.socket = given

    # Waited for, not handled: a handler runs in the middle of whatever the main
    # thread does, and one that starts a thread there can wait for itself.
    told = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)
    serving = threading.Thread(target=server.serve_forever, args=(0.1,))
    serving.start()
    print(f"app: serving on {'the socket of init' if given else 'port 8000'}")
    print(f"app: got {signal.Signals(signal.sigwait(told)).name[3:]}, closing")
    server.shutdown()
    serving.join()
    # Waits for the requests that were taken.
    server.server_close()
    print("app: closed")


main()
