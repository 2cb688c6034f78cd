"""Captions cameras with any model that sees pictures and has OpenAI's chat API.

    pip install cvfeeder
    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1    # vLLM, llama.cpp, Ollama, OpenAI, …
    export OPENAI_MODEL=qwen2.5-vl
    export OPENAI_API_KEY=…                            # if the endpoint wants one
    python caption.py --subject 'cvf.t.*.snapshot'

It needs encoded pictures, which an output of cvfeeder's config has:

    outputs:
      snapshot: {preset: none, encode: jpeg, size: 768x432, fit: letterbox}

While the model is busy, older pictures are skipped. An endpoint that fails is told of, and asked
again with the next picture.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request

import cvfeeder

TIMEOUT = 120  # seconds for an answer
QUESTION = "Describe in one sentence what this camera sees."


class Captioner:
    """Asks a model about pictures."""

    def __init__(self, base_url: str, model: str, api_key: str, question: str = QUESTION) -> None:
        """Ask at the base URL of an OpenAI-compatible endpoint, which ends with /v1 as a rule."""
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._model, self._question = model, question
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def caption(self, t: cvfeeder.Tensor) -> str:
        """Return what the model says of an encoded picture; raise OSError or ValueError."""
        text = {"type": "text", "text": self._question}
        request = {
            "model": self._model,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": [text, t.to_image_url()]}],
        }
        body = json.dumps(request).encode()
        call = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 - as configured
        with urllib.request.urlopen(call, timeout=TIMEOUT) as answer:  # noqa: S310
            reply = json.load(answer)
        try:
            return str(reply["choices"][0]["message"]["content"]).strip()
        except (KeyError, IndexError, TypeError) as err:
            raise ValueError(f"no caption in {json.dumps(reply)[:200]}") from err


def main() -> None:
    """Read pictures, print captions."""
    parser = argparse.ArgumentParser(description="captions cameras with a model that sees")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--subject", default="cvf.t.*.snapshot")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--count", type=int, default=0, help="captions to print; 0 goes on")
    args = parser.parse_args()
    missing = [name for name in ("OPENAI_BASE_URL", "OPENAI_MODEL") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)} in the environment")
    captioner = Captioner(
        os.environ["OPENAI_BASE_URL"],
        os.environ["OPENAI_MODEL"],
        os.environ.get("OPENAI_API_KEY", ""),
        args.question,
    )
    captions = 0
    for t in cvfeeder.subscribe(args.subject, servers=args.nats, newest=True):
        try:
            caption = captioner.caption(t)
        except urllib.error.HTTPError as err:
            print(f"{t.stream}: {err}: {err.read(200).decode(errors='replace')}", file=sys.stderr)
            continue
        except (OSError, ValueError) as err:
            print(f"{t.stream}: {err}", file=sys.stderr)
            continue
        print(f"{t.time:%H:%M:%S} {t.stream}: {caption}", flush=True)
        captions += 1
        if captions == args.count:
            break


if __name__ == "__main__":
    main()
