"""A service without pages: everybody reads the notice, and who may write one is known by a token of the hub."""

import os
from urllib.parse import urlparse

from jupyterhub.services.auth import HubAuthenticated
from tornado.escape import json_decode
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler, authenticated

notice = {"text": "", "by": None}


class Notice(HubAuthenticated, RequestHandler):
    hub_scopes = {"custom:notice:write"}

    def check_xsrf_cookie(self):
        """Tokens come in headers, which no other site can send."""

    def get(self):
        self.write(notice)

    @authenticated
    def post(self):
        notice.update(text=json_decode(self.request.body)["text"], by=self.current_user["name"])
        self.write(notice)


if __name__ == "__main__":
    app = Application([(os.environ["JUPYTERHUB_SERVICE_PREFIX"], Notice)])
    url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    app.listen(url.port, url.hostname)
    IOLoop.current().start()
