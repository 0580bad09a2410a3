"""Publish an event to modelog with nothing but the standard library.

Safe to repeat: an event is known by its source and id, so whatever was sent
before, sending it again gives the first answer. Copy the function, or run
    python3 publish.py URL SOURCE ID TYPE SUBJECT DATA
"""
import http.client
import json
import sys
import time
import urllib.error
import urllib.request


def publish(url, source, id, type, subject, data, actor="", attempts=5, timeout=15):
    """Give (sequence, event) of the event that it became; event is None if it was so already.

    Raises ValueError with the registry's problem when it is refused, and OSError
    when the registry could not be reached in all attempts.
    """
    body = json.dumps({
        "specversion": "1.0", "id": id, "source": source, "type": type, "subject": subject,
        "datacontenttype": "application/json", "data": data,
    }).encode()
    headers = {"Content-Type": "application/cloudevents+json"}
    if actor:
        headers["Modelog-Actor"] = actor
    request = urllib.request.Request(url.rstrip("/") + "/v1/events", body, headers)
    for attempt in range(attempts):
        wait = min(2 ** attempt, 30)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                event = json.load(answer)
                sequence = int(answer.headers["Modelog-Sequence"])
                return sequence, event if "specversion" in event else None
        except urllib.error.HTTPError as error:  # 429 and 5xx may go better later
            if error.code != 429 and error.code < 500:
                raise ValueError(error.read().decode()) from None
            after = error.headers.get("Retry-After", "")  # seconds, or a date, which is not for us
            wait = int(after) if after.isdigit() else wait
            failure = error
        except (OSError, http.client.HTTPException) as error:  # the latter for an answer cut short
            failure = error
        if attempt + 1 < attempts:
            time.sleep(wait)
    raise OSError(f"{url} can't be reached: {failure}")


if __name__ == "__main__":
    *where, content = sys.argv[1:]
    print(json.dumps(publish(*where, json.loads(content))))
