// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Asset} from "./Asset.sol";

/// A dataset: all of it is known when it is registered.
contract Dataset is Asset {
    constructor(bytes memory claim) Asset(claim) {}
}
