"""Stops what is idle and deletes users who are, request by request as jupyterhub-idle-culler 2 does.

Usage: culler.py HUB_API_URL IDLE_SECONDS      (the token is in JUPYTERHUB_API_TOKEN)
"""

import json
import os
import sys
from datetime import datetime, timezone
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TOKEN = os.environ["JUPYTERHUB_API_TOKEN"]


def send(method, url, body=None, accept=None):
    headers = {"Authorization": f"token {TOKEN}"}
    if accept:
        headers["Accept"] = accept
    data = None if body is None else json.dumps(body).encode("utf8")
    try:
        with urlopen(Request(url, data=data, headers=headers, method=method), timeout=60) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except HTTPError as error:
        return error.code, None


def pages(url):
    while url:
        status, page = send("GET", url, accept="application/jupyterhub-pagination+json")
        assert status == 200, (status, url)
        yield from page["items"]
        following = page["_pagination"]["next"]
        url = following["url"] if following else None


def age(time):
    then = datetime.fromisoformat(time.replace("Z", "+00:00"))
    return (datetime.now(timezone.utc) - then).total_seconds()


def idle(user, server, limit):
    if server["pending"]:
        return False
    since = server["last_activity"] or server["started"]
    return bool(server["url"] and server["ready"] and since and age(since) >= limit)


def main():
    url, limit = sys.argv[1].rstrip("/"), float(sys.argv[2])
    status, root = send("GET", f"{url}/")
    version = tuple(int(part) for part in root["version"].split(".")[:2])
    assert status == 200 and version >= (1, 3), root
    stopped, deleted = [], []
    for user in pages(f"{url}/users?state=ready"):
        for name, server in user["servers"].items():
            if not idle(user, server, limit):
                continue
            path = f"/users/{user['name']}/" + (f"servers/{name}" if name else "server")
            body = {"remove": True} if name else None
            stopped.append([user["name"], name, send("DELETE", url + path, body)[0]])
    for user in pages(f"{url}/users?state=inactive"):
        since = user["last_activity"] or user.get("created")
        if user["admin"] or since is None or age(since) < limit:
            continue
        deleted.append([user["name"], send("DELETE", f"{url}/users/{user['name']}")[0]])
    print(json.dumps({"stopped": stopped, "deleted": deleted}))


main()
