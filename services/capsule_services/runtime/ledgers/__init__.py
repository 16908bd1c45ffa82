"""The ledger contract on the wire: every service answers it about its own two logs."""
