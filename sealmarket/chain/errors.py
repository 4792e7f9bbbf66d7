"""What can go wrong between us and a chain.

    SealmarketError
    └── ChainError
        ├── ChainUnavailable        nobody answers, or the answer is "later": try again
        │   ├── NotMined            a transaction was sent and is not in a block yet
        │   └── AnswerTooLong       more than a caller takes: ask for less at a time
        ├── NodeDistrusted          the node answers, and the answer contradicts itself or the address book
        │   ├── WrongChain
        │   └── BlockGone           a block that was read is no longer part of the chain
        ├── RpcRefused              the node refuses the request itself
        ├── AbiMismatch             contract and library disagree about a shape
        ├── Reverted                a contract said no, with its reason in words and what to do
        ├── DevelopmentKeyRefused   a publicly known key on a chain that we did not start
        └── DeploymentFailed

Only :class:`ChainUnavailable` is worth waiting for. The first line of each docstring is the message's pattern.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealmarket_enclave.protocol.errors import SealmarketError


class ChainError(SealmarketError):
    """Something between us and the chain was refused or did not work."""


class ChainUnavailable(ChainError):
    """the chain at {url} does not answer: {detail}"""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"the chain at {url} does not answer: {detail}",
            remedy="check that the node runs and that the URL is right; nothing is lost by trying again",
        )
        self.url, self.detail = url, detail


class NotMined(ChainUnavailable):
    """transaction {transaction} is not in a block after {seconds} seconds"""

    def __init__(self, transaction: str, seconds: float) -> None:
        ChainError.__init__(
            self,
            f"transaction {transaction} is not in a block after {seconds:g} seconds",
            remedy="it may still be mined: look it up before sending anything again",
        )
        self.transaction, self.seconds = transaction, seconds


class AnswerTooLong(ChainUnavailable):
    """the chain at {url} answers with more than {limit} bytes"""

    def __init__(self, url: str, limit: int) -> None:
        ChainError.__init__(
            self, f"the chain at {url} answers with more than {limit} bytes", remedy="ask for fewer blocks at a time"
        )
        self.url, self.limit = url, limit


class NodeDistrusted(ChainError):
    """the node's {what} is {found}, expected {expected}"""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(
            f"the node's {what} is {found}, expected {expected}",
            remedy="use another node; this one is wrong, behind, or lying",
        )
        self.what, self.expected, self.found = what, expected, found


class WrongChain(NodeDistrusted):
    """the node's chain id is {found}, expected {expected}"""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__("chain id", expected, found)
        self.remedy = "give the RPC URL of the chain that the address book names"


class BlockGone(NodeDistrusted):
    """the node's block {number} is {found}, expected {expected}"""

    def __init__(self, number: int, expected: object, found: object) -> None:
        super().__init__(f"block {number}", expected, found)
        self.remedy = "the chain was reorganised; read again at its present blocks"


class RpcRefused(ChainError):
    """the node refused {method}: {detail}"""

    def __init__(self, method: str, code: int, detail: str, data: object = None) -> None:
        super().__init__(f"the node refused {method}: {detail}", remedy="read what the node says")
        self.method, self.code, self.detail, self.data = method, code, detail, data


class AbiMismatch(ChainError):
    """{where}: {detail}"""

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(
            f"{where}: {detail}",
            remedy="the contracts and this library are of different releases: run scripts/export_abi, or update",
        )


class Reverted(ChainError):
    """{sentence}"""

    def __init__(self, name: str, arguments: Mapping[str, object], sentence: str, remedy: str) -> None:
        super().__init__(sentence, remedy=remedy)
        self.name = name
        """The custom error's name, as the contract declares it."""
        self.arguments = dict(arguments)
        self.sentence = sentence


class DevelopmentKeyRefused(ChainError):
    """{account} is a publicly known development key, and this chain was not started by us"""

    def __init__(self, account: str) -> None:
        super().__init__(
            f"{account} is a publicly known development key, and this chain was not started by us",
            remedy="use a key of your own: anybody can take what this account holds",
        )
        self.account = account


class DeploymentFailed(ChainError):
    """deployment stopped at {step}: {detail}"""

    def __init__(self, step: str, detail: str, remedy: str) -> None:
        super().__init__(f"deployment stopped at {step}: {detail}", remedy=remedy)
        self.step, self.detail = step, detail
