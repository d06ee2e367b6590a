/** A process that writes every second number from the first on to a file that others write at the same time. */
import { fileNumbers } from "@sigil/client";

const [path = "", first = ""] = process.argv.slice(2);
const store = fileNumbers(path, { origin: "sigil.test", tenant: "acme", caller: "svc/gateway" });
for (let seq = BigInt(first); seq <= 40n; seq += 2n)
  await store.save({ seq, position: seq * 3n, auditId: `a-${seq}` });
