// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// What a dataset and a model have in common: a claim that nobody can change, and a revocation by whoever made it.
///
/// The texts stand in events (and in the calldata that made them), their SHA-256 in the contract: made here, so that no digest
/// can stand over another text.
abstract contract Asset {
    address public immutable owner;
    bytes32 public immutable claimDigest;
    /// SHA-256 of the reason; zero: not revoked.
    bytes32 public revocationDigest;

    event Claimed(bytes32 indexed digest, bytes claim);
    event Revoked(bytes32 indexed digest, bytes reason);

    error NotOwner();
    error AlreadyRevoked();

    constructor(bytes memory claim) {
        owner = msg.sender;
        claimDigest = sha256(claim);
        emit Claimed(claimDigest, claim);
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    /// This is not to be relied upon any more, for ever.
    function revoke(bytes calldata reason) external onlyOwner {
        if (revocationDigest != 0) revert AlreadyRevoked();
        revocationDigest = sha256(reason);
        emit Revoked(revocationDigest, reason);
    }
}
