"""`python -m tests.docs` lists the commands of the pages and where each is run."""

from tests.docs.pages import commands_of, pages
from tests.docs.places import place_of, reason_of

for page in pages():
    for command in commands_of(page):
        print(f"{command}\n    {place_of(command) or f'not run: {reason_of(command)}'}")
