// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Asset} from "./Asset.sol";

/// A model: its recipe when it is registered, its result once when it has been trained.
contract Model is Asset {
    /// SHA-256 of the result; zero: none yet.
    bytes32 public resultDigest;

    event Recorded(bytes32 indexed digest, bytes result);

    error AlreadyRecorded();

    constructor(bytes memory claim) Asset(claim) {}

    function record(bytes calldata result) external onlyOwner {
        if (resultDigest != 0) revert AlreadyRecorded();
        resultDigest = sha256(result);
        emit Recorded(resultDigest, result);
    }
}
