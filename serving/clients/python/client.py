"""Ask a uad server about one image. Python 3.8 or later, standard library only.

Run:  python client.py IMAGE OUTPUT.jpg [URL]
      python client.py --feedback LOG_ID good|defective [NOTE [URL]]

If the server wants an API key, set it in the environment variable UAD_API_KEY.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

DEFAULT_URL = "http://localhost:8080/image-anomaly-detection"
FEEDBACK_URL = "http://localhost:8080/feedback"
USAGE = """usage: client.py IMAGE OUTPUT.jpg [URL]
       client.py --feedback LOG_ID good|defective [NOTE [URL]]"""
TIMEOUT_SECONDS = 60


def ask(url: str, image: bytes) -> Any:
    """Send the bytes of an image file; return the answer with its `result`."""
    return post(url, {"image": base64.b64encode(image).decode("ascii")})


def say(url: str, log_id: str, verdict: str, note: str) -> Any:
    """Say that a judged image is `good` or `defective`; return the answer with its `result`."""
    return post(url, {"logId": log_id, "verdict": verdict, "note": note})


def post(url: str, values: Any) -> Any:
    """Send `values` as JSON; return the answer."""
    body = json.dumps(values).encode("ascii")
    headers = {"Content-Type": "application/json"}
    if os.environ.get("UAD_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["UAD_API_KEY"]
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        text = error.read()  # errors come in the same envelope
    answer = json.loads(text)
    if answer["errorCode"] != 0:
        raise RuntimeError(f"{answer['errorCode']}: {answer['errorMsg']}")
    return answer


def main() -> None:
    """Ask about an image, or send feedback."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["--feedback"] and len(arguments) in (3, 4, 5):
            feedback(*arguments[1:])
        elif arguments[:1] != ["--feedback"] and len(arguments) in (2, 3):
            analyse(*arguments)
        else:
            print(USAGE, file=sys.stderr)
            sys.exit(2)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")


def feedback(log_id: str, verdict: str, note: str = "", url: str = FEEDBACK_URL) -> None:
    """Print what was recorded."""
    said = say(url, log_id, verdict, note)["result"]
    print(f"recorded: judged {said['judged']}, said {said['said']}")


def analyse(image: str, output: str, url: str = DEFAULT_URL) -> None:
    """Print the verdict and save the picture."""
    with open(image, "rb") as file:
        answer = ask(url, file.read())
    result = answer["result"]
    with open(output, "wb") as file:
        file.write(base64.b64decode(result["image"]))
    height, width = result["size"]
    # labelMap is row by row: the pixel in row y and column x is labelMap[y * width + x].
    anomalous_pixels = sum(1 for label in result["labelMap"] if label != 0)
    print("score:", result["score"])
    print("verdict:", "anomalous" if result["isAnomalous"] else "normal")
    print("size:", height, "x", width)
    print("anomalous pixels:", anomalous_pixels)
    print("regions:", len(result["regions"]) + result["regionsOmitted"])
    for number, region in enumerate(result["regions"], start=1):  # largest score first
        x, y, width, height = region["box"]
        print(f"region {number}: x {x}, y {y}, width {width}, height {height}")
    print("log id:", answer["logId"])
    print("picture:", output)


if __name__ == "__main__":
    main()
