#!/usr/bin/env python3
"""Reads the spans of a Phoenix project back and prints each trace as a tree.

    read_spans.py [PROJECT] [--url http://127.0.0.1:16006] [--json]

Shown per span: what spanloom adds or takes away (baggage values, app.agent.*, events) and what Phoenix
derives from GenAI attributes. The standard library is enough.
"""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

SHOWN = ("app.agent.", "user.id", "session.id", "gen_ai.", "llm.token_count.", "baggage")


def read(url, project):
    """All spans of the project, page by page, oldest first."""
    spans, cursor = [], None
    while True:
        query = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        path = f"/v1/projects/{urllib.parse.quote(project, safe='')}/spans"
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}") as answer:
            page = json.load(answer)
        spans += page["data"]
        cursor = page.get("next_cursor")
        if not cursor:
            return sorted(spans, key=lambda span: span["start_time"])


def show(span, children, depth):
    indent = "  " * depth
    print(f"{indent}{span['name']}  [{span['span_kind']} {span['context']['span_id']}]")
    for key, value in sorted(span["attributes"].items()):
        if key.startswith(SHOWN):
            print(f"{indent}    {key} = {json.dumps(value, ensure_ascii=False)}")
    for event in span["events"]:
        attributes = json.dumps(event.get("attributes", {}), ensure_ascii=False)
        print(f"{indent}    event {event['name']} {attributes}")
    for child in children.get(span["context"]["span_id"], []):
        show(child, children, depth + 1)


def show_traces(spans):
    traces = {}
    for span in spans:
        traces.setdefault(span["context"]["trace_id"], []).append(span)
    for trace_id, members in traces.items():
        print(f"trace {trace_id}: {len(members)} spans")
        known = {span["context"]["span_id"] for span in members}
        children = {}
        for span in members:
            children.setdefault(span["parent_id"], []).append(span)
        for span in members:
            if span["parent_id"] not in known:
                show(span, children, 1)


def main():
    parser = argparse.ArgumentParser(description="Print the spans of a Phoenix project as trees.")
    parser.add_argument("project", nargs="?", default="default")
    parser.add_argument("--url", default="http://127.0.0.1:16006")
    parser.add_argument("--json", action="store_true", help="print the spans as Phoenix returns them")
    arguments = parser.parse_args()
    try:
        spans = read(arguments.url.rstrip("/"), arguments.project)
    except urllib.error.HTTPError as error:
        print(f"Phoenix does not show project {arguments.project}: {error}", file=sys.stderr)
        return 1
    except urllib.error.URLError as error:
        print(f"Phoenix at {arguments.url} does not answer: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        json.dump(spans, sys.stdout, indent=2)
    else:
        show_traces(spans)
    print(f"{len(spans)} spans in project {arguments.project}", file=sys.stderr)
    return 0 if spans else 1


if __name__ == "__main__":
    sys.exit(main())
