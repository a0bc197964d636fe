// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// Many claims at once: the Merkle root (RFC 6962) over them. One contract for everybody.
contract Anchors {
    event Anchored(address indexed owner, bytes32 indexed root, uint64 count);

    function anchor(bytes32 root, uint64 count) external {
        emit Anchored(msg.sender, root, count);
    }
}
