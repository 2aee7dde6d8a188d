"""Lists all users through the REST API, page by page, with nothing but the standard library.

Usage: users.py HUB_URL PAGE_SIZE      (the token is in JUPYTERHUB_API_TOKEN)
"""

import json
import os
import sys
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def fetch(url):
    headers = {
        "Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"],
        "Accept": "application/jupyterhub-pagination+json",
    }
    with urlopen(Request(url, headers=headers), timeout=60) as answer:
        return json.load(answer)


def main():
    api, limit = sys.argv[1].rstrip("/") + "/hub/api", sys.argv[2]
    names, pages, url = [], 0, f"{api}/users?" + urlencode({"limit": limit})
    while url:
        page = fetch(url)
        names += [user["name"] for user in page["items"]]
        pages += 1
        following = page["_pagination"]["next"]
        url = following and following["url"]
    print(json.dumps({"names": names, "pages": pages, "total": page["_pagination"]["total"]}))


main()
