"""A chain of one operator: py-evm with the rules of Berlin, no proof of work, gas for nothing.

A block is a function of the one before, its time and its transactions: made again, it has the same hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rlp
from eth.abc import BlockHeaderAPI, ComputationAPI, LogAPI
from eth.chains.base import Chain
from eth.consensus.context import ConsensusContext
from eth.consensus.noproof import NoProofConsensus
from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS
from eth.exceptions import CanonicalHeadNotFound
from eth.rlp.headers import BlockHeader
from eth.vm.forks.berlin import BerlinVM
from eth_typing import BlockNumber
from eth_utils.exceptions import ValidationError

from headrace.errors import CorruptState
from headrace.trust.evm.store import Store
from headrace.trust.transactions import checksum, raw_address

GAS = 2**40
"""Of a block: no bound of ours."""
DIFFICULTY = 1


class Refused(Exception):
    """A transaction came to nothing. `index`: which; `output`: what the contract said."""

    def __init__(self, index: int, output: bytes) -> None:
        super().__init__(f"transaction {index} was refused")
        self.index, self.output = index, output


@dataclass(frozen=True, slots=True)
class Block:
    """What was made."""

    number: int
    hash: str
    time: int
    contracts: list[str]
    """That each transaction made or called."""


class _Rules(BerlinVM):
    """Berlin; blocks may have the time of the one before (several a second), and reward nobody."""

    consensus_class = NoProofConsensus

    @staticmethod
    def compute_difficulty(parent: BlockHeaderAPI, timestamp: int) -> int:
        return DIFFICULTY

    @staticmethod
    def create_header_from_parent(parent: BlockHeaderAPI, **given: Any) -> BlockHeader:  # type: ignore[override]
        return BlockHeader(
            difficulty=DIFFICULTY,
            block_number=parent.block_number + 1,
            gas_limit=GAS,
            timestamp=given.get("timestamp", parent.timestamp),
            parent_hash=parent.hash,
            state_root=parent.state_root,
            coinbase=ZERO_ADDRESS,
        )

    @classmethod
    def validate_header(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        if header.block_number != parent_header.block_number + 1 or header.timestamp < parent_header.timestamp:
            raise ValidationError("a block out of order")

    @staticmethod
    def get_block_reward() -> int:
        return 0


def genesis(extra: bytes, time: int) -> bytes:
    """The header of a first block, as RLP.

    Args:
        extra: 32 bytes that belong into it.
        time: seconds since the epoch.
    """
    header = BlockHeader(
        difficulty=DIFFICULTY,
        block_number=0,
        gas_limit=GAS,
        timestamp=time,
        extra_data=extra,
        state_root=BLANK_ROOT_HASH,
    )
    return _encoded(header)


class Machine:
    """The chain over a store, made from its first header if the store is new."""

    def __init__(self, store: Store, chain: int, first: bytes) -> None:
        rules = {"chain_id": chain, "vm_configuration": ((0, _Rules),), "consensus_context_class": ConsensusContext}
        self._kind: type[Chain] = type("EmbeddedChain", (Chain,), rules)
        self._store = store
        try:
            self._chain: Any = self._kind(store)
            self._chain.get_canonical_head()
            found = _encoded(self._chain.get_canonical_block_header_by_number(BlockNumber(0)))
        except CanonicalHeadNotFound:
            self._chain = self._kind.from_genesis_header(store, _decoded(first))
            store.keep()
            found = first
        if found != first:
            raise CorruptState(detail="the chain's data are of another genesis block")

    def head(self) -> tuple[int, str]:
        """Number and hash of the last block."""
        header = self._chain.get_canonical_head()
        return header.block_number, f"0x{header.hash.hex()}"

    def nonce(self, address: str) -> int:
        """How many transactions the account has sent."""
        return int(self._chain.get_vm().state.get_nonce(raw_address(address)))

    def mine(self, raws: Sequence[bytes], time: int) -> Block:
        """A block of these signed transactions, not on the disk yet: `keep` or `drop` it.

        Raises Refused: nothing was done.
        """
        try:
            return self._mine(raws, time)
        except BaseException:
            self.drop()
            raise

    def _mine(self, raws: Sequence[bytes], time: int) -> Block:
        parent = self._chain.get_canonical_head()
        header: Any = self._chain.create_header_from_parent(parent, timestamp=max(time, parent.timestamp))
        vm = self._chain.get_vm(header)
        transactions, receipts, contracts = [], [], []
        for index, raw in enumerate(raws):
            transaction = vm.get_transaction_builder().decode(raw)
            receipt, done = vm.apply_transaction(header, transaction)
            if done.is_error:
                raise Refused(index, done.output)
            header = vm.add_receipt_to_header(header, receipt)
            transactions.append(transaction)
            receipts.append(receipt)
            contracts.append(checksum(transaction.to or done.msg.storage_address))
        block = vm.set_block_transactions_and_withdrawals(vm.get_block(), header, transactions, receipts)
        made = vm.mine_block(block).block
        self._chain.persist_block(made, perform_validation=True)
        return Block(made.number, f"0x{made.hash.hex()}", made.header.timestamp, contracts)

    def keep(self) -> None:
        """The block is in the log."""
        self._store.keep()

    def drop(self) -> None:
        """The block never was."""
        self._store.drop()
        self._chain = self._kind(self._store)  # it remembers what it has read and written

    def logs(self, transaction: bytes) -> tuple[int, str, Sequence[LogAPI]]:
        """Block number, block hash and events of a transaction (hash)."""
        number, index = self._chain.chaindb.get_transaction_index(transaction)
        header = self._chain.get_canonical_block_header_by_number(number)
        vm = self._chain.get_vm(header)
        receipt = self._chain.chaindb.get_receipt_by_index(number, index, vm.get_receipt_builder())
        return number, f"0x{header.hash.hex()}", receipt.logs

    def call(self, address: str, data: bytes) -> bytes:
        """What a contract answers; nothing is changed."""
        vm = self._chain.get_vm()
        to = raw_address(address)
        done: ComputationAPI = vm.execute_bytecode(
            origin=ZERO_ADDRESS,
            gas_price=0,
            gas=GAS,
            to=to,
            sender=ZERO_ADDRESS,
            value=0,
            data=data,
            code=vm.state.get_code(to),
        )
        if done.is_error:
            raise CorruptState(detail=f"the contract {address} does not answer")
        return done.output


def _encoded(header: BlockHeaderAPI) -> bytes:
    return bytes(rlp.encode(header))


def _decoded(data: bytes) -> BlockHeader:
    return rlp.decode(data, BlockHeader)  # type: ignore[no-any-return]
