"""A keystore in OpenBao or Vault, for services on many machines; needs the extra ``openbao``."""
