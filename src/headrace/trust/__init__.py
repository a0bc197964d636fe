"""Trust: who somebody is (identities); later what was recorded where (ledgers) and what can be proved (provers)."""
