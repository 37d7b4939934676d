"""Answers 204 at a unix socket to whoever sends the right header, else 302."""

import http.server
import os
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.headers.get("X-Probe") == "let me in" and self.path == "/healthz?full"
        self.send_response(204 if right and self.headers.get("Host") == "localhost" else 302)
        self.end_headers()

    def address_string(self):
        return "somebody"


class Server(socketserver.UnixStreamServer):
    request_queue_size = 16


path = sys.argv[1]
if os.path.exists(path):
    os.remove(path)
Server(path, Handler).serve_forever()
