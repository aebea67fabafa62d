"""Makes the committed samples from the raw files, once: python data/samples/make_samples.py RAW_FOLDER [OUT_FOLDER]

Client addresses are personal data. Each is replaced by the first 16 hex digits of HMAC-SHA-256 under a key that is drawn here and never
stored, so that nobody, the author included, can make or check the mapping again. Any other dotted IPv4 in a line (request, referer, agent)
is replaced the same way. Running this again gives other hashes: data/samples/organisations.yaml then has to be dealt anew.
The other three traces hold no personal data and are compressed as they are. Compressed files carry no time or name, so the same input
gives the same bytes.
"""

import gzip
import hashlib
import hmac
import re
import secrets
import sys
from collections import Counter
from pathlib import Path

RAW = {
    "elastic_apache_logs": ("access_log.gz", "f15c31e905f86c7b4b6ab44aee74d0a2086dce89f010187d983edea7ef0364ef"),
    "AzureLLMInferenceTrace_conv.csv": ("azure_llm_conv.csv.gz", "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8"),
    "AzureLLMInferenceTrace_code.csv": ("azure_llm_code.csv.gz", "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6"),
    "mooncake_conversation_trace.jsonl": ("mooncake_conversation.jsonl.gz", "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df"),
}
OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
ADDRESS = re.compile(rf"(?<!\d)(?:{OCTET}\.){{3}}{OCTET}(?!\d)".encode())


def without_addresses(raw: bytes, key: bytes) -> bytes:
    """Every dotted IPv4 of the log as a keyed hash; the same address gives the same hash wherever it stands."""
    lines = raw.splitlines(keepends=True)
    hashed = ADDRESS.sub(lambda found: hmac.new(key, found[0], hashlib.sha256).hexdigest()[:16].encode(), raw)
    after = hashed.splitlines(keepends=True)
    clients, kept = {line.split(b" ", 1)[0] for line in lines}, {line.split(b" ", 1)[0] for line in after}
    if len(clients) != len(kept) or any(not re.fullmatch(rb"[0-9a-f]{16}", client) for client in kept):
        raise SystemExit("two addresses share a hash, or a line does not begin with an address: run again, or look at the log")
    if sorted(Counter(lines).values()) != sorted(Counter(after).values()):
        raise SystemExit("repeated lines changed in number")
    if ADDRESS.search(hashed):
        raise SystemExit("an address is left")
    return hashed


def main(folder: Path, out: Path) -> None:
    for name, (sample, digest) in RAW.items():
        raw = (folder / name).read_bytes()
        if hashlib.sha256(raw).hexdigest() != digest:
            raise SystemExit(f"{folder / name}: not the file that README.md names (sha256 differs)")
        content = without_addresses(raw, secrets.token_bytes(32)) if sample == "access_log.gz" else raw
        packed = gzip.compress(content, 9, mtime=0)
        (out / sample).write_bytes(packed)
        print(f"{sample}  {len(packed)} bytes  sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent))
