"""A service that logs people in with JupyterHub's own classes and tells them what it knows about them."""

import json
import os
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler, authenticated

prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class WhoAmI(HubOAuthenticated, RequestHandler):
    @authenticated
    def get(self):
        self.write(self.get_current_user())


class Reports(HubOAuthenticated, RequestHandler):
    """Not for everybody who may open the service."""

    hub_scopes = {"custom:reports:read"}

    @authenticated
    def get(self):
        self.write({"reports": []})


class People(HubOAuthenticated, RequestHandler):
    """What the hub tells the service itself, by the service's own token."""

    @authenticated
    def get(self):
        request = Request(
            os.environ["JUPYTERHUB_API_URL"] + "/users",
            headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]},
        )
        with urlopen(request) as answer:
            self.write({"people": [user["name"] for user in json.load(answer)]})


if __name__ == "__main__":
    app = Application(
        [
            (prefix, WhoAmI),
            (prefix + "reports", Reports),
            (prefix + "people", People),
            (prefix + "oauth_callback", HubOAuthCallbackHandler),
        ],
        cookie_secret=os.urandom(32),
    )
    url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    app.listen(url.port, url.hostname)
    IOLoop.current().start()
