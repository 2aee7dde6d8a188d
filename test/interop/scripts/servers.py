"""Starts a server through the REST API, follows its start, talks about it, stops it.

Usage: servers.py HUB_URL USER [SERVER]      (the token is in JUPYTERHUB_API_TOKEN)

Written as scripts for JupyterHub are: with requests, and with nothing that only this hub has.
"""

import json
import os
import sys
import time

import requests


def make_session(token):
    session = requests.Session()
    session.headers = {"Authorization": f"token {token}"}
    return session


def event_stream(session, url):
    """The events of a progress stream, until it ends."""
    with session.get(url, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            text = line.decode("utf8", "replace")
            if text.startswith("data:"):
                yield json.loads(text.split(":", 1)[1])


def start(session, hub, user, server):
    answer = session.post(f"{hub}/hub/api/users/{user}/servers/{server}", timeout=60)
    answer.raise_for_status()
    if answer.status_code == 201:
        return {"status": 201, "events": []}
    assert answer.status_code == 202, answer.status_code
    model = session.get(f"{hub}/hub/api/users/{user}", timeout=60).json()
    progress_url = hub + model["servers"][server]["progress_url"]
    events = list(event_stream(session, progress_url))
    if not events[-1].get("ready"):
        raise RuntimeError(f"the start failed: {events[-1]}")
    return {"status": 202, "events": events}


def stop(session, hub, user, server):
    url = f"{hub}/hub/api/users/{user}"
    answer = session.delete(f"{url}/servers/{server}", timeout=60)
    assert answer.status_code in (202, 204), answer.status_code
    deadline = time.monotonic() + 60
    while server in session.get(url, timeout=60).json()["servers"]:
        assert time.monotonic() < deadline, "the server does not stop"
        time.sleep(0.2)
    return answer.status_code


def main():
    hub, user, server = (sys.argv[1].rstrip("/"), sys.argv[2], (sys.argv[3:] or [""])[0])
    session = make_session(os.environ["JUPYTERHUB_API_TOKEN"])
    started = start(session, hub, user, server)
    model = session.get(f"{hub}/hub/api/users/{user}", timeout=60).json()["servers"][server]
    page = session.get(hub + model["url"], timeout=60, allow_redirects=False)
    stopped = stop(session, hub, user, server)
    print(json.dumps({"start": started, "model": model, "page": page.status_code, "stop": stopped}))


main()
