"""What a person does after the demo: lines for their own shell, from the checkout."""

from collections.abc import Iterator

from tests.demo.clusters import Cluster
from tests.demo.follow import Status

PHOTO = "/claims/photos/bird/animals-birds-vulture.png"
PORT = 8765


def next_steps(cluster: Cluster, status: Status) -> dict[str, list[str]]:
    """Return the lines to copy, by what they are for, in an order in which they work."""
    model = str(status["output"]["uri"]).replace("pvc://", "/claims/")
    kubectl = "kubectl -n demo"
    steps = {
        "The report: copy the model's folder out of its volume, and open"
        f" http://localhost:{PORT}/report.html (Ctrl-C ends the server)": [
            f"sed 's|TRAINER_IMAGE|{cluster.trainer}|' deploy/demo/reader.yaml"
            " | kubectl apply -f -",
            f"{kubectl} wait pod reader --for=condition=Ready --timeout=2m",
            f"{kubectl} cp reader:{model} demo-model",
            f"python3.11 -m http.server --bind 127.0.0.1 --directory demo-model {PORT}",
        ],
        "A prediction for one photo": [
            f"{kubectl} exec reader -- python -m finetune_trainer predict {model} {PHOTO} --top 3",
            f"{kubectl} delete pod reader",
        ],
        "Another recipe on the same photos: MXNet's tutorial, about 3 minutes": [
            f"{kubectl} apply -f deploy/samples/tutorial.yaml",
            f"{kubectl} get finetunejobs --watch",
        ],
        "Take all down": [cluster.down],
    }
    enter = {"kubectl and helm for this shell": [cluster.enter]} if cluster.enter else {}
    return enter | steps


def written(steps: dict[str, list[str]]) -> Iterator[str]:
    """Yield the text for a terminal; a line of it can be copied without the one above."""
    for purpose, lines in steps.items():
        yield f"\n# {purpose}"
        yield from lines
