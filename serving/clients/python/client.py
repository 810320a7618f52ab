"""Ask a uad server about one image. Python 3.8 or later, standard library only.

Run:  python client.py IMAGE OUTPUT.jpg [URL]

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
TIMEOUT_SECONDS = 60


def ask(url: str, image: bytes) -> Any:
    """Send the bytes of an image file; return the `result` object of the answer."""
    body = json.dumps({"image": base64.b64encode(image).decode("ascii")}).encode("ascii")
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
    return answer["result"]


def main() -> None:
    """Print the verdict and save the picture."""
    if len(sys.argv) not in (3, 4):
        print("usage: client.py IMAGE OUTPUT.jpg [URL]", file=sys.stderr)
        sys.exit(2)
    url = sys.argv[3] if len(sys.argv) == 4 else DEFAULT_URL
    try:
        with open(sys.argv[1], "rb") as file:
            result = ask(url, file.read())
        with open(sys.argv[2], "wb") as file:
            file.write(base64.b64decode(result["image"]))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")
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
    print("picture:", sys.argv[2])


if __name__ == "__main__":
    main()
