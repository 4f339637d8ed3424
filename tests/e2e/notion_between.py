# SPDX-License-Identifier: Apache-2.0
"""Something between a client and the simulator that tells lies: proxies, gateways and captive portals
do. What it does not lie about it hands on."""
import http.client
import http.server
import json
import socket
import threading


def error(status, code):
    return status, {"object": "error", "status": status, "code": code, "message": "so it says",
                    "request_id": "r"}


class Between:
    """Listens from its making on. `lies` maps the beginning of "METHOD PATH" to a function of the
    true answer's JSON and the question's text, which gives (status, body), or None: no answer ever.
    `told`: how often."""

    def __init__(self, sim):
        self.lies, self.told = {}, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                outer.handle(self, sim)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, request, sim):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0)) or None
        kept = {name: request.headers[name] for name in
                ("Authorization", "Notion-Version", "Content-Type") if name in request.headers}
        connection = http.client.HTTPConnection(sim.address, timeout=60)
        connection.request(request.command, request.path, body, kept)
        answer = connection.getresponse()
        status, sent = answer.status, answer.read()
        connection.close()
        place = f"{request.command} {request.path}"
        for beginning, lie in list(self.lies.items()):
            if place.startswith(beginning):
                self.told += 1
                told = lie(json.loads(sent), (body or b"").decode())
                if told is None:
                    self.hang(request)
                    return
                status, sent = told
        self.send(request, status, sent)

    @staticmethod
    def hang(request):
        """Until the client goes."""
        request.connection.settimeout(60)
        request.close_connection = True
        try:
            request.connection.recv(1)
        except OSError:
            pass

    @staticmethod
    def send(request, status, sent):
        """Half of it, where it is a list of one."""
        cut = isinstance(sent, list)
        sent = sent[0] if cut else sent
        sent = json.dumps(sent) if isinstance(sent, dict) else sent
        sent = sent.encode() if isinstance(sent, str) else sent
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(sent)))
        request.end_headers()
        request.wfile.write(sent[:len(sent) // 2] if cut else sent)
        request.wfile.flush()
        if cut:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
