"""Check a receipt offline, without capsule-core: ``python verify_receipt.py RECEIPT KEYFILE``; 0 if it holds."""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if len(sys.argv) != 3:
    sys.exit("usage: python verify_receipt.py RECEIPT KEYFILE: a receipt (.jws), and the receipts.pub of its service")
sys.excepthook = lambda kind, *_: print(f"not valid: {kind.__name__}", file=sys.stderr)
receipt, vkey = (Path(file).read_text(encoding="ascii").strip() for file in sys.argv[1:3])
name, _, public = vkey.partition("+")
key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.partition("+")[2])[1:])
header, payload, signature = parts = [base64.b64decode(part + "==", b"-_") for part in receipt.split(".")]
if ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) != receipt:
    sys.exit("not valid: not in base64url")
if json.loads(header) != {"alg": "Ed25519", "kid": name, "typ": "capsule-receipt+jws"}:
    sys.exit("not valid: not a receipt by this key")
key.verify(signature, receipt.rpartition(".")[0].encode())
told = json.loads(payload)
if told["v"] != 1 or told["statement"]["v"] != 1:
    sys.exit("a newer version of the software wrote it: get the newer script")
said = {part: json.dumps(told[part], sort_keys=True, separators=(",", ":"), ensure_ascii=False) for part in told}
if told["leaf"]["detail"]["statement"] != hashlib.sha256(said["statement"].encode()).hexdigest():
    sys.exit("not valid: its leaf commits another statement")
note, _, signed = told["checkpoint"].partition("\n\n")
key.verify(base64.b64decode(signed.split(" ")[2])[4:], f"{note}\n".encode())  # behind 4 bytes of key id
origin, size, root = note.split("\n")
node, index, last = hashlib.sha256(b"\x00" + said["leaf"].encode()).digest(), told["index"], int(size) - 1
for sibling in map(bytes.fromhex, told["path"]):  # RFC 9162 section 2.1.3.2
    pair = sibling + node if index & 1 or index == last else node + sibling
    while index == last and index and not index & 1:
        index, last = index >> 1, last >> 1
    node, index, last = hashlib.sha256(b"\x01" + pair).digest(), index >> 1, last >> 1
if origin.partition("/")[0] != name or last or node != base64.b64decode(root):
    sys.exit("not valid: its leaf is not in the log of its checkpoint")
print(json.dumps(told["statement"], indent=2))
