"""A Hub on this machine: it speaks real HTTP to the Hub's own client, for pulling and publishing.

repositories   what a Hub knows: accounts, repositories, their commits and large files
faults         what goes wrong on purpose
requests       one request: who asks for what, and how it is answered
reading        what a repository shows
writing        what changes one
server         the requests of a client, each given to the one that answers it
"""

from hub_server.faults import Fault
from hub_server.repositories import COMMIT, TOKEN, Account, Commit, Hub, Repository, sha256_of
from hub_server.server import serve

__all__ = [
    "COMMIT",
    "TOKEN",
    "Account",
    "Commit",
    "Fault",
    "Hub",
    "Repository",
    "serve",
    "sha256_of",
]
