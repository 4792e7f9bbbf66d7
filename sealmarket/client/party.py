"""One account on one market: the only place from which owners, consumers and providers send and sign."""

from __future__ import annotations

from sealmarket.chain import IN_MEMORY, Chain, Mined, Sender, Sending
from sealmarket.chain.calls import Call
from sealmarket.client.signing import Signer, sign
from sealmarket.client.verified import VerifiedMarket
from sealmarket_enclave.protocol.codec import Address, HexBytes
from sealmarket_enclave.protocol.eip712 import TypedShape


class Party:
    """Gives value and authorisation to a verified market only, and takes back from any."""

    def __init__(
        self, chain: Chain, account: Signer, *, development: bool = False, sending: Sending = IN_MEMORY
    ) -> None:
        """``development``: the caller has started this chain, so its well-known keys may be used.

        ``sending``: where transactions are remembered, and the most that is paid for gas.
        """
        self._chain = chain
        self._account = account
        self._sender = Sender(chain, account, development=development, sending=sending)

    @property
    def address(self) -> Address:
        """The account."""
        return self._sender.address

    def require_market(self) -> None:
        """Return if value may go to this market. Raises as :meth:`VerifiedMarket.require`."""
        VerifiedMarket(self._chain).require()

    def give(self, call: Call) -> Mined:
        """Send a call that carries value or authorisation.

        Raises:
            MarketNotVerified: nothing was sent.
            ChainError: as :meth:`Sender.send`.
        """
        self.require_market()
        return self._sender.send(call)

    def give_in_order(self, *calls: Call) -> tuple[Mined, ...]:
        """Send calls that belong together, as :meth:`Sender.send_in_order`: repeated after a crash, they go on.

        Raises:
            MarketNotVerified: nothing was sent.
            ChainError: as :meth:`Sender.send`.
        """
        self.require_market()
        return self._sender.send_in_order(*calls)

    def take(self, call: Call, *, final: bool = False) -> Mined:
        """Send a call that takes back what was given: coin, stake, an order, a version.

        It carries no value, and works for a market of another release too, whose money must stay within reach.
        ``final``: wait until its block is.
        """
        return self._sender.send(call, final=final)

    def sign(self, statement: TypedShape) -> HexBytes:
        """Sign a statement of the market's domain. Raises :class:`MarketNotVerified`: nothing was signed."""
        self.require_market()
        return sign(self._account, self._chain.book, statement)
