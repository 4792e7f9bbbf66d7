"""What can go wrong with a chain, its node or a contract.

    SealmarketError
    └── ChainError
        ├── ChainUnavailable
        │   ├── NotMined
        │   ├── AnswerTooLong
        │   ├── TooSlow
        │   ├── RateLimited
        │   ├── NodeRefused
        │   ├── AccessDenied
        │   └── NotAnEndpoint
        ├── NodeDistrusted
        │   ├── WrongChain
        │   ├── LogsMissing
        │   └── BlockGone
        ├── RpcRefused
        ├── EndpointsRefused
        ├── AbiMismatch
        ├── Reverted
        ├── DevelopmentKeyRefused
        └── DeploymentFailed

Only :class:`ChainUnavailable` is worth waiting for.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealmarket_enclave.protocol.errors import SealmarketError


class ChainError(SealmarketError):
    """The chain could not be read, or a transaction was not made."""


class ChainUnavailable(ChainError):
    """The node gives no answer, or asks to be called later."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"the chain at {url} does not answer: {detail}",
            remedy="check that the node runs and that the URL is right; nothing is lost by trying again",
        )
        self.url, self.detail = url, detail


class NotMined(ChainUnavailable):
    """A transaction was sent and is not in a block yet."""

    def __init__(self, transaction: str, seconds: float) -> None:
        ChainError.__init__(
            self,
            f"transaction {transaction} is not in a block after {seconds:g} seconds",
            remedy="it may still be mined: look it up before sending anything again",
        )
        self.transaction, self.seconds = transaction, seconds


class AnswerTooLong(ChainUnavailable):
    """The answer has more bytes than are read; fewer blocks at a time give less."""

    def __init__(self, url: str, limit: int) -> None:
        ChainError.__init__(
            self, f"the chain at {url} answers with more than {limit} bytes", remedy="ask for fewer blocks at a time"
        )
        self.url, self.limit = url, limit


class TooSlow(ChainUnavailable):
    """The answer was not complete in time; fewer blocks at a time may be."""


class RateLimited(ChainUnavailable):
    """The node asks its callers to come later. ``wait`` is for how many seconds, 0 where it does not say."""

    def __init__(self, url: str, detail: str, wait: float = 0.0) -> None:
        super().__init__(url, detail)
        self.remedy = "wait, ask less often, or name another endpoint beside this one"
        self.wait = wait


class NodeRefused(ChainUnavailable):
    """A refusal that does not say whether it is for good: an HTTP error, or a code that is no number."""


class AccessDenied(ChainUnavailable):
    """The node wants a key, or another one."""

    def __init__(self, url: str, detail: str) -> None:
        ChainError.__init__(
            self,
            f"the chain at {url} refuses access: {detail}",
            remedy="check the key in the URL, or in the headers of the endpoints file, and what it may do",
        )
        self.url, self.detail = url, detail


class NotAnEndpoint(ChainUnavailable):
    """What answers does not speak JSON-RPC."""

    def __init__(self, url: str, detail: str) -> None:
        ChainError.__init__(
            self,
            f"what answers at {url} is no JSON-RPC endpoint: {detail}",
            remedy="check the whole URL, its path too; a login page or a proxy may stand before the node",
        )
        self.url, self.detail = url, detail


class NodeDistrusted(ChainError):
    """The node's answer contradicts itself, its earlier answers or the address book."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(
            f"the node's {what} is {found}, expected {expected}",
            remedy="use another node; this one is wrong, behind, or lying",
        )
        self.what, self.expected, self.found = what, expected, found


class WrongChain(NodeDistrusted):
    """The node follows another chain than the address book names."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__("chain id", expected, found)
        self.remedy = "give the RPC URL of the chain that the address book names"


class LogsMissing(NodeDistrusted):
    """The node keeps logs back that its own block has."""

    def __init__(self, number: int, expected: str) -> None:
        super().__init__(f"answer about the logs of block {number}", expected, "without them")
        self.remedy = "nothing was skipped; this node is behind or drops logs: try again, or use another"
        self.number = number


class BlockGone(NodeDistrusted):
    """A block that was read is no longer part of the chain."""

    def __init__(self, number: int, expected: object, found: object) -> None:
        super().__init__(f"block {number}", expected, found)
        self.remedy = "the chain was reorganised; read again at its present blocks"


class RpcRefused(ChainError):
    """The node answers a request with an error."""

    def __init__(self, method: str, code: int, detail: str, data: object = None) -> None:
        super().__init__(f"the node refused {method}: {detail}", remedy="read what the node says")
        self.method, self.code, self.detail, self.data = method, code, detail, data


class EndpointsRefused(ChainError):
    """What names the chain's nodes cannot be used."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the chain's endpoints cannot be used: {detail}",
            remedy="give a URL, several with commas between them, or a TOML file of [[endpoint]] tables",
        )
        self.detail = detail


class AbiMismatch(ChainError):
    """Contract and library disagree about a shape."""

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(
            f"{where}: {detail}",
            remedy="the contracts and this library are of different releases: run scripts/export_abi, or update",
        )


class Reverted(ChainError):
    """A contract refused; the message is its custom error as a sentence."""

    def __init__(self, name: str, arguments: Mapping[str, object], sentence: str, remedy: str) -> None:
        super().__init__(sentence, remedy=remedy)
        self.name = name
        """The custom error's name, as the contract declares it."""
        self.arguments = dict(arguments)
        self.sentence = sentence


class DevelopmentKeyRefused(ChainError):
    """A publicly known key, on a chain that the caller did not start."""

    def __init__(self, account: str) -> None:
        super().__init__(
            f"{account} is a publicly known development key, and this chain was not started by us",
            remedy="use a key of your own: anyone can take what this account holds",
        )
        self.account = account


class DeploymentFailed(ChainError):
    """A deployment stopped at one of its steps."""

    def __init__(self, step: str, detail: str, remedy: str) -> None:
        super().__init__(f"deployment stopped at {step}: {detail}", remedy=remedy)
        self.step, self.detail = step, detail
