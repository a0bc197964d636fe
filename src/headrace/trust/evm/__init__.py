"""The embedded ledger's process: an Ethereum virtual machine, and the log of signed transactions it is a function of.

The log is the truth and is on the disk before anything is answered; what the machine keeps is worked out from it, and can be
worked out again.
"""

import sys

LIMIT = sys.getrecursionlimit()
"""As it was before py-evm raised it at its import: with 10,240 a deeply nested JSON text ends the process."""
