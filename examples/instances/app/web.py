"""Answers over HTTP with the number of this instance, on the socket that all of
them share."""

import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"instance %s\n" % sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("", 0), Answer, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
# Another one may have taken the connection that woke this one.
server.socket.setblocking(False)
server.timeout = 0.5
stopping = False


def stop(*_):
    global stopping
    stopping = True


# Who is connected is answered; who is not waits for the next process.
signal.signal(signal.SIGTERM, stop)
while not stopping:
    server.handle_request()
