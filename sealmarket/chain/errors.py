"""What can go wrong with a chain, its node or a contract.

    SealmarketError
    └── ChainError
        ├── ChainUnavailable
        │   ├── NotMined
        │   ├── Replaced
        │   ├── FeeAboveLimit
        │   ├── AnswerTooLong
        │   ├── TooSlow
        │   ├── RateLimited
        │   ├── NodeRefused
        │   ├── AccessDenied
        │   ├── NoProofs
        │   └── NotAnEndpoint
        ├── NodeDistrusted
        │   ├── WrongChain
        │   ├── LogsMissing
        │   └── BlockGone
        ├── RpcRefused
        │   └── SendRefused
        ├── NotEnoughCoin
        ├── OutboxUnusable
        ├── EndpointsRefused
        ├── EndpointsDisagree
        ├── TooFewAgree
        ├── AbiMismatch
        ├── Reverted
        ├── NoSessions
        ├── DevelopmentKeyRefused
        └── DeploymentFailed

Only :class:`ChainUnavailable` is worth waiting for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sealmarket_enclave.protocol.errors import SealmarketError


def look_up(transaction: object) -> str:
    """What to do about a transaction whose end is not known."""
    return (
        f"look it up before sending anything again, by eth_getTransactionReceipt or in an explorer ({transaction}); "
        "the same command goes on with it and does not pay twice"
    )


class ChainError(SealmarketError):
    """The chain could not be read, or a transaction was not made. ``transaction`` names the one that it is about."""

    transaction: str | None = None

    def about(self, transaction: object) -> None:
        """Name the transaction, for errors that come up after it was signed."""
        if self.transaction is None:
            self.transaction = str(transaction)
            self.remedy = f"{self.remedy}; transaction {transaction}" if self.remedy else f"transaction {transaction}"


class ChainUnavailable(ChainError):
    """The node gives no answer, or asks to be called later."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"the chain at {url} does not answer: {detail}",
            remedy="check that the node runs and that the URL is right; nothing is lost by trying again",
        )
        self.url, self.detail = url, detail


class NotMined(ChainUnavailable):
    """A transaction was signed and handed in, and is not in a block (or not final) yet."""

    def __init__(self, transaction: str, seconds: float, last: str = "", *, final: bool = False) -> None:
        where = "final" if final else "in a block"
        ChainError.__init__(
            self,
            f"transaction {transaction} is not {where} after {seconds:g} seconds{last and f'; {last}'}",
            remedy=f"it may still be mined: {look_up(transaction)}",
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


class NotEnoughCoin(ChainError):
    """The account cannot pay for what it was to send."""

    def __init__(self, account: str, detail: str) -> None:
        super().__init__(
            f"{account} has not enough coin for this and its gas: {detail}",
            remedy=f"have coin sent to {account}, then repeat the same command; nothing was sent",
        )
        self.account, self.detail = account, detail


class SendRefused(RpcRefused):
    """The node would not take a signed transaction, and does not know it."""

    def __init__(self, transaction: str, detail: str) -> None:
        super().__init__("eth_sendRawTransaction", 0, detail)
        self.message = f"the node would not take transaction {transaction}: {detail}"
        self.remedy = (
            "mend what the node names, then do the same again: it takes the same nonce, so it can count only once"
        )
        self.transaction = transaction


class Replaced(ChainUnavailable):
    """Another transaction of the account took the nonce, in a final block: this one can never count."""

    def __init__(self, transaction: str, nonce: int, by: object) -> None:
        ChainError.__init__(
            self,
            f"transaction {transaction} was replaced: nonce {nonce} went to {by}",
            remedy="if that was not you, another program uses this account; nothing of the replaced one happened",
        )
        self.transaction, self.nonce, self.by = transaction, nonce, by


class FeeAboveLimit(ChainUnavailable):
    """The chain asks more for gas than is allowed. Nothing was signed."""

    def __init__(self, asked: int, limit: int) -> None:
        ChainError.__init__(
            self,
            f"the chain asks {asked / 10**9:g} gwei for one gas, the limit is {limit / 10**9:g} gwei; nothing was sent",
            remedy="wait until the chain is cheaper, or allow more: --max-fee, or max_fee in a configuration",
        )
        self.asked, self.limit = asked, limit


class OutboxUnusable(ChainError):
    """The journal of sent transactions cannot be relied on. Nothing was sent."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            f"the journal of sent transactions at {path} cannot be used: {detail}",
            remedy="mend the folder's owner and mode, or restore the file; before you remove it, look up on the chain "
            "what became of the account's last transactions",
        )
        self.path, self.detail = path, detail


class EndpointsRefused(ChainError):
    """What names the chain's nodes cannot be used."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the chain's endpoints cannot be used: {detail}",
            remedy="give a URL, several with commas between them, or a TOML file of [[endpoint]] tables",
        )
        self.detail = detail


class EndpointsDisagree(ChainError):
    """Two endpoints have two blocks at a height that one of them calls final. Nothing is decided, released or paid."""

    def __init__(self, number: int, hashes: Mapping[str, object]) -> None:
        """``hashes``: what each of the two has, by its URL as it may be printed."""
        said = ", ".join(f"{url} has {found}" for url, found in hashes.items())
        super().__init__(
            f"the endpoints disagree on block {number}: {said}",
            remedy="find out which of them lies or follows another chain, and name that one no more",
        )
        self.number, self.hashes = number, dict(hashes)


class TooFewAgree(ChainError):
    """Fewer endpoints count than must agree. Nothing is decided or released."""

    def __init__(self, needed: int, found: int, alarms: Sequence[object] = ()) -> None:
        said = "".join(f"; {alarm}" for alarm in alarms)
        super().__init__(
            f"{found} endpoints of the chain can be relied on, expected {needed}{said}",
            remedy="mend or replace the endpoints that are named, and check this machine's clock",
        )
        self.needed, self.found = needed, found


class NoProofs(ChainUnavailable):
    """The endpoint gives no storage proofs, or none of that block."""

    def __init__(self, url: str, number: int, detail: str) -> None:
        ChainError.__init__(
            self,
            f"the chain at {url} gives no storage proof at block {number}: {detail}",
            remedy='name an endpoint with eth_getProof and recent states; on a chain of your own, say proofs = "none"',
        )
        self.url, self.detail = url, detail


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
        self.cost = 0
        """What its gas cost, in wei, where a block has it; 0 where it was only simulated."""


class NoSessions(ChainError):
    """The market has no contract for services."""

    def __init__(self, market: object) -> None:
        super().__init__(
            f"the address book of market {market} names no contract for services, expected `sessions`",
            remedy="use the address book of a market that was deployed with one",
        )


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
