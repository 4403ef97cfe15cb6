"""`captum-pairwise app`: a web page to try it on your own photos and sentences."""

import argparse
import threading

from captum_pairwise.commands.app_page import AppModels, serve_page

HOST, PORT = "127.0.0.1", 7860
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}


def add_app_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "Open a web page on which you drop two photos, or type two sentences, and see why they are similar. Only this computer can reach "
        "it, unless --host says otherwise. Uploads are deleted after an hour. Ctrl-C ends it. It needs the extra app."
    )
    names = "a model to offer beside efficientnet_lite0 and minilm: resnet50=weights.pth, or module:function; can be repeated"
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help=names)
    parser.add_argument(
        "--host", default=HOST, metavar="ADDRESS", help=f"address to listen on (default {HOST}; 0.0.0.0 is the whole network)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"port (default {PORT})")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.set_defaults(run=run_app)


def run_app(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    with serve_page(AppModels(options.model), options.host, options.port, options.open) as address:
        print(f"Open {address} in a browser. Ctrl-C ends it.", flush=True)
        if options.host not in LOCAL_HOSTS:
            print("Other computers in your network can use it.", flush=True)
        threading.Event().wait()
    return 0
