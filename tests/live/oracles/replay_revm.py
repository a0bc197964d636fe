"""Feeds a ledger's transactions to revm: ``python replay_revm.py FILE``. Prints what its contracts answer, as JSON.

The file has ``sent``: [sender, receiver or null, data, nonce, contract, block, time] in order, and ``asked``: [contract, calldata].
"""

import json
import sys
from pathlib import Path

import pyrevm

NOBODY = "0x" + "00" * 20

given = json.loads(Path(sys.argv[1]).read_text())
evm = pyrevm.EVM()
for sender, to, data, nonce, contract, block, time in given["sent"]:
    evm.set_block_env(pyrevm.BlockEnv(number=block, timestamp=time))
    evm.insert_account_info(sender, pyrevm.AccountInfo(nonce=nonce))
    if to is None:
        made = evm.deploy(sender, bytes.fromhex(data))
        if made.lower() != contract.lower():
            sys.exit(f"{made} was made, and not {contract}")
    else:
        evm.message_call(sender, to, bytes.fromhex(data))
print(json.dumps([evm.message_call(NOBODY, contract, bytes.fromhex(data)).hex() for contract, data in given["asked"]]))
