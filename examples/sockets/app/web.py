"""Answers over HTTP, on the socket that it is handed."""

import os
import signal
from http.server import BaseHTTPRequestHandler, HTTPServer

from listen import sockets


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"process %d\n" % os.getpid()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = HTTPServer(("", 0), Answer, bind_and_activate=False)
server.socket.close()
server.socket = sockets()["http"]
server.timeout = 0.5
stopping = False


def stop(*_):
    global stopping
    stopping = True


# Who is connected is answered; who is not waits for the next process.
signal.signal(signal.SIGTERM, stop)
while not stopping:
    server.handle_request()
