"""How late an event loop answers: asks a port for /healthz some times a second, and prints the
milliseconds of each answer. A process of its own: the bench is busy itself.

    python -m bench.scale.lag PORT
"""

import http.client
import sys
import time

INTERVAL_SECONDS = 0.2


def main() -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    while True:
        begin = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        print(1000 * (time.perf_counter() - begin), flush=True)
        time.sleep(INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
