"""`scripts/deploy` as a person runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from sealmarket.chain import Chain, Sender
from sealmarket.chain.committees import members_hash
from sealmarket.chain.deploy import read_book
from sealmarket.cli.main import main
from sealmarket.client import create_account
from sealmarket.operate import deploy as deployment
from sealmarket.protocol.book import Committee, Member
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, HexBytes
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.integration.market import ETHER, development_account


def committee(path: Path, epoch: int = 1, first: int = 1) -> Path:
    members = tuple(
        Member(
            signer=Address(bytes([n]) * 20),
            hpke_public_key=HexBytes(PrivateKey.generate().public.raw),
            url=f"http://n{n}",
        )
        for n in range(first, first + 3)
    )
    path.write_bytes(Committee(epoch=epoch, threshold=2, members=members).canonical())
    return path


def test_a_market_is_deployed_by_one_command_and_its_cost_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file, out = tmp_path / "deployer.key", tmp_path / "market.json"
    account: LocalAccount = create_account(key_file)
    with Supervisor(tmp_path) as programs:
        rpc = chains.anvil(programs, "--block-time", "0.25").url
        words = ["--rpc", rpc, "--key-file", str(key_file), "--finality", "finalized", "--backend", "http://backend"]
        words += ["--committee", str(committee(tmp_path / "committee.json")), "--out", str(out)]
        assert deployment.main(words) == 1
        assert "insufficient funds" in capsys.readouterr().err.lower()
        assert not out.exists()
        assert deployment.main([*words, "--windows", "1,60,600,60", "--final-seconds", "30"]) == 1
        assert "the quote window is 1 s, expected 60 s (2 x 30 of finality)" in capsys.readouterr().err
        assert deployment.main([*words, "--final-seconds", "0"]) == 1
        assert "--final-seconds says 0 s" in capsys.readouterr().err
        _give(rpc, account)
        assert deployment.main([*words, "--transfer-allowance", "7", "--hold-rate", "20"]) == 0
        said = capsys.readouterr().out
        assert "gas" in said
        assert "verify_deployment" in said
        book = read_book(out)
        chain = Chain(book, rpc)
        assert book.timing == chain.at(chain.head()).timing()
        assert book.timing.transfer_allowance == 7
        assert all(chain.has_code(part) for part in (book.registry, book.committee, book.market))
        _announced_once(chain, tmp_path, ["--book", str(out), "--rpc", rpc, "--key-file", str(key_file)])
        chain.close()


def _announced_once(chain: Chain, folder: Path, words: list[str]) -> None:
    """The next committee, by command: the address book that names it is as the chain has it."""
    members = committee(folder / "committee-2.json", epoch=2, first=11)
    for name in ("market-2.json", "again.json"):
        with pytest.raises(SystemExit) as ended:
            main(["chain", "announce-epoch", str(members), "--out", str(folder / name), "--yes", *words])
        assert ended.value.code in (0, None)
    following = read_book(folder / "market-2.json")
    view = chain.at(chain.head())
    assert [one.epoch for one in following.committees] == [1, 2]
    assert view.committee_hash(2) == members_hash(following.committees[1])
    assert view.committee_hash(3) == ZERO_HASH
    assert (folder / "again.json").read_bytes() == (folder / "market-2.json").read_bytes()


def _give(rpc: str, account: LocalAccount) -> None:
    """Coin for gas, from the chain's own development account."""
    from tests.chain.node import BOOK

    chain = Chain(BOOK, rpc)
    sender = Sender(chain, development_account(0), development=True)
    sender.transfer(Address.parse(account.address.lower()), ETHER)
    chain.close()
